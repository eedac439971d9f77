//! Makes bundles of ONNX files that somebody else exported.

use crate::bundle::{
    BundleError, CrossEncoderSpec, EncoderSpec, GRAPH_FILE, ModelId, ModelRef, ModelSpec, Pooling, Precision, Prefixes,
    Registry, TOKENIZER_FILE,
};
use crate::cross_encoder::{CrossEncoder, CrossEncoderError};
use crate::encoder::{Encoder, EncoderError, EncoderParts};
use crate::engine::{EngineError, RtenEngine};

/// What the graph computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// The hidden states of tokens, which become one vector of length 1.
    Encoder {
        /// How.
        pooling: Pooling,
        /// What stands before queries and passages.
        prefixes: Prefixes,
    },
    /// One logit for a query and a document.
    CrossEncoder,
}

/// The files of a model, and what is known of it.
pub struct Import<'a> {
    /// Name of the bundle; its version is the next number.
    pub name: ModelId,
    /// The ONNX graph. It takes `input_ids`, `attention_mask` and, if it likes,
    /// `token_type_ids`; the first output that is `last_hidden_state` or `logits`, or the
    /// only one, is its result.
    pub graph: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// What it computes.
    pub kind: ImportKind,
    /// The longest input, in tokens, special tokens included; longer ones are cut.
    pub max_tokens: usize,
    /// Where the files came from, in words.
    pub origin: String,
}

/// Why a model was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The graph cannot be loaded or run.
    #[error("the graph cannot be used: {0}")]
    Engine(#[from] EngineError),
    /// Graph and tokenizer do not work together as an encoder.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Graph and tokenizer do not work together as a cross-encoder.
    #[error(transparent)]
    CrossEncoder(#[from] CrossEncoderError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Tries a model out with the serving engine, on a short text and on one of `max_tokens`, and
/// writes it as the next version of its bundle. Nothing is written of a model that does not
/// work. The first version of a name is in production.
///
/// # Errors
/// When the model does not work, or the bundle cannot be written.
pub fn import(registry: &Registry, import: Import<'_>) -> Result<ModelRef, ImportError> {
    let model = registry.next_version(&import.name)?;
    let spec = tried_out(&model, &import)?;
    let mut writer = registry.create(model, import.origin)?;
    writer.add(GRAPH_FILE, import.graph)?;
    writer.add(TOKENIZER_FILE, import.tokenizer)?;
    let model = writer.finish(spec)?;
    if let Err(BundleError::NoProduction { .. }) = registry.production(&model.name) {
        registry.promote(&model)?;
    }
    Ok(model)
}

fn tried_out(model: &ModelRef, import: &Import<'_>) -> Result<ModelSpec, ImportError> {
    let (graph, max_tokens) = (import.graph.to_vec(), import.max_tokens);
    // More words than fit, whatever the tokenizer makes of them: the limit itself is tried.
    let longest = "a ".repeat(max_tokens);
    match &import.kind {
        ImportKind::Encoder { pooling, prefixes } => {
            let dimension = RtenEngine::hidden_width(graph.clone())?;
            let (pooling, prefixes) = (*pooling, prefixes.clone());
            let spec = EncoderSpec { dimension, max_tokens, pooling, normalise: true, prefixes };
            let parts = EncoderParts { model: model.clone(), spec: spec.clone(), precision: Precision::Fp32, graph };
            Encoder::from_parts(parts, import.tokenizer, 1)?.embed_all(&[&longest], |_| ())?;
            Ok(ModelSpec::Encoder(spec))
        }
        ImportKind::CrossEncoder => {
            let spec = CrossEncoderSpec { max_tokens };
            let cross_encoder = CrossEncoder::from_parts(model.clone(), spec.clone(), import.tokenizer, graph, 1)?;
            cross_encoder.try_out("a", &longest)?;
            Ok(ModelSpec::CrossEncoder(spec))
        }
    }
}
