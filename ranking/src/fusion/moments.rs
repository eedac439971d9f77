//! Adding up a leg's scores over a whole collection.

use super::Statistics;

/// Count, sum and sum of squares of scores. It takes one addition a score, so a leg
/// can keep it beside its search for the best.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ScoreMoments {
    count: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl ScoreMoments {
    /// The moments of `count` scores whose sum and sum of squares were found elsewhere.
    pub fn from_sums(count: u64, sum: f64, sum_of_squares: f64) -> Self {
        Self { count, sum, sum_of_squares }
    }

    /// Adds one score. A score that is no number would spoil all, and is left out.
    pub fn add(&mut self, score: f64) {
        if score.is_finite() {
            self.count += 1;
            self.sum += score;
            self.sum_of_squares += score * score;
        }
    }

    /// Adds what another part of the collection gave.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
    }

    /// The same scores with zeros added until there are `population` of them: a
    /// lexical leg sees only the chunks that match, and the others score 0.
    #[must_use]
    pub fn filled_up_to(self, population: u64) -> Self {
        Self { count: self.count.max(population), ..self }
    }

    /// How many scores were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean and standard deviation; `None` when nothing can be measured with
    /// them, because there are no scores or all are the same.
    pub fn statistics(&self) -> Option<Statistics> {
        let count = self.count as f64;
        let mean = self.sum / count;
        // Rounding can leave a difference below zero where all scores are equal.
        let variance = (self.sum_of_squares / count - mean * mean).max(0.0);
        Statistics::new(mean, variance.sqrt()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments(scores: &[f64]) -> ScoreMoments {
        let mut moments = ScoreMoments::default();
        scores.iter().for_each(|score| moments.add(*score));
        moments
    }

    #[test]
    fn scores_without_spread_have_no_statistics() {
        assert_eq!(moments(&[]).statistics(), None);
        assert_eq!(moments(&[3.0, 3.0]).statistics(), None);
        assert_eq!(ScoreMoments::default().filled_up_to(9).statistics(), None);
        assert_eq!(moments(&[1.0, f64::NAN, 3.0]).statistics(), Statistics::new(2.0, 1.0).ok());
    }

    #[test]
    fn what_did_not_match_counts_as_zero() {
        assert_eq!(moments(&[4.0]).filled_up_to(4), moments(&[4.0, 0.0, 0.0, 0.0]));
    }

    proptest! {
        /// Adding up in parts gives what two passes over all scores give.
        #[test]
        fn parts_add_up(left in prop::collection::vec(-50_i16..50, 1..40), right in prop::collection::vec(-50_i16..50, 1..40)) {
            let (left, right): (Vec<f64>, Vec<f64>) =
                (left.into_iter().map(f64::from).collect(), right.into_iter().map(f64::from).collect());
            let mut parts = moments(&left);
            parts.merge(moments(&right));
            let all = [left, right].concat();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let deviation = (all.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
            match (parts.statistics(), Statistics::new(mean, deviation)) {
                (Some(found), Ok(expected)) => prop_assert!(found.is_close_to(expected)),
                (found, expected) => prop_assert!(deviation < 1e-6, "{found:?} {expected:?}"),
            }
        }
    }
}
