//! Short token vectors: a linear map of an encoder's hidden states, in whole numbers of eight bits.
//!
//! A hidden state has as many numbers as the encoder's vectors, and a passage has a state for each of its tokens: kept as
//! they are, they would take a hundred times the space of the passage's text. A projection keeps the directions in which
//! the states of different tokens differ most.

mod fit;
mod principal;

pub use fit::{DEFAULT_DIMENSION, FitOptions, PROJECTION_SUFFIX, ProjectionError, fit, projection_name};

use std::sync::Arc;

use crate::bundle::{Bundle, BundleError, ModelRef, PROJECTION_FILE, ProjectionSpec};
use crate::pooling::normalise;
use crate::tensors::{Matrix, Tensor, TensorFile, TensorFileError, write};

/// Names of the tensors in a projection's file.
const MEAN: &str = "mean";
const ROWS: &str = "rows";

/// A projection that is ready to run.
#[derive(Clone, Debug)]
pub struct Projection {
    model: ModelRef,
    base: ModelRef,
    map: Map,
}

/// What a projection computes.
#[derive(Clone, Debug, PartialEq)]
struct Map {
    /// The mean hidden state of length 1, which all tokens have in common and which tells none from another.
    mean: Vec<f32>,
    /// One direction for each number of a token vector.
    rows: Matrix,
}

/// The token vectors of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenVectors {
    /// The projection that made them.
    pub projection: ModelRef,
    /// Numbers of one vector.
    pub dimension: usize,
    /// The vectors, one after another.
    pub values: Vec<i8>,
}

/// Why a projection cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionLoadError {
    /// The bundle is absent, damaged or of another kind.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its file holds something else than the manifest says.
    #[error("{model}: {PROJECTION_FILE}: {source}")]
    File {
        /// The bundle.
        model: ModelRef,
        /// The cause.
        source: TensorFileError,
    },
}

impl Projection {
    /// Loads a projection bundle.
    ///
    /// # Errors
    /// When the bundle is of another kind, or its file is damaged.
    pub fn load(bundle: &Bundle) -> Result<Arc<Self>, ProjectionLoadError> {
        let (model, spec) = (bundle.model_ref(), bundle.projection()?);
        let bytes = bundle.read(PROJECTION_FILE)?;
        let map = Map::from_safetensors(&bytes, spec);
        let map = map.map_err(|source| ProjectionLoadError::File { model: model.clone(), source })?;
        Ok(Arc::new(Self { model, base: spec.base.clone(), map }))
    }

    /// Name and version of the bundle.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// The encoder that it fits.
    pub fn base(&self) -> &ModelRef {
        &self.base
    }

    /// Length of one token's vector.
    pub fn dimension(&self) -> usize {
        self.map.rows.len()
    }

    /// The vectors of some hidden states, each as long as the encoder's.
    pub fn project<'a>(&self, states: impl Iterator<Item = &'a [f32]>) -> TokenVectors {
        let values = states.flat_map(|state| self.map.project(state)).collect();
        TokenVectors { projection: self.model.clone(), dimension: self.dimension(), values }
    }
}

impl Map {
    fn from_safetensors(bytes: &[u8], spec: &ProjectionSpec) -> Result<Self, TensorFileError> {
        let file = TensorFile::parse(bytes)?;
        Ok(Self { mean: file.vector(MEAN, spec.input)?, rows: file.matrix(ROWS, Some(spec.dimension), spec.input)? })
    }

    fn to_safetensors(&self) -> Result<Vec<u8>, TensorFileError> {
        write(&[(MEAN, Tensor::Vector(&self.mean)), (ROWS, Tensor::Matrix(&self.rows))])
    }

    fn project(&self, state: &[f32]) -> Vec<i8> {
        let mut state = state.to_vec();
        normalise(&mut state);
        state.iter_mut().zip(&self.mean).for_each(|(x, mean)| *x -= mean);
        let projected: Vec<f32> =
            self.rows.rows().map(|row| row.iter().zip(&state).map(|(a, b)| a * b).sum()).collect();
        quantised(&projected)
    }
}

/// A vector's direction in whole numbers of -127 to 127: the largest becomes one of the two ends.
fn quantised(vector: &[f32]) -> Vec<i8> {
    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    vector.iter().map(|x| (x * scale).round() as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Map {
        Map { mean: vec![0.0, 0.0, 0.6], rows: Matrix { data: vec![1.0, 0.0, 0.0, 0.0, 0.0, 2.0], columns: 3 } }
    }

    #[test]
    fn states_are_brought_to_length_one_before_the_mean_is_taken_off() {
        assert_eq!(map().project(&[30.0, 0.0, 40.0]), [127, 85]);
        assert_eq!(map().project(&[0.6, 0.0, 0.8]), [127, 85]);
    }

    #[test]
    fn what_has_no_direction_becomes_zeros() {
        assert_eq!(quantised(&[0.0, 0.0]), [0, 0]);
        assert_eq!(quantised(&[]), Vec::<i8>::new());
        assert_eq!(quantised(&[1e-30, -1e-30]), [127, -127]);
    }

    #[test]
    fn a_file_gives_back_what_was_written_and_no_other_shape() {
        let spec = |input, dimension| ProjectionSpec {
            base: ModelRef::new("tiny", "1").unwrap(),
            input,
            dimension,
            fitted_on: String::new(),
        };
        let bytes = map().to_safetensors().unwrap();
        assert_eq!(Map::from_safetensors(&bytes, &spec(3, 2)).unwrap(), map());
        for (input, dimension) in [(4, 2), (3, 1)] {
            assert!(Map::from_safetensors(&bytes, &spec(input, dimension)).is_err());
        }
        assert!(Map::from_safetensors(&bytes[..bytes.len() - 4], &spec(3, 2)).is_err());
    }
}
