//! Mean and spread of the similarities of all rows, without looking at the rows.
//!
//! The similarities of rows x to a query q have the sum q·Σx and the sum of squares qᵀ(Σxxᵀ)q. Both sums on the right do not
//! depend on the query, so they are kept beside the vectors. An earlier state must give the very scores that it gave, by
//! whatever commits and restarts it came about, so the values are whole numbers of steps: their sums lose nothing, and rows
//! can be taken out again.

use rayon::prelude::*;
use trivium_ranking::fusion::ScoreMoments;

/// Steps of one unit. Values of vectors of length 1 are at most 1. Sums of 2^23 squares of the largest are whole in an `f64`.
const STEPS: f64 = 32_768.0;
/// Longest vectors for which the sums are kept: they take four bytes for each pair of values.
const MAX_DIMENSION: usize = 1_536;
/// Rows that are added up together, so that each sum is loaded and stored once for all of them.
const TOGETHER: usize = 4;
/// Sums that run side by side, so that the compiler can keep them in vector registers.
const LANES: usize = 8;
/// Rows that one core adds up before another may take over.
const SHARE: usize = 4_096;

/// Sums over rows of their values and of the products of their values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SecondMoments {
    dimension: usize,
    rows: u64,
    /// In steps.
    sums: Vec<f64>,
    /// In squares of steps. Of each value its square and then its products with all later values.
    products: Vec<f64>,
}

impl SecondMoments {
    /// Of no rows; `None` for vectors that are too long.
    pub(super) fn new(dimension: usize) -> Option<Self> {
        let pairs = dimension * (dimension + 1) / 2;
        let fits = (1..=MAX_DIMENSION).contains(&dimension);
        fits.then(|| Self { dimension, rows: 0, sums: vec![0.0; dimension], products: vec![0.0; pairs] })
    }

    /// Adds the rows whose vectors follow each other in `values`.
    pub(super) fn add(&mut self, values: &[f32]) {
        if values.len() <= SHARE * self.dimension {
            return self.accumulate(values, 1.0);
        }
        let none =
            || Self { rows: 0, sums: vec![0.0; self.sums.len()], products: vec![0.0; self.products.len()], ..*self };
        let of_share = |mut sums: Self, share: &[f32]| {
            sums.accumulate(share, 1.0);
            sums
        };
        let shares = values.par_chunks(SHARE * self.dimension).fold(none, of_share);
        let all = shares.reduce(none, Self::merged);
        self.merge(&all);
    }

    /// Takes out rows that were added before.
    pub(super) fn remove(&mut self, values: &[f32]) {
        self.accumulate(values, -1.0);
    }

    /// Count, sum and sum of squares of the similarities of all rows to `query`; `None` when they differ by so little that
    /// steps cannot tell it from their own rounding.
    pub(super) fn moments(&self, query: &[f32]) -> Option<ScoreMoments> {
        let query: Vec<f64> = query.iter().map(|value| f64::from(*value)).collect();
        let sum = dot(&self.sums, &query) / STEPS;
        let mut from = 0;
        let mut squares = 0.0;
        for (place, value) in query.iter().enumerate() {
            let products = &self.products[from..from + self.dimension - place];
            // Each product of two different values is there once and counts twice.
            squares += value * (2.0 * dot(products, &query[place..]) - products[0] * value);
            from += products.len();
        }
        let moments = ScoreMoments::from_sums(self.rows, sum, squares / (STEPS * STEPS));
        let rounding = dot(&query, &query).sqrt() / STEPS;
        moments.statistics().is_some_and(|found| found.standard_deviation() > rounding).then_some(moments)
    }

    /// The mean product of each pair of values, as a whole matrix, row after row.
    pub(super) fn mean_products(&self) -> Vec<f64> {
        let (dimension, rows) = (self.dimension, (self.rows.max(1)) as f64);
        let mut matrix = vec![0.0; dimension * dimension];
        let mut products = self.products.iter();
        for left in 0..dimension {
            for right in left..dimension {
                let mean = products.next().map_or(0.0, |product| product / (STEPS * STEPS) / rows);
                matrix[left * dimension + right] = mean;
                matrix[right * dimension + left] = mean;
            }
        }
        matrix
    }

    fn accumulate(&mut self, values: &[f32], sign: f64) {
        let rows = values.len() / self.dimension;
        self.rows = if sign > 0.0 { self.rows + rows as u64 } else { self.rows.saturating_sub(rows as u64) };
        let mut steps = vec![0.0; TOGETHER * self.dimension];
        for block in values.chunks(TOGETHER * self.dimension) {
            // Rows that are missing from the last block are zeros, which add nothing.
            steps.fill(0.0);
            steps.iter_mut().zip(block).for_each(|(steps, value)| *steps = whole_steps(*value));
            self.accumulate_block(&steps, sign);
        }
    }

    /// The compiler turns the inner loop into vector instructions. No product or sum is rounded, so their order is free.
    fn accumulate_block(&mut self, steps: &[f64], sign: f64) {
        let dimension = self.dimension;
        let (first, rest) = steps.split_at(dimension);
        let (second, rest) = rest.split_at(dimension);
        let (third, fourth) = rest.split_at(dimension);
        let mut from = 0;
        for place in 0..dimension {
            let factors = [first[place], second[place], third[place], fourth[place]].map(|value| sign * value);
            self.sums[place] += factors.iter().sum::<f64>();
            let products = &mut self.products[from..from + dimension - place];
            let rows = first[place..].iter().zip(&second[place..]).zip(third[place..].iter().zip(&fourth[place..]));
            for (product, ((a, b), (c, d))) in products.iter_mut().zip(rows) {
                let two = a.mul_add(factors[0], b.mul_add(factors[1], *product));
                *product = c.mul_add(factors[2], d.mul_add(factors[3], two));
            }
            from += dimension - place;
        }
    }

    fn merged(mut self, other: Self) -> Self {
        self.merge(&other);
        self
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, other)| *sum += other);
        self.products.iter_mut().zip(&other.products).for_each(|(product, other)| *product += other);
    }
}

/// The whole number of steps; the bound for what is beyond it or no number.
fn whole_steps(value: f32) -> f64 {
    let bounded = (-1.0_f32).max(value).min(1.0);
    (f64::from(bounded) * STEPS).round_ties_even()
}

/// In lanes, and so in the same order on every machine.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let (left_blocks, right_blocks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left_blocks.remainder().iter().zip(right_blocks.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in left_blocks.zip(right_blocks) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIMENSION: usize = 11;

    fn any_vectors() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1.0_f32..=1.0, 0..20 * DIMENSION).prop_map(|mut values| {
            values.truncate(values.len() / DIMENSION * DIMENSION);
            values
        })
    }

    fn of(values: &[f32]) -> SecondMoments {
        let mut moments = SecondMoments::new(DIMENSION).unwrap();
        moments.add(values);
        moments
    }

    proptest! {
        #[test]
        fn order_groups_and_rows_that_went_again_change_nothing(left in any_vectors(), right in any_vectors()) {
            let all = of(&[left.clone(), right.clone()].concat());
            let mut parts = of(&right);
            parts.add(&left);
            prop_assert_eq!(&parts, &all);
            parts.remove(&right);
            prop_assert_eq!(parts, of(&left));
        }

        /// Numbers that are whole in steps, so that nothing is rounded on the way to the sums.
        #[test]
        fn the_moments_are_those_of_all_similarities(
            numbers in prop::collection::vec(-256_i16..=256, DIMENSION..12 * DIMENSION),
            query in prop::collection::vec(-1.0_f32..=1.0, DIMENSION),
        ) {
            let rows = numbers.len() / DIMENSION;
            let values: Vec<f32> = numbers[..rows * DIMENSION].iter().map(|number| f32::from(*number) / 256.0).collect();
            let (mut sum, mut squares) = (0.0, 0.0);
            for vector in values.chunks_exact(DIMENSION) {
                let similarity: f64 = vector.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                sum += similarity;
                squares += similarity * similarity;
            }
            let plain = ScoreMoments::from_sums(rows as u64, sum, squares);
            let (Some(found), Some(plain)) = (of(&values).moments(&query), plain.statistics()) else { return Ok(()) };
            prop_assert_eq!(found.count(), rows as u64);
            let found = found.statistics().unwrap();
            prop_assert!((found.mean() - plain.mean()).abs() < 1e-9, "{found:?} {plain:?}");
            let off = (found.standard_deviation() - plain.standard_deviation()).abs();
            prop_assert!(off < 1e-6, "{found:?} {plain:?}");
        }
    }

    #[test]
    fn many_rows_are_added_up_by_many_cores_without_loss() {
        let values: Vec<f32> = (0..3 * SHARE * DIMENSION + DIMENSION).map(|n| (n % 97) as f32 / 97.0 - 0.5).collect();
        let mut one_by_one = SecondMoments::new(DIMENSION).unwrap();
        values.chunks(7 * DIMENSION).for_each(|rows| one_by_one.add(rows));
        assert_eq!(of(&values), one_by_one);
    }

    #[test]
    fn the_mean_products_are_a_whole_matrix() {
        let mut moments = SecondMoments::new(2).unwrap();
        moments.add(&[0.5, 1.0, -0.5, 0.0]);
        assert_eq!(moments.mean_products(), [0.25, 0.25, 0.25, 0.5]);
    }

    #[test]
    fn rows_that_are_all_the_same_have_no_spread() {
        let vector: Vec<f32> = (0..DIMENSION).map(|place| place as f32 / 19.0).collect();
        let mut same = of(&[vector.clone(), vector.clone(), vector.clone()].concat());
        assert_eq!(same.moments(&vector), None);
        assert_eq!(of(&[]).moments(&vector), None);
        same.add(&[0.0; DIMENSION]);
        assert!(same.moments(&vector).is_some());
    }

    #[test]
    fn vectors_that_are_too_long_have_none() {
        assert!(SecondMoments::new(MAX_DIMENSION + 1).is_none() && SecondMoments::new(0).is_none());
    }
}
