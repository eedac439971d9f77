//! How good an intent model is on labelled queries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Decision;
use super::calibrate::expected_calibration_error;

/// Quality on labelled queries. All shares are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How many queries were judged.
    pub examples: usize,
    /// Share of queries whose label was decided.
    pub accuracy: f32,
    /// Mean of the labels' F1, each label counting the same.
    pub macro_f1: f32,
    /// Expected calibration error, 15 bins.
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
/// `out_of_scope` is the label for queries outside the model's scope, if it has one.
pub fn report(truths: &[&str], decisions: &[Decision], labels: &[String], out_of_scope: Option<&str>) -> Report {
    let pairs: Vec<(&str, &str)> =
        truths.iter().zip(decisions).map(|(truth, decision)| (*truth, decision.label())).collect();
    let confidences: Vec<(f32, bool)> = pairs
        .iter()
        .zip(decisions)
        .map(|((truth, decided), decision)| (decision.confidence(), truth == decided))
        .collect();
    let labels: Vec<LabelReport> = labels.iter().map(|label| label_report(label, &pairs)).collect();
    let right = |(truth, decided): &&(&str, &str)| truth == decided;
    Report {
        examples: pairs.len(),
        accuracy: share(pairs.iter().filter(right).count(), pairs.len()),
        macro_f1: labels.iter().map(|label| label.f1).sum::<f32>() / labels.len().max(1) as f32,
        ece: expected_calibration_error(&confidences),
        oos_recall: out_of_scope.and_then(|label| rejected(&pairs, label, |t| t == label)),
        false_reject: out_of_scope.and_then(|label| rejected(&pairs, label, |t| t != label)),
        labels,
        confusions: confusions(&pairs),
    }
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
fn rejected(pairs: &[(&str, &str)], label: &str, among: impl Fn(&str) -> bool) -> Option<f32> {
    let decided: Vec<&str> = pairs.iter().filter(|(truth, _)| among(truth)).map(|(_, decided)| *decided).collect();
    let rejected = decided.iter().filter(|decided| **decided == label).count();
    (!decided.is_empty()).then(|| share(rejected, decided.len()))
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
        Decision { ranking: vec![(label.to_owned(), 1.0)], margin: 1.0, threshold: 0.0, out_of_scope: false }
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
