//! Fitting the weight of the semantic leg to labelled queries.
//!
//! Two legs' z-scores are combined as `(1 - w) * lexical + w * semantic`. Which `w` is best depends on the collection:
//! prose asks for less of the semantic leg than frequent questions do. A few dozen labelled queries say which, but noisily:
//! the weight that happens to be best on them is often no better on others. So a weight is moved away from the default
//! only as far as the labels bear it out, and not at all where cross-validation finds no gain beyond its own error.

mod curve;
mod select;

pub use curve::{Candidate, Curve, Placed, WEIGHTS, nearest_place, weight};

use crate::random::SplitMix64;
use select::select;

/// How a weight is fitted and judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationOptions {
    /// Parts that the queries are cut into: each is judged by a weight that was fitted to the others. At least 2.
    pub folds: usize,
    /// How often the queries are cut anew. At least 1.
    pub repeats: usize,
    /// The seed of the cuts: equal seeds give equal results.
    pub seed: u64,
    /// Fewer queries than this keep the default.
    pub least_queries: usize,
    /// Standard errors by which the cross-validated gain must exceed 0.
    pub least_errors: f64,
}

impl Default for CalibrationOptions {
    fn default() -> Self {
        Self { folds: 5, repeats: 20, seed: 7, least_queries: 20, least_errors: 1.0 }
    }
}

/// Why the default was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// There are fewer queries than [`CalibrationOptions::least_queries`].
    TooFewQueries,
    /// No weight is better than the default by more than the error of the comparison.
    NoBetterWeight,
    /// Weights fitted to some of the queries gain no more on the others than chance would.
    WithinNoise,
}

/// A mean difference in nDCG@10 and how far chance moves it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// The mean over the queries.
    pub mean: f64,
    /// The standard error of that mean.
    pub standard_error: f64,
}

/// What the labels say of the weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The weight of the semantic leg to use, 0 to 1.
    pub semantic_weight: f64,
    /// Why that is the default; `None` when it is not.
    pub kept: Option<Kept>,
    /// The gain over the default that weights had on queries which they were not fitted to; `None` with too few queries.
    pub gain: Option<Gain>,
    /// Mean nDCG@10 over all queries at each of the [`WEIGHTS`] weights; empty without queries.
    pub means: Vec<f64>,
}

/// Fits the weight to labelled queries. The order of the queries has no influence.
///
/// `default` is the weight that holds without labels; it is taken to the nearest of the weights that are tried, and given
/// back as it is where it is kept. A value outside 0 to 1, or no number, counts as the nearer end.
pub fn calibrate(curves: &[Curve], default: f64, options: &CalibrationOptions) -> Calibration {
    let default = if default.is_nan() { 0.0 } else { default.clamp(0.0, 1.0) };
    let start = nearest_place(default);
    let mut curves: Vec<&Curve> = curves.iter().collect();
    // The cuts and the sums below must not depend on how the queries came; equal curves are interchangeable.
    curves.sort_by(|left, right| left.total_cmp(right));
    let keep = |why, gain| Calibration { semantic_weight: default, kept: Some(why), gain, means: means(&curves) };
    if curves.len() < options.least_queries.max(2) {
        return keep(Kept::TooFewQueries, None);
    }
    let gain = cross_validated(&curves, start, options);
    let chosen = select(&curves, start);
    match chosen {
        _ if chosen == start => keep(Kept::NoBetterWeight, Some(gain)),
        _ if gain.mean <= options.least_errors * gain.standard_error => keep(Kept::WithinNoise, Some(gain)),
        _ => Calibration { semantic_weight: weight(chosen), kept: None, gain: Some(gain), means: means(&curves) },
    }
}

/// The gain over the default on queries that a weight was not fitted to, over all cuts.
fn cross_validated(curves: &[&Curve], start: usize, options: &CalibrationOptions) -> Gain {
    let folds = options.folds.clamp(2, curves.len());
    let mut random = SplitMix64::new(options.seed);
    let mut gains = vec![0.0; curves.len()];
    let repeats = options.repeats.max(1);
    for _ in 0..repeats {
        let order = shuffled(curves.len(), &mut random);
        for fold in 0..folds {
            let held_out = |place: &usize| place % folds == fold;
            let fitted: Vec<&Curve> =
                (0..order.len()).filter(|place| !held_out(place)).map(|place| curves[order[place]]).collect();
            let chosen = select(&fitted, start);
            for query in (0..order.len()).filter(held_out).map(|place| order[place]) {
                gains[query] += curves[query].at(chosen) - curves[query].at(start);
            }
        }
    }
    gains.iter_mut().for_each(|gain| *gain /= repeats as f64);
    Gain { mean: select::mean(&gains), standard_error: select::standard_error(&gains) }
}

fn means(curves: &[&Curve]) -> Vec<f64> {
    match curves {
        [] => Vec::new(),
        _ => (0..WEIGHTS).map(|place| select::mean_at(curves, place)).collect(),
    }
}

/// The numbers below `count` in an order that the generator chooses, each order being as likely as any other.
fn shuffled(count: usize, random: &mut SplitMix64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

#[cfg(test)]
mod tests;
