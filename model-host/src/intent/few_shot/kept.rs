//! The validation queries that a bundle keeps, as vectors, so that labels which join it later
//! can be calibrated against those that are there.

use crate::tensors::{Matrix, Tensor, TensorFile, TensorFileError, write};

/// The most queries in scope and outside it that are kept: some four megabytes at 384
/// dimensions.
const MOST_INSIDE: usize = 2048;
const MOST_OUTSIDE: usize = 512;

/// Vectors as the head reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    vectors: Matrix,
    /// How many of them, from the first, are in scope.
    inside: usize,
}

impl Kept {
    /// Keeps evenly spread parts of both sides. `None` without queries in scope.
    pub fn new(inside: &[Vec<f32>], outside: &[Vec<f32>]) -> Option<Self> {
        let dimension = inside.first()?.len();
        let rows = spread(inside, MOST_INSIDE).chain(spread(outside, MOST_OUTSIDE));
        Some(Self { vectors: Matrix::from_rows(rows, dimension), inside: inside.len().min(MOST_INSIDE) })
    }

    /// Each vector, and whether it is in scope.
    pub fn queries(&self) -> impl Iterator<Item = (&[f32], bool)> {
        self.vectors.rows().enumerate().map(|(index, vector)| (vector, index < self.inside))
    }

    /// How many of them are in scope.
    pub fn in_scope(&self) -> usize {
        self.inside
    }

    /// Reads tensors `vectors` (`[n, dimension]`) and `inside` (`[1]`).
    pub fn from_safetensors(bytes: &[u8], dimension: usize) -> Result<Self, TensorFileError> {
        let file = TensorFile::parse(bytes)?;
        let vectors = file.matrix("vectors", None, dimension)?;
        let inside = file.counts("inside", 1)?.first().map_or(0, |count| *count as usize);
        if inside == 0 || inside > vectors.len() {
            let expected = format!("1 to {}", vectors.len());
            return Err(TensorFileError::WrongTensor { name: "inside", expected, found: inside.to_string() });
        }
        Ok(Self { vectors, inside })
    }

    /// Writes what [`Self::from_safetensors`] reads.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, TensorFileError> {
        // It is at most MOST_INSIDE.
        let inside = [u32::try_from(self.inside).unwrap_or(u32::MAX)];
        write(&[("vectors", Tensor::Matrix(&self.vectors)), ("inside", Tensor::Counts(&inside))])
    }
}

fn spread(vectors: &[Vec<f32>], most: usize) -> impl Iterator<Item = &[f32]> {
    let kept = vectors.len().min(most);
    (0..kept).map(move |index| &vectors[index * vectors.len() / kept][..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_survives_its_file() {
        let many: Vec<Vec<f32>> = (0..3000).map(|i| vec![i as f32, 1.0]).collect();
        let kept = Kept::new(&many, &many[..7]).unwrap();
        let inside: Vec<bool> = kept.queries().map(|(_, inside)| inside).collect();
        assert_eq!(inside.len(), MOST_INSIDE + 7);
        assert_eq!(inside.iter().filter(|inside| **inside).count(), MOST_INSIDE);
        let file = kept.to_safetensors().unwrap();
        assert_eq!(Kept::from_safetensors(&file, 2).unwrap(), kept);
        assert!(Kept::from_safetensors(&file, 3).is_err());
        assert!(Kept::from_safetensors(&file[..file.len() - 4], 2).is_err());
        assert!(Kept::new(&[], &many).is_none());
    }

    #[test]
    fn more_queries_in_scope_than_there_are_is_refused() {
        let matrix = Matrix::from_rows([&[1.0, 0.0][..]], 2);
        for inside in [0, 2] {
            let file = write(&[("vectors", Tensor::Matrix(&matrix)), ("inside", Tensor::Counts(&[inside]))]).unwrap();
            assert!(Kept::from_safetensors(&file, 2).is_err(), "{inside}");
        }
    }
}
