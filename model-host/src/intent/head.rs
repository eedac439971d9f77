//! The classifier itself: one row of weights and a bias for each label.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    weights: Vec<f32>,
    bias: Vec<f32>,
    dimension: usize,
}

/// Why a head's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Not a whole safetensors file.
    #[error("the head is not a whole safetensors file: {0}")]
    Malformed(#[from] safetensors::SafeTensorError),
    /// A tensor has another type or shape than the manifest's labels ask for.
    #[error("head tensor {name} is {found}, expected {expected}")]
    WrongTensor {
        /// `weight` or `bias`.
        name: &'static str,
        /// What the labels ask for.
        expected: String,
        /// What the file holds.
        found: String,
    },
}

impl Head {
    /// A head of `bias.len()` labels; `weights` is row-major, `[labels, dimension]`.
    pub(super) fn new(weights: Vec<f32>, bias: Vec<f32>) -> Self {
        let dimension = weights.len() / bias.len().max(1);
        Self { weights, bias, dimension }
    }

    /// Reads tensors `weight` (`[labels, dimension]`) and `bias` (`[labels]`), float32.
    pub fn from_safetensors(bytes: &[u8], labels: usize) -> Result<Self, HeadError> {
        let tensors = SafeTensors::deserialize(bytes)?;
        let weight = tensors.tensor("weight")?;
        let weights = match weight.shape() {
            [rows, columns] if *rows == labels && *columns > 0 => floats("weight", &weight)?,
            _ => return Err(wrong("weight", &weight, format!("F32 [{labels}, dimension]"))),
        };
        let bias = tensors.tensor("bias")?;
        if bias.shape() != [labels] {
            return Err(wrong("bias", &bias, format!("F32 [{labels}]")));
        }
        Ok(Self::new(weights, floats("bias", &bias)?))
    }

    /// Writes the file that [`Self::from_safetensors`] reads.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, HeadError> {
        let labels = self.bias.len();
        let weights = bytes(&self.weights);
        let bias = bytes(&self.bias);
        let tensors = [
            ("weight", TensorView::new(Dtype::F32, vec![labels, self.dimension], &weights)?),
            ("bias", TensorView::new(Dtype::F32, vec![labels], &bias)?),
        ];
        Ok(safetensors::serialize(tensors, None)?)
    }

    /// One unnormalised score for each label.
    pub fn logits(&self, vector: &[f32]) -> Vec<f32> {
        self.weights
            .chunks_exact(self.dimension.max(1))
            .zip(&self.bias)
            .map(|(row, bias)| bias + row.iter().zip(vector).map(|(w, x)| w * x).sum::<f32>())
            .collect()
    }

    /// Length of the vectors that it reads.
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

fn floats(name: &'static str, tensor: &TensorView<'_>) -> Result<Vec<f32>, HeadError> {
    if tensor.dtype() != Dtype::F32 {
        return Err(wrong(name, tensor, "F32".to_owned()));
    }
    let (elements, _) = tensor.data().as_chunks::<4>();
    Ok(elements.iter().map(|x| f32::from_le_bytes(*x)).collect())
}

fn wrong(name: &'static str, tensor: &TensorView<'_>, expected: String) -> HeadError {
    HeadError::WrongTensor { name, expected, found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()) }
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_file() {
        let head = Head::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![0.5, -0.5]);
        let file = head.to_safetensors().unwrap();
        assert_eq!(Head::from_safetensors(&file, 2).unwrap(), head);
        assert_eq!(head.logits(&[1.0, 0.0, 1.0]), [4.5, 9.5]);
    }

    #[test]
    fn other_shapes_and_cut_files_are_refused() {
        let file = Head::new(vec![1.0, 2.0], vec![0.5, -0.5]).to_safetensors().unwrap();
        let error = Head::from_safetensors(&file, 3).unwrap_err();
        assert!(matches!(error, HeadError::WrongTensor { name: "weight", .. }));
        let error = Head::from_safetensors(&file[..file.len() - 1], 2).unwrap_err();
        assert!(matches!(error, HeadError::Malformed(_)));
    }
}
