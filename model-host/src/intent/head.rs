//! The classifier itself: one row of weights and a bias for each label.

use super::vectors::dot;
use crate::tensors::{Matrix, Tensor, TensorFile, TensorFileError, write};

/// A linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `[labels, dimension]`.
    weights: Matrix,
    /// `[1, labels]`.
    bias: Matrix,
}

/// Weights and biases that make no linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The weights are not one row of the same length for each bias.
    #[error("{weights} weights are not rows of equal length for {labels} labels")]
    Shape {
        /// How many weights there are.
        weights: usize,
        /// How many biases.
        labels: usize,
    },
    /// A weight or bias is a NaN or an infinity.
    #[error("the head holds a number that is not finite")]
    NotFinite,
}

impl Head {
    /// A head of `bias.len()` labels; `weights` is row-major, `[labels, dimension]`.
    ///
    /// # Errors
    /// When the two do not fit each other or hold a number that is not finite.
    pub fn new(weights: Vec<f32>, bias: Vec<f32>) -> Result<Self, HeadError> {
        if bias.is_empty() || weights.is_empty() || !weights.len().is_multiple_of(bias.len()) {
            return Err(HeadError::Shape { weights: weights.len(), labels: bias.len() });
        }
        if weights.iter().chain(&bias).any(|x| !x.is_finite()) {
            return Err(HeadError::NotFinite);
        }
        Ok(Self::from_parts(weights, bias))
    }

    /// As [`Self::new`], for parts that were made to fit.
    pub(super) fn from_parts(weights: Vec<f32>, bias: Vec<f32>) -> Self {
        let dimension = weights.len() / bias.len().max(1);
        let labels = bias.len();
        Self { weights: Matrix { data: weights, columns: dimension }, bias: Matrix { data: bias, columns: labels } }
    }

    /// Reads tensors `weight` (`[labels, dimension]`) and `bias` (`[labels]`), float32.
    pub fn from_safetensors(bytes: &[u8], labels: usize) -> Result<Self, TensorFileError> {
        let file = TensorFile::parse(bytes)?;
        let columns = file.columns("weight")?;
        let weights = file.matrix("weight", Some(labels), columns)?;
        let bias = file.vector("bias", labels)?;
        Ok(Self { weights, bias: Matrix { data: bias, columns: labels } })
    }

    /// Writes the file that [`Self::from_safetensors`] reads.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, TensorFileError> {
        write(&[("weight", Tensor::Matrix(&self.weights)), ("bias", Tensor::Vector(&self.bias.data))])
    }

    /// One unnormalised score for each label.
    pub fn logits(&self, vector: &[f32]) -> Vec<f32> {
        self.weights.rows().zip(&self.bias.data).map(|(row, bias)| bias + dot(row, vector)).collect()
    }

    /// The mean length of its rows of weights.
    pub(super) fn mean_row_length(&self) -> f32 {
        let lengths = self.weights.rows().map(|row| dot(row, row).sqrt());
        lengths.sum::<f32>() / self.labels().max(1) as f32
    }

    /// The same head with one label more, at the end. Its row is the given mixture of the rows
    /// that are there, plus `weights` (of [`Self::dimension`] elements) and `bias`.
    pub(super) fn with_row(&self, mixture: &[f32], weights: &[f32], bias: f32) -> Self {
        let mut row = weights.to_vec();
        for (share, own) in mixture.iter().zip(self.weights.rows()) {
            for (total, weight) in row.iter_mut().zip(own) {
                *total += share * weight;
            }
        }
        let bias = bias + dot(mixture, &self.bias.data);
        let all = self.weights.data.iter().copied().chain(row).collect();
        Self::from_parts(all, self.bias.data.iter().copied().chain([bias]).collect())
    }

    /// Length of the vectors that it reads.
    pub fn dimension(&self) -> usize {
        self.weights.columns
    }

    /// How many labels it has.
    pub fn labels(&self) -> usize {
        self.bias.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_file() {
        let head = Head::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![0.5, -0.5]).unwrap();
        let file = head.to_safetensors().unwrap();
        assert_eq!(Head::from_safetensors(&file, 2).unwrap(), head);
        assert_eq!(head.logits(&[1.0, 0.0, 1.0]), [4.5, 9.5]);
        assert_eq!((head.dimension(), head.labels()), (3, 2));
    }

    #[test]
    fn a_row_joins_at_the_end() {
        let head = Head::new(vec![3.0, 4.0, 0.0, 1.0], vec![0.5, -0.5]).unwrap();
        assert_eq!(head.mean_row_length(), 3.0);
        let longer = head.with_row(&[0.5, 0.5], &[1.0, 1.0], 2.0);
        assert_eq!(longer.logits(&[1.0, 0.0]), [3.5, -0.5, 4.5]);
    }

    #[test]
    fn other_shapes_and_cut_files_are_refused() {
        let file = Head::new(vec![1.0, 2.0], vec![0.5, -0.5]).unwrap().to_safetensors().unwrap();
        let error = Head::from_safetensors(&file, 3).unwrap_err();
        assert!(matches!(error, TensorFileError::WrongTensor { .. }), "{error}");
        let error = Head::from_safetensors(&file[..file.len() - 1], 2).unwrap_err();
        assert!(matches!(error, TensorFileError::Malformed(_)), "{error}");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        for (weights, bias, expected) in [
            (vec![1.0; 5], vec![0.0; 2], HeadError::Shape { weights: 5, labels: 2 }),
            (vec![], vec![0.0; 2], HeadError::Shape { weights: 0, labels: 2 }),
            (vec![1.0], vec![], HeadError::Shape { weights: 1, labels: 0 }),
            (vec![1.0, f32::NAN], vec![0.0; 2], HeadError::NotFinite),
        ] {
            assert_eq!(Head::new(weights, bias).unwrap_err(), expected);
        }
    }
}
