//! Whether a difference between two systems is more than chance.

use serde::Serialize;

use crate::random::SplitMix64;

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How many samples are drawn, 100 to 1,000,000.
    pub resamples: u32,
    /// How much of the distribution the interval holds, between 0 and 1 exclusive.
    pub confidence: f64,
    /// The seed: equal seeds give equal intervals.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 10_000, confidence: 0.95, seed: 7 }
    }
}

/// The mean difference between two systems with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Mean over queries of the second system's value less the first's.
    pub difference: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// Input that cannot be resampled.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BootstrapError {
    /// The two systems were not measured on the same queries.
    #[error("both systems need one value per query, found {first} and {second}")]
    Unpaired {
        /// The number of values of the first system.
        first: usize,
        /// The number of values of the second system.
        second: usize,
    },
    /// There are no queries.
    #[error("there are no queries to resample")]
    NoQueries,
    /// A value is infinite or not a number.
    #[error("the value of query {query} is not finite")]
    NotFinite {
        /// Which query, counted from 0.
        query: usize,
    },
    /// The number of samples is out of range.
    #[error("resamples must lie between 100 and 1000000, found {found}")]
    Resamples {
        /// The value that was refused.
        found: u32,
    },
    /// The confidence is out of range.
    #[error("confidence must lie between 0 and 1, found {found}")]
    Confidence {
        /// The value that was refused.
        found: f64,
    },
}

/// The paired bootstrap with the percentile interval: queries are drawn with
/// replacement, each with both systems' values, so that a query that is hard for
/// both does not widen the interval. Efron and Tibshirani, "An Introduction to
/// the Bootstrap", 1993, chapter 13; for retrieval, Sakai, "Evaluating evaluation
/// metrics based on the bootstrap", SIGIR 2006.
///
/// `first` and `second` hold one value per query, in the same order.
///
/// # Errors
/// When the values are not paired, missing or not finite, or an option is out of
/// its range.
pub fn paired_bootstrap(first: &[f64], second: &[f64], options: &Bootstrap) -> Result<Interval, BootstrapError> {
    validate(first, second, options)?;
    let differences: Vec<f64> = second.iter().zip(first).map(|(b, a)| b - a).collect();
    let mut random = SplitMix64::new(options.seed);
    let mut means: Vec<f64> = (0..options.resamples).map(|_| resampled_mean(&differences, &mut random)).collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - options.confidence) / 2.0;
    Ok(Interval {
        difference: differences.iter().sum::<f64>() / differences.len() as f64,
        low: quantile(&means, tail),
        high: quantile(&means, 1.0 - tail),
    })
}

fn validate(first: &[f64], second: &[f64], options: &Bootstrap) -> Result<(), BootstrapError> {
    if first.len() != second.len() {
        return Err(BootstrapError::Unpaired { first: first.len(), second: second.len() });
    }
    if first.is_empty() {
        return Err(BootstrapError::NoQueries);
    }
    let refused = first.iter().zip(second).position(|(a, b)| !a.is_finite() || !b.is_finite());
    if let Some(query) = refused {
        return Err(BootstrapError::NotFinite { query });
    }
    if !(100..=1_000_000).contains(&options.resamples) {
        return Err(BootstrapError::Resamples { found: options.resamples });
    }
    let confidence = options.confidence;
    if confidence > 0.0 && confidence < 1.0 { Ok(()) } else { Err(BootstrapError::Confidence { found: confidence }) }
}

fn resampled_mean(differences: &[f64], random: &mut SplitMix64) -> f64 {
    let sum: f64 = (0..differences.len()).map(|_| differences[random.below(differences.len())]).sum();
    sum / differences.len() as f64
}

/// The nearest-rank quantile of values in ascending order, of which there is at
/// least one.
fn quantile(ascending: &[f64], probability: f64) -> f64 {
    let last = ascending.len() - 1;
    let index = (probability * last as f64).round() as usize;
    ascending[index.min(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_difference_has_an_interval_of_no_width() {
        let interval = paired_bootstrap(&[0.25, 0.5, 0.125], &[0.5, 0.75, 0.375], &Bootstrap::default());
        assert_eq!(interval, Ok(Interval { difference: 0.25, low: 0.25, high: 0.25 }));
    }

    #[test]
    fn the_interval_has_the_width_that_theory_gives() {
        // 400 differences of +1 or -1 in equal parts: the mean's standard error is 0.05.
        let second: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let interval = paired_bootstrap(&vec![0.0; 400], &second, &Bootstrap::default()).unwrap();
        assert_eq!(interval.difference, 0.0);
        assert!((interval.low + 0.098).abs() < 0.01, "{interval:?}");
        assert!((interval.high - 0.098).abs() < 0.01, "{interval:?}");
    }

    #[test]
    fn equal_seeds_give_equal_intervals() {
        let (first, second) = ([0.1, 0.9, 0.4, 0.3], [0.2, 0.5, 0.8, 0.3]);
        let run = |seed| paired_bootstrap(&first, &second, &Bootstrap { seed, ..Bootstrap::default() });
        assert_eq!(run(3), run(3));
    }

    #[test]
    fn unusable_input_is_refused() {
        let options = Bootstrap::default();
        let run =
            |first: &[f64], second: &[f64], options: &Bootstrap| paired_bootstrap(first, second, options).unwrap_err();
        let unpaired = BootstrapError::Unpaired { first: 1, second: 2 };
        assert_eq!(run(&[1.0], &[1.0, 2.0], &options), unpaired);
        assert_eq!(run(&[], &[], &options), BootstrapError::NoQueries);
        let not_finite = BootstrapError::NotFinite { query: 1 };
        assert_eq!(run(&[1.0, f64::NAN], &[1.0, 1.0], &options), not_finite);
        let few = Bootstrap { resamples: 99, ..options };
        assert_eq!(run(&[1.0], &[1.0], &few), BootstrapError::Resamples { found: 99 });
        for found in [0.0, 1.0, -0.5] {
            let options = Bootstrap { confidence: found, ..options };
            assert_eq!(run(&[1.0], &[1.0], &options), BootstrapError::Confidence { found });
        }
    }
}
