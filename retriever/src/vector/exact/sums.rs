//! Sums of similarities that are the same in whatever order and groups they are added up.
//!
//! Segments are looked at side by side, and are cut differently after a restart, while an earlier state must give the very
//! scores that it gave. So the sums are kept in whole numbers.

use trivium_ranking::fusion::ScoreMoments;

/// Steps of one unit: similarities are at most 1, and their codes are good to two digits.
const STEPS: f32 = 65_536.0;
/// A similarity beyond it is cut, so that no sum of a segment loses a step: vectors of length 1 have none.
const LARGEST: f32 = 4.0;
/// Sums that run side by side, so that the compiler can keep them in vector registers.
const LANES: usize = 8;
/// So many squares of the largest number of steps are whole in an `f64`.
const BLOCK: usize = 1 << 16;

/// Sums of similarities and of their squares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FixedSums {
    count: u64,
    /// In [`STEPS`].
    sum: i128,
    /// In squares of [`STEPS`].
    sum_of_squares: i128,
}

impl FixedSums {
    pub(super) fn of(similarities: &[f32]) -> Self {
        let mut sums = Self::default();
        for block in similarities.chunks(BLOCK) {
            sums.merge(Self::of_block(block));
        }
        sums
    }

    /// Whole numbers below 2^53 are added up without loss, in whatever order.
    fn of_block(similarities: &[f32]) -> Self {
        let (mut sum, mut squares) = ([0.0_f64; LANES], [0.0_f64; LANES]);
        let rows = similarities.chunks_exact(LANES);
        let rest = rows.remainder();
        for row in rows {
            for lane in 0..LANES {
                let steps = steps(row[lane]);
                sum[lane] += steps;
                squares[lane] += steps * steps;
            }
        }
        for (lane, similarity) in rest.iter().enumerate() {
            let steps = steps(*similarity);
            sum[lane] += steps;
            squares[lane] += steps * steps;
        }
        let count = similarities.len() as u64;
        let [sum, sum_of_squares] = [sum, squares].map(|lanes| lanes.iter().sum::<f64>() as i128);
        Self { count, sum, sum_of_squares }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
    }

    /// Takes one similarity out again that was among those.
    pub(super) fn remove(&mut self, similarity: f32) {
        let steps = steps(similarity) as i128;
        self.count -= 1;
        self.sum -= steps;
        self.sum_of_squares -= steps * steps;
    }

    pub(super) fn moments(self) -> ScoreMoments {
        let steps = f64::from(STEPS);
        ScoreMoments::from_sums(self.count, self.sum as f64 / steps, self.sum_of_squares as f64 / (steps * steps))
    }
}

/// The whole number of steps; none for what is no number.
fn steps(similarity: f32) -> f64 {
    // This order of the two gives the bound, and not the other number, for what is no number.
    let bounded = (-LARGEST).max(similarity).min(LARGEST);
    f64::from((bounded * STEPS).round_ties_even())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_and_order_change_nothing(similarities in prop::collection::vec(-1.0_f32..=1.0, 0..60), cut in 0..60_usize) {
            let (left, right) = similarities.split_at(cut.min(similarities.len()));
            let mut parts = FixedSums::of(right);
            parts.merge(FixedSums::of(left));
            prop_assert_eq!(parts, FixedSums::of(&similarities));
            right.iter().for_each(|similarity| parts.remove(*similarity));
            prop_assert_eq!(parts, FixedSums::of(left));
        }

        /// These numbers are whole in steps, so that nothing is rounded on either side.
        #[test]
        fn the_moments_are_those_of_the_numbers(numbers in prop::collection::vec(-1024_i16..=1024, 0..60)) {
            let similarities: Vec<f32> = numbers.into_iter().map(|number| f32::from(number) / 1024.0).collect();
            let mut plain = ScoreMoments::default();
            similarities.iter().for_each(|similarity| plain.add(f64::from(*similarity)));
            prop_assert_eq!(FixedSums::of(&similarities).moments(), plain);
        }
    }

    #[test]
    fn many_of_the_largest_lose_nothing() {
        let many = FixedSums::of(&vec![1e9; 3 * BLOCK + 5]);
        let (rows, steps) = (3 * BLOCK as i128 + 5, i128::from((LARGEST * STEPS) as i64));
        assert_eq!((many.sum, many.sum_of_squares), (rows * steps, rows * steps * steps));
    }

    #[test]
    fn what_is_no_similarity_does_no_harm() {
        let sums = FixedSums::of(&[f32::NAN, f32::INFINITY, f32::MIN, 1e30]);
        assert!(sums.moments().statistics().is_some());
    }
}
