//! Reads and writes the safetensors files of bundles.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Why a tensor file of a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// Not a whole safetensors file, or one without a tensor that it must have.
    #[error("not a whole safetensors file: {0}")]
    Malformed(#[from] safetensors::SafeTensorError),
    /// A tensor has another type or shape than the manifest asks for.
    #[error("tensor {name} is {found}, expected {expected}")]
    WrongTensor {
        /// Its name.
        name: &'static str,
        /// What the manifest asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("tensor {0} holds a number that is not finite")]
    NotFinite(&'static str),
}

/// A row-major matrix of float32.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) data: Vec<f32>,
    /// Length of a row.
    pub(crate) columns: usize,
}

impl Matrix {
    /// Rows of one length after another.
    pub(crate) fn from_rows<'a>(rows: impl IntoIterator<Item = &'a [f32]>, columns: usize) -> Self {
        Self { data: rows.into_iter().flatten().copied().collect(), columns }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.data.chunks_exact(self.columns.max(1))
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len() / self.columns.max(1)
    }
}

/// A tensor file, parsed.
pub(crate) struct TensorFile<'a>(SafeTensors<'a>);

impl<'a> TensorFile<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, TensorFileError> {
        Ok(Self(SafeTensors::deserialize(bytes)?))
    }

    /// A matrix of finite float32 with at least one row. `rows` is the number of rows that
    /// it must have, if that is known, and `columns` the length of one.
    pub(crate) fn matrix(
        &self,
        name: &'static str,
        rows: Option<usize>,
        columns: usize,
    ) -> Result<Matrix, TensorFileError> {
        let tensor = self.0.tensor(name)?;
        let fits = match tensor.shape() {
            [found, width] => *width == columns && *found > 0 && rows.is_none_or(|rows| rows == *found),
            _ => false,
        };
        if !fits || tensor.dtype() != Dtype::F32 {
            let rows = rows.map_or_else(|| "rows".to_owned(), |rows| rows.to_string());
            return Err(wrong(name, &tensor, format!("F32 [{rows}, {columns}]")));
        }
        Ok(Matrix { data: finite(name, &tensor)?, columns })
    }

    /// Finite float32 numbers, `count` of them.
    pub(crate) fn vector(&self, name: &'static str, count: usize) -> Result<Vec<f32>, TensorFileError> {
        let tensor = self.0.tensor(name)?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [count] {
            return Err(wrong(name, &tensor, format!("F32 [{count}]")));
        }
        finite(name, &tensor)
    }

    /// The length of a matrix's rows, at least 1.
    pub(crate) fn columns(&self, name: &'static str) -> Result<usize, TensorFileError> {
        let tensor = self.0.tensor(name)?;
        match tensor.shape() {
            [_, columns] if *columns > 0 => Ok(*columns),
            _ => Err(wrong(name, &tensor, "F32 [rows, columns]".to_owned())),
        }
    }

    /// Whole numbers, one for each of `count`.
    pub(crate) fn counts(&self, name: &'static str, count: usize) -> Result<Vec<u32>, TensorFileError> {
        let tensor = self.0.tensor(name)?;
        if tensor.dtype() != Dtype::U32 || tensor.shape() != [count] {
            return Err(wrong(name, &tensor, format!("U32 [{count}]")));
        }
        let (elements, _) = tensor.data().as_chunks::<4>();
        Ok(elements.iter().map(|x| u32::from_le_bytes(*x)).collect())
    }
}

/// A tensor to be written.
pub(crate) enum Tensor<'a> {
    Matrix(&'a Matrix),
    Vector(&'a [f32]),
    Counts(&'a [u32]),
}

/// Writes what [`TensorFile`] reads.
pub(crate) fn write(tensors: &[(&'static str, Tensor<'_>)]) -> Result<Vec<u8>, TensorFileError> {
    let raw: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| match tensor {
            Tensor::Matrix(matrix) => {
                let bytes = matrix.data.iter().flat_map(|x| x.to_le_bytes()).collect();
                (*name, Dtype::F32, vec![matrix.len(), matrix.columns], bytes)
            }
            Tensor::Vector(vector) => {
                let bytes = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                (*name, Dtype::F32, vec![vector.len()], bytes)
            }
            Tensor::Counts(counts) => {
                let bytes = counts.iter().flat_map(|x| x.to_le_bytes()).collect();
                (*name, Dtype::U32, vec![counts.len()], bytes)
            }
        })
        .collect();
    let views = raw
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None)?)
}

fn finite(name: &'static str, tensor: &TensorView<'_>) -> Result<Vec<f32>, TensorFileError> {
    let (elements, _) = tensor.data().as_chunks::<4>();
    let data: Vec<f32> = elements.iter().map(|x| f32::from_le_bytes(*x)).collect();
    if data.iter().any(|x| !x.is_finite()) {
        return Err(TensorFileError::NotFinite(name));
    }
    Ok(data)
}

fn wrong(name: &'static str, tensor: &TensorView<'_>, expected: String) -> TensorFileError {
    TensorFileError::WrongTensor { name, expected, found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let matrix = Matrix::from_rows([&[1.0, 2.0][..], &[3.0, 4.0]], 2);
        let file = write(&[("m", Tensor::Matrix(&matrix)), ("c", Tensor::Counts(&[7, 8]))]).unwrap();
        let parsed = TensorFile::parse(&file).unwrap();
        assert_eq!(parsed.matrix("m", Some(2), 2).unwrap(), matrix);
        assert_eq!(parsed.matrix("m", None, 2).unwrap().len(), 2);
        assert_eq!(parsed.counts("c", 2).unwrap(), [7, 8]);
    }

    #[test]
    fn other_shapes_types_and_numbers_are_refused() {
        let matrix = Matrix::from_rows([&[1.0, f32::NAN][..]], 2);
        let file = write(&[("m", Tensor::Matrix(&matrix)), ("c", Tensor::Counts(&[7]))]).unwrap();
        let parsed = TensorFile::parse(&file).unwrap();
        assert!(matches!(parsed.matrix("m", None, 2), Err(TensorFileError::NotFinite("m"))));
        assert!(matches!(parsed.matrix("m", None, 3), Err(TensorFileError::WrongTensor { .. })));
        assert!(matches!(parsed.matrix("m", Some(2), 2), Err(TensorFileError::WrongTensor { .. })));
        assert!(matches!(parsed.matrix("c", None, 1), Err(TensorFileError::WrongTensor { .. })));
        assert!(matches!(parsed.counts("c", 2), Err(TensorFileError::WrongTensor { .. })));
        assert!(matches!(parsed.matrix("absent", None, 2), Err(TensorFileError::Malformed(_))));
        assert!(matches!(TensorFile::parse(&file[..file.len() - 1]), Err(TensorFileError::Malformed(_))));
    }
}
