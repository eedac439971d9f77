//! Making the scores of different legs comparable.

use serde::{Deserialize, Serialize};

/// How a leg's raw scores are normalised, given the leg's candidates.
///
/// Whatever the rule, a higher score never becomes a lower number, no number is
/// negative, and 0 is the value of an item that the leg did not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// `score / highest score`, with negative scores taken as 0. It trusts the
    /// zero of the leg's scale, as BM25's and the cosine's deserve.
    Max,
    /// `(score - lowest) / (highest - lowest)` over the candidates.
    MinMax,
    /// Standard deviations above the floor, the score of an item that the leg
    /// did not return.
    ///
    /// Without [`Statistics`] the deviation is that of the candidates and the
    /// floor is the lowest of them: an absent item cannot have scored higher.
    /// With statistics the deviation is that of the collection, and the floor is
    /// the collection's mean (or the lowest candidate, where that is lower): an
    /// absent item is taken for an ordinary one, unless its score is known, which
    /// is the floor then. Measuring from the floor rather
    /// than from the mean shifts all fused scores by the same amount, so it
    /// leaves the order as plain z-scores have it, and lets shares add up.
    #[default]
    ZScore,
}

impl Normalisation {
    /// Normalises the finite scores of one leg's candidates, given best first.
    ///
    /// Candidates that all have one score, with nothing to compare them to, are
    /// normalised to 1 by `MinMax` and `ZScore`: being found still counts.
    pub(super) fn apply(self, scores: &[f64], statistics: Option<&Statistics>, absent: Option<f64>) -> Vec<f64> {
        let (Some(&highest), Some(&lowest)) = (scores.first(), scores.last()) else {
            return Vec::new();
        };
        match (self, statistics) {
            (Self::Max, _) => scores.iter().map(|score| share_of(*score, highest)).collect(),
            (Self::MinMax, _) => above(scores, lowest, highest - lowest),
            (Self::ZScore, None) => above(scores, lowest, standard_deviation(scores)),
            (Self::ZScore, Some(collection)) => {
                let floor = lowest.min(absent.unwrap_or(collection.mean));
                above(scores, floor, collection.standard_deviation)
            }
        }
    }
}

/// Mean and standard deviation of a leg's scores over a whole collection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    mean: f64,
    standard_deviation: f64,
}

impl Statistics {
    /// Checks the statistics.
    ///
    /// # Errors
    /// When a value lies beyond the range of `f32`, or when the deviation is
    /// smaller than the smallest normal `f32`: nothing can be measured with it.
    pub fn new(mean: f64, standard_deviation: f64) -> Result<Self, StatisticsError> {
        let highest = f64::from(f32::MAX);
        let usable = f64::from(f32::MIN_POSITIVE)..=highest;
        if mean.abs() <= highest && usable.contains(&standard_deviation) {
            Ok(Self { mean, standard_deviation })
        } else {
            Err(StatisticsError { mean, standard_deviation })
        }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation, of the whole collection.
    pub fn standard_deviation(&self) -> f64 {
        self.standard_deviation
    }

    #[cfg(test)]
    pub(super) fn is_close_to(self, other: Self) -> bool {
        (self.mean - other.mean).abs() < 1e-9 && (self.standard_deviation - other.standard_deviation).abs() < 1e-6
    }
}

/// Statistics that no score can be measured with.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a mean of {mean} and a standard deviation of {standard_deviation} are out of range")]
pub struct StatisticsError {
    /// The mean that was given.
    pub mean: f64,
    /// The standard deviation that was given.
    pub standard_deviation: f64,
}

fn share_of(score: f64, highest: f64) -> f64 {
    if highest > 0.0 { score.max(0.0) / highest } else { 0.0 }
}

/// How many units each score lies above the floor.
fn above(scores: &[f64], floor: f64, unit: f64) -> Vec<f64> {
    if unit > 0.0 { scores.iter().map(|score| (score - floor) / unit).collect() } else { vec![1.0; scores.len()] }
}

/// The population's standard deviation; the candidates are the population.
fn standard_deviation(scores: &[f64]) -> f64 {
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
    // Equal scores may differ from their mean by rounding; they have no spread.
    if scores.first() == scores.last() { 0.0 } else { (squares / count).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(normalisation: Normalisation, scores: &[f64], expected: &[f64]) {
        check_with(normalisation, scores, None, expected);
    }

    #[track_caller]
    fn check_with(normalisation: Normalisation, scores: &[f64], statistics: Option<Statistics>, expected: &[f64]) {
        let found = normalisation.apply(scores, statistics.as_ref(), None);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn max_divides_by_the_highest() {
        check(Normalisation::Max, &[4.0, 3.0, 1.0], &[1.0, 0.75, 0.25]);
        check(Normalisation::Max, &[0.5, 0.0, -0.5], &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn max_of_scores_without_a_positive_one_is_zero() {
        check(Normalisation::Max, &[0.0, -1.0], &[0.0, 0.0]);
        check(Normalisation::Max, &[-0.5, -1.0], &[0.0, 0.0]);
    }

    #[test]
    fn min_max_spans_zero_to_one() {
        check(Normalisation::MinMax, &[3.0, 2.0, -1.0], &[1.0, 0.75, 0.0]);
    }

    #[test]
    fn z_scores_of_candidates_start_at_the_lowest() {
        // Mean 5, deviations 3, 1, -1, -3: variance 5.
        let unit = 5.0_f64.sqrt();
        let expected = [6.0 / unit, 4.0 / unit, 2.0 / unit, 0.0];
        check(Normalisation::ZScore, &[8.0, 6.0, 4.0, 2.0], &expected);
    }

    #[test]
    fn z_scores_of_a_known_collection_start_at_its_mean() {
        let statistics = Some(Statistics::new(2.0, 0.5).unwrap());
        check_with(Normalisation::ZScore, &[4.0, 3.0], statistics, &[4.0, 2.0]);
        check_with(Normalisation::ZScore, &[4.0, 1.0], statistics, &[6.0, 0.0]);
    }

    #[test]
    fn z_scores_start_at_the_score_of_an_absent_item_where_it_is_known() {
        let statistics = Statistics::new(2.0, 0.5).unwrap();
        let normalised = |absent| Normalisation::ZScore.apply(&[4.0, 3.0], Some(&statistics), Some(absent));
        assert_eq!(normalised(0.0), [8.0, 6.0]);
        assert_eq!(normalised(3.5), [2.0, 0.0], "no number is negative");
    }

    #[test]
    fn equal_scores_count_as_found() {
        for scores in [vec![0.1], vec![0.1; 3], vec![-2.0; 2]] {
            check(Normalisation::MinMax, &scores, &vec![1.0; scores.len()]);
            check(Normalisation::ZScore, &scores, &vec![1.0; scores.len()]);
        }
    }

    #[test]
    fn useless_statistics_are_refused() {
        let refused = [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (0.0, f64::NAN), (1e39, 1.0), (0.0, 1e-300)];
        for (mean, standard_deviation) in refused {
            assert!(Statistics::new(mean, standard_deviation).is_err(), "{mean} {standard_deviation}");
        }
    }
}
