//! Sums of similarities that are the same in whatever order and groups they are added up.
//!
//! Segments are looked at side by side, and are cut differently after a restart, while an earlier state must give the very
//! scores that it gave. So the sums are kept in whole numbers.

use trivium_ranking::fusion::ScoreMoments;

/// Steps of one unit: similarities are at most 1, and their codes are good to two digits.
const STEPS: f32 = 16_777_216.0;
/// A similarity beyond it is cut, so that no sum overflows: vectors of length 1 have none.
const LARGEST: f32 = 16.0;

/// Sums of similarities and of their squares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FixedSums {
    count: u64,
    /// In [`STEPS`].
    sum: i64,
    /// In squares of [`STEPS`].
    sum_of_squares: u128,
}

impl FixedSums {
    pub(super) fn add(&mut self, similarity: f32) {
        let steps = (similarity.clamp(-LARGEST, LARGEST) * STEPS) as i64;
        self.count += 1;
        self.sum += steps;
        self.sum_of_squares += u128::from((steps * steps).unsigned_abs());
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
    }

    pub(super) fn moments(self) -> ScoreMoments {
        let steps = f64::from(STEPS);
        ScoreMoments::from_sums(self.count, self.sum as f64 / steps, self.sum_of_squares as f64 / (steps * steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(similarities: &[f32]) -> FixedSums {
        let mut sums = FixedSums::default();
        similarities.iter().for_each(|similarity| sums.add(*similarity));
        sums
    }

    proptest! {
        #[test]
        fn groups_and_order_change_nothing(similarities in prop::collection::vec(-1.0_f32..=1.0, 0..60), cut in 0..60_usize) {
            let (left, right) = similarities.split_at(cut.min(similarities.len()));
            let mut parts = sums(right);
            parts.merge(sums(left));
            prop_assert_eq!(parts, sums(&similarities));
        }

        /// These numbers are whole in steps, so that nothing is rounded on either side.
        #[test]
        fn the_moments_are_those_of_the_numbers(numbers in prop::collection::vec(-1024_i16..=1024, 0..60)) {
            let similarities: Vec<f32> = numbers.into_iter().map(|number| f32::from(number) / 1024.0).collect();
            let mut plain = ScoreMoments::default();
            similarities.iter().for_each(|similarity| plain.add(f64::from(*similarity)));
            prop_assert_eq!(sums(&similarities).moments(), plain);
        }
    }

    #[test]
    fn what_is_no_similarity_does_no_harm() {
        let sums = sums(&[f32::NAN, f32::INFINITY, f32::MIN, 1e30]);
        assert!(sums.moments().statistics().is_some());
    }
}
