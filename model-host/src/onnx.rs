//! Writes ONNX graphs for encoders whose weights come as safetensors.
//!
//! The published weights of the base encoder hold no graph, and the serving
//! engine reads ONNX only, so the graph is written once, when a bundle is made.

mod bert;
mod graph;
pub mod proto;
mod quantise;
mod read;

use prost::Message;
use safetensors::SafeTensors;

use bert::Weights;

pub use bert::BertConfig;
pub use read::{BertWeights, ReadError, Weight, read_bert};

use crate::bundle::Precision;

/// Why an ONNX file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The configuration is not JSON, or lacks a field.
    #[error("config.json cannot be read: {0}")]
    Config(#[from] serde_json::Error),
    /// The configuration describes an encoder outside the BERT family that is written here.
    #[error("config.json: {field} is {found}, but only {supported} is supported")]
    Unsupported {
        /// The key in `config.json`.
        field: &'static str,
        /// Its value.
        found: String,
        /// What this writer can do.
        supported: &'static str,
    },
    /// The weights are not a whole safetensors file.
    #[error("the weights are not a whole safetensors file: {0}")]
    Weights(#[from] safetensors::SafeTensorError),
    /// A weight that the configuration promises is not in the file.
    #[error("the weights have no tensor {0}")]
    MissingTensor(String),
    /// A weight has another shape or number format than the configuration promises.
    #[error("tensor {name} is {found}, expected {expected}")]
    WrongTensor {
        /// The tensor's name in the safetensors file.
        name: String,
        /// The format and shape that the configuration asks for.
        expected: String,
        /// The format and shape in the file.
        found: String,
    },
}

/// Why a graph has no eight-bit twin.
#[derive(Debug, thiserror::Error)]
pub enum EightBitsError {
    /// Its weights cannot be found.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its weights do not fit each other.
    #[error(transparent)]
    Write(#[from] OnnxError),
}

/// Writes the ONNX file of a BERT-family encoder.
///
/// `weights` is a safetensors file with the names that Hugging Face's `BertModel`
/// gives them (with or without the prefix `bert.`), `config` its `config.json`.
/// The graph takes `input_ids` and `attention_mask` (int64, `[batch, sequence]`) and
/// gives `last_hidden_state` (float32, `[batch, sequence, hidden]`).
pub fn write_bert(weights: &[u8], config: &[u8]) -> Result<Vec<u8>, OnnxError> {
    write_bert_in(Precision::Fp32, weights, config)
}

/// As [`write_bert`], in a chosen precision. In eight bits, the weights of the linear layers
/// are quantised by output, and their inputs as they come; embeddings, normalisations and
/// attention stay in 32-bit floats.
pub fn write_bert_in(precision: Precision, weights: &[u8], config: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let config = BertConfig::from_json(config)?;
    let weights = Weights::published(SafeTensors::deserialize(weights)?);
    Ok(bert::model(weights, &config, precision)?.encode_to_vec())
}

/// The eight-bit twin of a graph in 32-bit floats that [`write_bert`] made, byte for byte what [`write_bert_in`] makes of
/// the weights that it was written from.
///
/// # Errors
/// When the graph was not written here, or is in eight bits already.
pub fn eight_bits(graph: &[u8]) -> Result<Vec<u8>, EightBitsError> {
    let BertWeights { config, tensors } = read_bert(graph)?;
    Ok(bert::model(Weights::Graph(&tensors), &config, Precision::Int8)?.encode_to_vec())
}
