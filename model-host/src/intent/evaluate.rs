//! How good an intent model is on labelled queries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Decision;
use super::calibrate::{ReliabilityBin, expected_calibration_error, reliability};

/// Quality on labelled queries. All shares are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How many queries were judged.
    pub examples: usize,
    /// Share of queries whose label was decided. Queries outside the scope count only where
    /// one of the labels is for them; rejection does not matter.
    pub accuracy: f32,
    /// Mean of the labels' F1, each label counting the same, over the same queries.
    pub macro_f1: f32,
    /// Expected calibration error, 15 bins, over the same queries.
    pub ece: f32,
    /// Share of the queries outside the scope that were decided to be so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oos_recall: Option<f32>,
    /// Share of the queries inside the scope that were decided to be outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_reject: Option<f32>,
    /// Each label's figures, in the model's order.
    pub labels: Vec<LabelReport>,
    /// Which labels were taken for which, most frequent first.
    pub confusions: Vec<Confusion>,
}

/// Quality for one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelReport {
    /// The label.
    pub label: String,
    /// Queries that bear it.
    pub examples: usize,
    /// Share of the decisions for it that were right; 0 without any.
    pub precision: f32,
    /// Share of its queries that were decided for it; 0 without any.
    pub recall: f32,
    /// Harmonic mean of both.
    pub f1: f32,
}

/// One kind of mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confusion {
    /// The right label.
    pub label: String,
    /// The label that was decided.
    pub decided: String,
    /// How often.
    pub count: usize,
}

/// Compares decisions with the right labels, `truths`, which come in the same order.
///
/// `out_of_scope` is the label for queries outside the model's scope, if it can tell them. When
/// it is none of `labels`, such queries count for `oos_recall` alone: no label is right for
/// them.
pub fn report(truths: &[&str], decisions: &[Decision], labels: &[String], out_of_scope: Option<&str>) -> Report {
    let judged = labelled(truths, decisions, labels, out_of_scope);
    let pairs: Vec<(&str, &str)> = judged.iter().map(|(truth, decision)| (*truth, decision.label())).collect();
    let label_reports: Vec<LabelReport> = labels.iter().map(|label| label_report(label, &pairs)).collect();
    let right = |(truth, decided): &&(&str, &str)| truth == decided;
    Report {
        examples: truths.len(),
        accuracy: share(pairs.iter().filter(right).count(), pairs.len()),
        macro_f1: label_reports.iter().map(|label| label.f1).sum::<f32>() / labels.len().max(1) as f32,
        ece: expected_calibration_error(&confidences(&judged)),
        oos_recall: out_of_scope.and_then(|label| rejected(truths, decisions, |truth| truth == label)),
        false_reject: out_of_scope.and_then(|label| rejected(truths, decisions, |truth| truth != label)),
        labels: label_reports,
        confusions: confusions(&pairs),
    }
}

/// Confidence beside accuracy over the queries that count for [`Report::accuracy`].
pub(super) fn reliability_of(
    truths: &[&str],
    decisions: &[Decision],
    labels: &[String],
    out_of_scope: Option<&str>,
) -> Vec<ReliabilityBin> {
    reliability(&confidences(&labelled(truths, decisions, labels, out_of_scope)))
}

/// The decisions for which one of the labels can be right.
fn labelled<'a>(
    truths: &[&'a str],
    decisions: &'a [Decision],
    labels: &[String],
    out_of_scope: Option<&str>,
) -> Vec<(&'a str, &'a Decision)> {
    let told_by_score = out_of_scope.filter(|label| !labels.iter().any(|known| known == label));
    let all = truths.iter().copied().zip(decisions);
    all.filter(|(truth, _)| told_by_score != Some(*truth)).collect()
}

fn confidences(judged: &[(&str, &Decision)]) -> Vec<(f32, bool)> {
    judged.iter().map(|(truth, decision)| (decision.confidence(), *truth == decision.label())).collect()
}

fn label_report(label: &str, pairs: &[(&str, &str)]) -> LabelReport {
    let count = |wanted: &dyn Fn(&(&str, &str)) -> bool| pairs.iter().filter(|p| wanted(p)).count();
    let examples = count(&|(truth, _)| *truth == label);
    let decided = count(&|(_, decided)| *decided == label);
    let right = count(&|(truth, decided)| *truth == label && *decided == label);
    LabelReport {
        label: label.to_owned(),
        examples,
        precision: share(right, decided),
        recall: share(right, examples),
        f1: share(2 * right, examples + decided),
    }
}

/// Of the queries whose right label is `among`, the share decided to be out of scope.
fn rejected(truths: &[&str], decisions: &[Decision], among: impl Fn(&str) -> bool) -> Option<f32> {
    let of_these = truths.iter().zip(decisions).filter(|(truth, _)| among(truth));
    let rejected: Vec<bool> = of_these.map(|(_, decision)| decision.out_of_scope).collect();
    (!rejected.is_empty()).then(|| share(rejected.iter().filter(|rejected| **rejected).count(), rejected.len()))
}

fn confusions(pairs: &[(&str, &str)]) -> Vec<Confusion> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pair in pairs.iter().filter(|(truth, decided)| truth != decided) {
        *counts.entry(*pair).or_default() += 1;
    }
    let mut confusions: Vec<Confusion> = counts
        .into_iter()
        .map(|((label, decided), count)| Confusion { label: label.to_owned(), decided: decided.to_owned(), count })
        .collect();
    confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.count));
    confusions
}

fn share(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(label: &str) -> Decision {
        Decision {
            ranking: vec![(label.to_owned(), 1.0)],
            margin: 1.0,
            threshold: 0.0,
            out_of_scope: label == "out",
            strangeness: None,
        }
    }

    #[test]
    fn queries_that_no_label_fits_count_for_recall_alone() {
        let labels: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let truths = ["a", "b", "b", "out", "out", "out", "out"];
        let mut decided: Vec<Decision> = ["a", "b", "a", "a", "b", "a", "b"].map(decision).to_vec();
        for rejected in [1, 3, 4, 5] {
            decided[rejected].out_of_scope = true;
        }
        let report = report(&truths, &decided, &labels, Some("out"));
        assert_eq!(report.examples, 7);
        assert!((report.accuracy - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(report.oos_recall, Some(0.75));
        assert!((report.false_reject.unwrap() - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(report.confusions, [Confusion { label: "b".into(), decided: "a".into(), count: 1 }]);
        let bins = reliability_of(&truths, &decided, &labels, Some("out"));
        assert_eq!(bins.iter().map(|bin| bin.decisions).sum::<usize>(), 3);
    }

    #[test]
    fn figures_follow_their_definitions() {
        let labels: Vec<String> = ["a", "b", "out"].map(str::to_owned).to_vec();
        let truths = ["a", "a", "a", "b", "out", "out"];
        let decided = ["a", "b", "out", "b", "out", "a"].map(decision);
        let report = report(&truths, &decided, &labels, Some("out"));
        assert_eq!(report.examples, 6);
        assert_eq!(report.accuracy, 0.5);
        assert_eq!(report.oos_recall, Some(0.5));
        assert_eq!(report.false_reject, Some(0.25));
        assert_eq!(report.ece, 0.5);
        let a = &report.labels[0];
        assert_eq!((a.examples, a.precision), (3, 0.5));
        assert!((a.recall - 1.0 / 3.0).abs() < 1e-6 && (a.f1 - 0.4).abs() < 1e-6);
        assert_eq!(report.confusions.len(), 3);
        assert!((report.macro_f1 - (0.4 + 2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-6);
    }

    #[test]
    fn no_queries_give_no_figures_to_divide_by() {
        let labels = vec!["a".to_owned()];
        let report = report(&[], &[], &labels, Some("a"));
        assert_eq!((report.accuracy, report.ece), (0.0, 0.0));
        assert_eq!((report.oos_recall, report.false_reject), (None, None));
    }
}
