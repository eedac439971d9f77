//! Chooses the score and its threshold on validation data.

use super::mahalanobis::Mahalanobis;
use super::neighbours::Neighbours;
use super::{OutOfScope, ScoreReport, Scorer};
use crate::intent::vectors::normalised;

/// The rates of false rejects, as multiples of the one that is asked for, over which a score's
/// recall is averaged when scores are compared: at a single rate, the few examples that happen
/// to lie beside the threshold would decide.
const COMPARED_AT: [f32; 4] = [0.5, 1.0, 1.5, 2.0];

/// Queries as the head reads them.
#[derive(Clone, Copy)]
pub(in crate::intent) struct Features<'a> {
    /// The encoder's vectors, `[queries, dimension]`.
    pub(in crate::intent) vectors: &'a [Vec<f32>],
    /// The head's logits for each, `[queries, labels]`.
    pub(in crate::intent) logits: &'a [Vec<f32>],
}

/// What the choice is made on.
pub(in crate::intent) struct Evidence<'a> {
    /// Vectors of training queries in scope.
    pub(in crate::intent) train: &'a [Vec<f32>],
    /// The index of each one's label.
    pub(in crate::intent) train_labels: &'a [usize],
    /// Validation queries in scope.
    pub(in crate::intent) inside: Features<'a>,
    /// Queries that are known to be outside; may be empty.
    pub(in crate::intent) outside: Features<'a>,
    /// The label that such queries bear.
    pub(in crate::intent) label: &'a str,
    /// How many labels the head has.
    pub(in crate::intent) labels: usize,
    pub(in crate::intent) temperature: f32,
    /// The share of validation queries in scope that may be rejected, 0 to 1.
    pub(in crate::intent) false_reject: f32,
}

/// The score that finds most of the known outsiders at the asked rate of false rejects; energy
/// if no outsiders are known.
pub(in crate::intent) fn choose(evidence: &Evidence<'_>) -> (Scorer, OutOfScope) {
    let mut candidates: Vec<(f32, Scorer, f32, ScoreReport)> = scorers(evidence)
        .into_iter()
        .map(|scorer| {
            let judged = Judged::new(&scorer, evidence);
            let threshold = judged.threshold(evidence.false_reject);
            let report = judged.report(&scorer, threshold);
            (judged.mean_recall(evidence.false_reject), scorer, threshold, report)
        })
        .collect();
    // The sort is stable and energy comes first, so that it wins a tie.
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
    let compared = match evidence.outside.vectors.is_empty() {
        true => Vec::new(),
        false => candidates.iter().map(|(_, _, _, report)| report.clone()).collect(),
    };
    let (scorer, threshold) = candidates
        .into_iter()
        .next()
        .map_or((Scorer::Energy, f32::MAX), |(_, scorer, threshold, _)| (scorer, threshold));
    let scope = OutOfScope {
        label: evidence.label.to_owned(),
        score: scorer.kind(),
        threshold,
        target_false_reject: evidence.false_reject,
        evidence: evidence.outside.vectors.len(),
        compared,
    };
    (scorer, scope)
}

/// The scores that can be compared. Without known outsiders there is nothing to compare on.
fn scorers(evidence: &Evidence<'_>) -> Vec<Scorer> {
    if evidence.outside.vectors.is_empty() {
        return vec![Scorer::Energy];
    }
    let train: Vec<Vec<f32>> = evidence.train.iter().map(|vector| normalised(vector)).collect();
    let mut scorers = vec![Scorer::Energy, Scorer::MaximumProbability { temperature: evidence.temperature }];
    let neighbours = Neighbours::new(&train, evidence.labels);
    scorers.extend(neighbours.map(Scorer::NearestNeighbours));
    let mahalanobis = Mahalanobis::new(&train, evidence.train_labels, evidence.labels);
    scorers.extend(mahalanobis.map(Scorer::Mahalanobis));
    scorers
}

/// The strangeness of the queries on both sides, each rising.
struct Judged {
    inside: Vec<f32>,
    outside: Vec<f32>,
}

impl Judged {
    fn new(scorer: &Scorer, evidence: &Evidence<'_>) -> Self {
        let scores = |features: Features<'_>| {
            let queries = features.vectors.iter().zip(features.logits);
            let mut scores: Vec<f32> = queries.map(|(vector, logits)| scorer.strangeness(vector, logits)).collect();
            scores.sort_by(f32::total_cmp);
            scores
        };
        Self { inside: scores(evidence.inside), outside: scores(evidence.outside) }
    }

    fn threshold(&self, rate: f32) -> f32 {
        quantile(rate, &self.inside)
    }

    fn mean_recall(&self, rate: f32) -> f32 {
        let recalls = COMPARED_AT.map(|multiple| share_above(&self.outside, self.threshold(rate * multiple)));
        recalls.iter().sum::<f32>() / recalls.len() as f32
    }

    fn report(&self, scorer: &Scorer, threshold: f32) -> ScoreReport {
        ScoreReport {
            score: scorer.kind(),
            recall: share_above(&self.outside, threshold),
            false_reject: share_above(&self.inside, threshold),
            auroc: auroc(&self.inside, &self.outside),
        }
    }
}

/// The lowest strangeness that at most `rate` of the queries inside, whose strangeness is given
/// in any order, exceed. Without such queries nothing is rejected.
pub(in crate::intent) fn threshold_at(rate: f32, mut inside: Vec<f32>) -> f32 {
    inside.sort_by(f32::total_cmp);
    quantile(rate, &inside)
}

/// As [`threshold_at`], of rising scores.
fn quantile(rate: f32, inside: &[f32]) -> f32 {
    if inside.is_empty() {
        return f32::MAX;
    }
    let rejected = (rate * inside.len() as f32).floor() as usize;
    let index = inside.len().checked_sub(rejected + 1);
    index.and_then(|index| inside.get(index)).copied().unwrap_or(f32::MIN)
}

/// The share of rising scores above a threshold; 0 without any.
fn share_above(scores: &[f32], threshold: f32) -> f32 {
    let below = scores.partition_point(|score| *score <= threshold);
    (scores.len() - below) as f32 / scores.len().max(1) as f32
}

/// The probability that one of `outside` exceeds one of `inside`, ties counting half; both
/// rise.
fn auroc(inside: &[f32], outside: &[f32]) -> f32 {
    let wins: f64 = outside
        .iter()
        .map(|score| {
            let below = inside.partition_point(|other| other < score);
            let not_above = inside.partition_point(|other| other <= score);
            (below + not_above) as f64 / 2.0
        })
        .sum();
    (wins / (inside.len() * outside.len()).max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::ScoreKind;

    /// Queries of two labels around the two axes. Outsiders lie between them, where the
    /// logits are large as well: only their place gives them away.
    fn place(angle: f32) -> Vec<f32> {
        vec![angle.cos(), angle.sin()]
    }

    fn logits(vectors: &[Vec<f32>], confident: bool) -> Vec<Vec<f32>> {
        vectors.iter().map(|v| if confident { vec![9.0, 0.0] } else { vec![v[0] * 9.0, v[1] * 9.0] }).collect()
    }

    fn inside() -> Vec<Vec<f32>> {
        (0..100).map(|i| place(if i % 2 == 0 { 0.0 } else { 1.57 } + (i / 2) as f32 * 0.002)).collect()
    }

    fn chosen(outside: &[Vec<f32>], confident: bool) -> (Scorer, OutOfScope) {
        let (train, labels) = (inside(), (0..100).map(|i| i % 2).collect::<Vec<usize>>());
        let (inside_logits, outside_logits) = (logits(&train, confident), logits(outside, confident));
        choose(&Evidence {
            train: &train,
            train_labels: &labels,
            inside: Features { vectors: &train, logits: &inside_logits },
            outside: Features { vectors: outside, logits: &outside_logits },
            label: "oos",
            labels: 2,
            temperature: 1.0,
            false_reject: 0.02,
        })
    }

    #[test]
    fn energy_is_taken_unseen() {
        let (scorer, scope) = chosen(&[], false);
        assert!(matches!(scorer, Scorer::Energy));
        assert_eq!((scope.score, scope.evidence, scope.compared.len()), (ScoreKind::Energy, 0, 0));
        assert!(scope.threshold.is_finite());
    }

    #[test]
    fn the_score_that_finds_outsiders_wins() {
        let outside: Vec<Vec<f32>> = (0..20).map(|i| place(0.7 + i as f32 * 0.005)).collect();
        let (scorer, scope) = chosen(&outside, true);
        assert!(scorer.kind().has_statistics(), "{scope:?}");
        assert_eq!(scope.compared.len(), 4);
        assert_eq!(scope.compared[0].score, scope.score);
        assert_eq!(scope.compared[0].recall, 1.0);
        assert!(scope.compared[0].false_reject <= 0.02);
        let energy = scope.compared.iter().find(|report| report.score == ScoreKind::Energy).unwrap();
        assert_eq!((energy.recall, energy.auroc), (0.0, 0.5));
    }

    #[test]
    fn thresholds_keep_the_rate() {
        let judged = Judged { inside: (0..200).map(|i| i as f32).collect(), outside: vec![150.0, 196.0, 500.0] };
        for (rate, threshold, recall) in [(0.0, 199.0, 1.0 / 3.0), (0.02, 195.0, 2.0 / 3.0), (1.0, f32::MIN, 1.0)] {
            assert_eq!(judged.threshold(rate), threshold, "{rate}");
            assert!((share_above(&judged.outside, judged.threshold(rate)) - recall).abs() < 1e-6, "{rate}");
            assert!(share_above(&judged.inside, judged.threshold(rate)) <= rate);
        }
    }

    #[test]
    fn without_queries_nothing_is_rejected() {
        assert_eq!(threshold_at(0.5, Vec::new()), f32::MAX);
        assert_eq!(threshold_at(0.5, vec![3.0, 1.0, 2.0, 4.0]), 2.0);
    }

    #[test]
    fn the_area_counts_ties_half() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0]), 1.0);
        assert_eq!(auroc(&[1.0, 2.0], &[0.0]), 0.0);
        assert_eq!(auroc(&[1.0], &[1.0]), 0.5);
        assert_eq!(auroc(&[], &[]), 0.0);
    }
}
