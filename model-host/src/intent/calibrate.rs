//! Makes a classifier's confidence mean what it says.

use serde::{Deserialize, Serialize};

use super::softmax;

/// Temperatures outside this range are not searched: they would mean that the logits
/// carry no information, or are all but certain.
const TEMPERATURES: (f64, f64) = (0.05, 20.0);
/// Bins of equal width for the calibration error, as is usual.
const CALIBRATION_BINS: usize = 15;
/// What share of the decisions that pass a threshold should be right.
const TARGET_PRECISION: f32 = 0.9;
/// A threshold never asks for more confidence than this: a label that is rarely right
/// should be learned better, not shut off.
const HIGHEST_THRESHOLD: f32 = 0.7;

/// The temperature that minimises the mean negative log likelihood of `labels` (Guo et
/// al. 2017), by golden section search over its logarithm, in which that mean has one
/// minimum. 1 when there are no examples.
pub fn fit_temperature(logits: &[Vec<f32>], labels: &[usize]) -> f32 {
    if logits.is_empty() {
        return 1.0;
    }
    let loss = |log_temperature: f64| {
        let temperature = log_temperature.exp() as f32;
        let total: f64 =
            logits.iter().zip(labels).map(|(row, &label)| negative_log_likelihood(row, label, temperature)).sum();
        total / logits.len() as f64
    };
    let (low, high) = (TEMPERATURES.0.ln(), TEMPERATURES.1.ln());
    golden_section_minimum(loss, low, high).exp() as f32
}

/// The decisions of similar confidence, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliabilityBin {
    /// Lowest confidence of the bin, 0 to 1.
    pub from: f32,
    /// Confidence below which the bin ends; the last one takes 1 as well.
    pub to: f32,
    /// Decisions in it.
    pub decisions: usize,
    /// Mean of their confidences; 0 without any.
    pub confidence: f32,
    /// Share of them that were right; 0 without any.
    pub accuracy: f32,
}

/// Confidence beside accuracy in 15 bins of equal width, empty ones included.
///
/// Each decision is its confidence, 0 to 1, and whether it was right.
pub fn reliability(decisions: &[(f32, bool)]) -> Vec<ReliabilityBin> {
    let width = 1.0 / CALIBRATION_BINS as f32;
    binned(decisions)
        .iter()
        .enumerate()
        .map(|(index, &(count, confidence, right))| {
            let share = 1.0 / count.max(1) as f32;
            ReliabilityBin {
                from: index as f32 * width,
                to: (index + 1) as f32 * width,
                decisions: count,
                confidence: confidence * share,
                accuracy: right * share,
            }
        })
        .collect()
}

/// Expected calibration error (Naeini et al. 2015) over 15 bins of equal width: the mean
/// distance between confidence and accuracy, weighted by bin size. 0 to 1, 0 for none.
///
/// Each decision is its confidence, 0 to 1, and whether it was right.
pub fn expected_calibration_error(decisions: &[(f32, bool)]) -> f32 {
    let gap: f32 = binned(decisions).iter().map(|bin| (bin.1 - bin.2).abs()).sum();
    gap / decisions.len().max(1) as f32
}

/// For each bin the number of decisions, the sum of their confidences, and how many were
/// right.
fn binned(decisions: &[(f32, bool)]) -> [(usize, f32, f32); CALIBRATION_BINS] {
    let mut bins = [(0usize, 0.0f32, 0.0f32); CALIBRATION_BINS];
    for &(confidence, right) in decisions {
        let index = (confidence * CALIBRATION_BINS as f32) as usize;
        let bin = &mut bins[index.min(CALIBRATION_BINS - 1)];
        bin.0 += 1;
        bin.1 += confidence;
        bin.2 += f32::from(u8::from(right));
    }
    bins
}

/// For each of `labels` labels, the lowest confidence at which at least nine in ten of the
/// decisions for it are right; 0 if they all are, and at most 0.7.
///
/// Each decision is its label, its confidence, 0 to 1, and whether it was right.
pub fn fit_thresholds(decisions: &[(usize, f32, bool)], labels: usize) -> Vec<f32> {
    (0..labels)
        .map(|label| {
            let mut own: Vec<(f32, bool)> = decisions
                .iter()
                .filter(|decision| decision.0 == label)
                .map(|&(_, confidence, right)| (confidence, right))
                .collect();
            own.sort_by(|a, b| a.0.total_cmp(&b.0));
            threshold(&own)
        })
        .collect()
}

/// `decisions` come by rising confidence.
fn threshold(decisions: &[(f32, bool)]) -> f32 {
    for start in 0..decisions.len() {
        let passing = &decisions[start..];
        let right = passing.iter().filter(|(_, right)| *right).count();
        if right as f32 >= TARGET_PRECISION * passing.len() as f32 {
            let lowest = if start == 0 { 0.0 } else { passing[0].0 };
            return lowest.min(HIGHEST_THRESHOLD);
        }
    }
    if decisions.is_empty() { 0.0 } else { HIGHEST_THRESHOLD }
}

fn negative_log_likelihood(logits: &[f32], label: usize, temperature: f32) -> f64 {
    let scaled: Vec<f32> = logits.iter().map(|x| x / temperature).collect();
    let probability = softmax(&scaled).get(label).copied().unwrap_or(0.0);
    // A probability that underflowed is as bad as the smallest one that did not.
    -f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

fn golden_section_minimum(loss: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
    // Each step keeps 0.618 of the interval: sixty leave less than 1e-11 of it.
    for _ in 0..60 {
        let width = high - low;
        if loss(high - ratio * width) < loss(low + ratio * width) {
            high = low + ratio * width;
        } else {
            low = high - ratio * width;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_temperature_is_found() {
        // With logits (x, 0) and three of four right, the best scaled x is ln 3.
        let logits = vec![vec![5.0, 0.0]; 4];
        let temperature = fit_temperature(&logits, &[0, 0, 0, 1]);
        assert!((temperature - 5.0 / 3.0f32.ln()).abs() < 1e-2, "{temperature}");
    }

    #[test]
    fn certain_data_stay_within_the_range() {
        // Below 5 / ln(2^24) the probability rounds to 1 and no temperature is better than
        // another: anything there will do.
        let temperature = fit_temperature(&[vec![5.0, 0.0]], &[0]);
        assert!((0.04..0.31).contains(&temperature), "{temperature}");
        assert_eq!(fit_temperature(&[], &[]), 1.0);
    }

    #[test]
    fn calibration_error_is_the_weighted_gap() {
        for (decisions, expected) in [
            (vec![], 0.0),
            (vec![(1.0, true), (1.0, true)], 0.0),
            (vec![(1.0, false)], 1.0),
            (vec![(0.75, true), (0.75, false)], 0.25),
            (vec![(0.9, true), (0.1, true)], 0.5),
        ] {
            let error = expected_calibration_error(&decisions);
            assert!((error - expected).abs() < 1e-6, "{decisions:?}: {error}");
        }
    }

    #[test]
    fn the_reliability_table_holds_each_decision_once() {
        let bins = reliability(&[(0.0, false), (0.5, true), (0.52, false), (1.0, true)]);
        assert_eq!(bins.len(), CALIBRATION_BINS);
        assert_eq!(bins.iter().map(|bin| bin.decisions).sum::<usize>(), 4);
        assert_eq!((bins[7].decisions, bins[7].accuracy), (2, 0.5));
        assert!((bins[7].confidence - 0.51).abs() < 1e-6);
        assert_eq!((bins[14].decisions, bins[14].confidence), (1, 1.0));
    }

    #[test]
    fn thresholds_keep_what_is_mostly_right() {
        let decide = |label, confidence, right| (label, confidence, right);
        let decisions = [
            decide(0, 0.9, true),
            decide(0, 0.2, true),
            decide(1, 0.3, false),
            decide(1, 0.5, true),
            decide(1, 0.8, true),
            decide(2, 0.99, false),
            decide(3, 0.9, false),
            decide(3, 0.95, true),
        ];
        assert_eq!(fit_thresholds(&decisions, 5), [0.0, 0.5, HIGHEST_THRESHOLD, HIGHEST_THRESHOLD, 0.0]);
    }
}
