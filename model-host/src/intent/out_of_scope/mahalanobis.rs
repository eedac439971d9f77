//! The distance to the labels' means, measured by the spread within labels.

use crate::intent::vectors::dot;
use crate::tensors::{Matrix, Tensor, TensorFile, TensorFileError, write};

/// The smallest share of the mean variance that a direction is taken to have: directions in
/// which training vectors do not vary at all would otherwise decide alone.
const SMALLEST_SHRINKAGE: f64 = 1e-4;

/// A whitening transform and the labels' means after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mahalanobis {
    /// The inverse of the lower Cholesky factor of the shared covariance, `[d, d]`.
    whitening: Matrix,
    /// `[labels, d]`, whitened.
    means: Matrix,
}

impl Mahalanobis {
    /// From training vectors of length 1 and the index of each one's label, all below
    /// `labels`. `None` when there are too few vectors to speak of a spread.
    pub fn new(vectors: &[Vec<f32>], labels_of: &[usize], labels: usize) -> Option<Self> {
        let dimension = vectors.first()?.len();
        let means = label_means(vectors, labels_of, labels, dimension);
        let present: Vec<&Vec<f64>> = means.iter().flatten().collect();
        let freedom = vectors.len().checked_sub(present.len()).filter(|freedom| *freedom > 1)?;
        let spread = scatter(vectors, labels_of, &means, dimension);
        let covariance = shrunk(spread, freedom, dimension)?;
        let factor = cholesky(&covariance, dimension)?;
        let whitening = inverse_of_lower(&factor, dimension);
        let whitening = Matrix { data: whitening.iter().map(|x| *x as f32).collect(), columns: dimension };
        let whitened: Vec<Vec<f32>> = present
            .iter()
            .map(|mean| whiten(&whitening, &mean.iter().map(|x| *x as f32).collect::<Vec<f32>>()))
            .collect();
        let means = Matrix::from_rows(whitened.iter().map(Vec::as_slice), dimension);
        let finite = |matrix: &Matrix| matrix.data.iter().all(|x| x.is_finite());
        (finite(&whitening) && finite(&means)).then_some(Self { whitening, means })
    }

    /// The squared distance of `vector`, which has length 1, to the nearest mean.
    pub fn distance(&self, vector: &[f32]) -> f32 {
        let whitened = whiten(&self.whitening, vector);
        let squared = |mean: &[f32]| mean.iter().zip(&whitened).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        self.means.rows().map(squared).fold(f32::INFINITY, f32::min)
    }

    /// Adds the mean of vectors of length 1 that are of one label.
    pub fn accept(&mut self, vectors: &[Vec<f32>]) {
        let labels = vec![0; vectors.len()];
        for mean in label_means(vectors, &labels, 1, self.whitening.columns).iter().flatten() {
            let mean: Vec<f32> = mean.iter().map(|x| *x as f32).collect();
            self.means.data.extend(whiten(&self.whitening, &mean));
        }
    }

    /// Reads tensors `whitening` (`[dimension, dimension]`) and `means` (`[n, dimension]`).
    pub fn from_safetensors(bytes: &[u8], dimension: usize) -> Result<Self, TensorFileError> {
        let file = TensorFile::parse(bytes)?;
        Ok(Self {
            whitening: file.matrix("whitening", Some(dimension), dimension)?,
            means: file.matrix("means", None, dimension)?,
        })
    }

    /// Writes what [`Self::from_safetensors`] reads.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, TensorFileError> {
        write(&[("whitening", Tensor::Matrix(&self.whitening)), ("means", Tensor::Matrix(&self.means))])
    }
}

fn whiten(whitening: &Matrix, vector: &[f32]) -> Vec<f32> {
    whitening.rows().map(|row| dot(row, vector)).collect()
}

/// Each label's mean; `None` for a label without vectors.
fn label_means(vectors: &[Vec<f32>], labels_of: &[usize], labels: usize, dimension: usize) -> Vec<Option<Vec<f64>>> {
    let mut sums = vec![(0usize, vec![0.0f64; dimension]); labels];
    for (vector, &label) in vectors.iter().zip(labels_of) {
        let (count, sum) = &mut sums[label];
        *count += 1;
        for (total, x) in sum.iter_mut().zip(vector) {
            *total += f64::from(*x);
        }
    }
    sums.into_iter()
        .map(|(count, sum)| (count > 0).then(|| sum.into_iter().map(|total| total / count as f64).collect()))
        .collect()
}

/// The sum of the outer products of each vector less its label's mean; the lower triangle
/// alone is filled.
fn scatter(vectors: &[Vec<f32>], labels_of: &[usize], means: &[Option<Vec<f64>>], dimension: usize) -> Vec<f64> {
    let mut scatter = vec![0.0f64; dimension * dimension];
    for (vector, &label) in vectors.iter().zip(labels_of) {
        let Some(mean) = &means[label] else { continue };
        let centred: Vec<f64> = vector.iter().zip(mean).map(|(x, m)| f64::from(*x) - m).collect();
        for (row, &left) in scatter.chunks_exact_mut(dimension).zip(&centred) {
            for (element, right) in row.iter_mut().zip(&centred) {
                *element += left * right;
            }
        }
    }
    scatter
}

/// The covariance drawn towards a multiple of the identity by the share that is best for
/// normal data (Chen et al. 2010, the oracle approximating estimator). `None` if there is no
/// variance at all.
fn shrunk(mut scatter: Vec<f64>, freedom: usize, dimension: usize) -> Option<Vec<f64>> {
    let (n, d) = (freedom as f64, dimension as f64);
    for element in &mut scatter {
        *element /= n;
    }
    let trace: f64 = (0..dimension).map(|i| scatter[i * dimension + i]).sum();
    let squares: f64 = scatter.iter().map(|x| x * x).sum();
    if !(trace.is_finite() && trace > 0.0) {
        return None;
    }
    let above = (1.0 - 2.0 / d) * squares + trace * trace;
    let below = (n + 1.0 - 2.0 / d) * (squares - trace * trace / d);
    let share = if below > 0.0 { (above / below).clamp(SMALLEST_SHRINKAGE, 1.0) } else { 1.0 };
    for (index, element) in scatter.iter_mut().enumerate() {
        *element *= 1.0 - share;
        if index % (dimension + 1) == 0 {
            *element += share * trace / d;
        }
    }
    Some(scatter)
}

/// The lower triangular factor of a symmetric positive definite matrix, row-major; `None` if
/// it is not positive definite.
fn cholesky(matrix: &[f64], size: usize) -> Option<Vec<f64>> {
    let mut factor = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..=row {
            let done = |of: usize| &factor[of * size..of * size + column];
            let known: f64 = done(row).iter().zip(done(column)).map(|(a, b)| a * b).sum();
            let rest = matrix[row * size + column] - known;
            factor[row * size + column] = if row == column {
                if !(rest.is_finite() && rest > 0.0) {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / factor[column * size + column]
            };
        }
    }
    Some(factor)
}

/// The inverse of a lower triangular matrix with no zero on its diagonal, by forward
/// substitution.
fn inverse_of_lower(factor: &[f64], size: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; size * size];
    for column in 0..size {
        for row in column..size {
            let known: f64 = (column..row).map(|k| factor[row * size + k] * inverse[k * size + column]).sum();
            let one = if row == column { 1.0 } else { 0.0 };
            inverse[row * size + column] = (one - known) / factor[row * size + row];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_factor_times_itself_is_the_matrix() {
        let matrix = [4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0];
        let factor = cholesky(&matrix, 3).unwrap();
        let inverse = inverse_of_lower(&factor, 3);
        for row in 0..3 {
            for column in 0..3 {
                let product: f64 = (0..3).map(|k| factor[row * 3 + k] * factor[column * 3 + k]).sum();
                assert!((product - matrix[row * 3 + column]).abs() < 1e-12);
                let unit: f64 = (0..3).map(|k| factor[row * 3 + k] * inverse[k * 3 + column]).sum();
                assert!((unit - f64::from(u8::from(row == column))).abs() < 1e-12);
            }
        }
        assert!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
    }

    #[test]
    fn distance_is_measured_in_units_of_the_spread() {
        // Wide along the first axis, narrow along the second.
        let vectors: Vec<Vec<f32>> =
            (0..200).map(|i| vec![((i * 7 % 41) as f32 - 20.0) / 20.0, ((i * 3 % 41) as f32 - 20.0) / 200.0]).collect();
        let scorer = Mahalanobis::new(&vectors, &vec![0; 200], 1).unwrap();
        let (along, across) = (scorer.distance(&[0.5, 0.0]), scorer.distance(&[0.0, 0.5]));
        assert!(across > 20.0 * along, "{along} {across}");
        let mut wider = scorer.clone();
        wider.accept(&[vec![0.0, 0.5], vec![0.0, 0.5]]);
        assert!(wider.distance(&[0.0, 0.5]) < 1e-6);
        let file = scorer.to_safetensors().unwrap();
        assert_eq!(Mahalanobis::from_safetensors(&file, 2).unwrap(), scorer);
        assert!(Mahalanobis::from_safetensors(&file, 3).is_err());
    }

    #[test]
    fn data_without_spread_have_no_distance() {
        assert!(Mahalanobis::new(&[], &[], 2).is_none());
        assert!(Mahalanobis::new(&[vec![1.0, 0.0], vec![0.0, 1.0]], &[0, 1], 2).is_none());
        let same = vec![vec![1.0, 0.0]; 9];
        assert!(Mahalanobis::new(&same, &[0; 9], 2).is_none());
    }

    proptest! {
        #[test]
        fn fewer_vectors_than_dimensions_still_give_finite_distances(
            seeds in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 12), 4..9),
        ) {
            let labels: Vec<usize> = (0..seeds.len()).map(|i| i % 2).collect();
            if let Some(scorer) = Mahalanobis::new(&seeds, &labels, 3) {
                let distance = scorer.distance(&[0.3; 12]);
                prop_assert!(distance.is_finite() && distance >= 0.0);
            }
        }
    }
}
