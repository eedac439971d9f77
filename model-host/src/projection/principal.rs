//! The directions in which vectors differ most: principal component analysis.

use crate::tensors::Matrix;

/// Rounds of the iteration. The directions after these many differ from the exact ones by less than eight-bit numbers show.
const ROUNDS: usize = 60;
/// Directions that are iterated beyond those that are wanted: the last ones come out the sooner for it.
const SPARE: usize = 16;

/// Sums over vectors, from which mean and covariance come.
pub(super) struct Moments {
    count: f64,
    sum: Vec<f64>,
    /// Sums of products, `[dimension, dimension]`, row-major.
    products: Vec<f64>,
}

impl Moments {
    pub(super) fn new(dimension: usize) -> Self {
        Self { count: 0.0, sum: vec![0.0; dimension], products: vec![0.0; dimension * dimension] }
    }

    pub(super) fn add(&mut self, vector: &[f32]) {
        self.count += 1.0;
        for (x, (sum, row)) in vector.iter().zip(self.sum.iter_mut().zip(self.products.chunks_exact_mut(vector.len())))
        {
            let x = f64::from(*x);
            *sum += x;
            row.iter_mut().zip(vector).for_each(|(product, y)| *product += x * f64::from(*y));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|sum| sum / self.count.max(1.0)).collect()
    }

    /// The `wanted` directions of largest variance, of length 1 and at right angles, the largest first. The same sums give
    /// the same directions, to the last bit.
    pub(super) fn principal(&self, wanted: usize) -> Matrix {
        let covariance = self.covariance();
        let dimension = self.sum.len();
        let wanted = wanted.min(dimension);
        // The covariance's own rows begin near to what is looked for; the unit vectors make sure that all is spanned.
        let mut basis: Vec<Vec<f64>> = (0..(wanted + SPARE).min(dimension))
            .map(|row| {
                let mut start = covariance[row * dimension..(row + 1) * dimension].to_vec();
                start[row] += 1e-3;
                start
            })
            .collect();
        orthonormalise(&mut basis);
        for _ in 0..ROUNDS {
            basis.iter_mut().for_each(|vector| *vector = product(&covariance, vector));
            orthonormalise(&mut basis);
        }
        let variance = |vector: &Vec<f64>| dot(&product(&covariance, vector), vector);
        let mut ranked: Vec<(f64, Vec<f64>)> = basis.into_iter().map(|vector| (variance(&vector), vector)).collect();
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
        let data = ranked.into_iter().take(wanted).flat_map(|(_, vector)| vector).map(|x| x as f32).collect();
        Matrix { data, columns: dimension }
    }

    fn covariance(&self) -> Vec<f64> {
        let (mean, dimension) = (self.mean(), self.sum.len());
        let mut covariance = self.products.clone();
        for (row, values) in covariance.chunks_exact_mut(dimension.max(1)).enumerate() {
            values.iter_mut().zip(&mean).for_each(|(x, other)| *x = *x / self.count.max(1.0) - mean[row] * other);
        }
        covariance
    }
}

/// A symmetric matrix times a vector.
fn product(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(vector.len().max(1)).map(|row| dot(row, vector)).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Gram and Schmidt's method, twice over, so that rounding leaves the angles right. A vector that the others span already
/// becomes zeros.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for place in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(place);
        let Some(vector) = rest.first_mut() else { return };
        let length = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let along = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = dot(vector, vector).sqrt();
        let scale = if left > 1e-12 * length { 1.0 / left } else { 0.0 };
        vector.iter_mut().for_each(|x| *x *= scale);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments(vectors: &[[f32; 3]]) -> Moments {
        let mut moments = Moments::new(3);
        vectors.iter().for_each(|vector| moments.add(vector));
        moments
    }

    #[test]
    fn the_direction_of_largest_variance_comes_first() {
        let found = moments(&[[5.0, 1.0, 7.0], [-5.0, 1.0, 7.0], [0.0, 2.0, 7.0], [0.0, 0.0, 7.0]]);
        assert_eq!(found.mean(), [0.0, 1.0, 7.0]);
        let rows = found.principal(2);
        let rows: Vec<Vec<f32>> = rows.rows().map(|row| row.iter().map(|x| x.abs()).collect()).collect();
        assert_eq!(rows, [vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]]);
    }

    #[test]
    fn what_does_not_differ_has_no_direction() {
        assert!(moments(&[[1.0, 2.0, 3.0]; 4]).principal(2).data.iter().all(|x| x.is_finite()));
        assert!(Moments::new(3).principal(2).data.iter().all(|x| x.is_finite()));
    }

    proptest! {
        #[test]
        fn directions_are_at_right_angles_and_keep_the_variance(
            vectors in prop::collection::vec(prop::array::uniform3(-1.0_f32..1.0), 4..40),
        ) {
            let found = moments(&vectors);
            let all = found.principal(3);
            let rows: Vec<&[f32]> = all.rows().collect();
            for (place, row) in rows.iter().enumerate() {
                for other in &rows[..place] {
                    let along: f32 = row.iter().zip(*other).map(|(a, b)| a * b).sum();
                    prop_assert!(along.abs() < 1e-4);
                }
            }
            let total: f64 = (0..3).map(|axis| found.covariance()[axis * 4]).sum();
            let kept: f64 = rows.iter().map(|row| {
                let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                dot(&product(&found.covariance(), &row), &row)
            }).sum();
            prop_assert!((total - kept).abs() < 1e-4 * total.max(1.0));
        }
    }
}
