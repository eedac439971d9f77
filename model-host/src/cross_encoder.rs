//! A cross-encoder bundle, loaded: it reads a query and a document together, and says how
//! well the one answers the other.

use crate::batcher::BatchModel;
use crate::bundle::{Bundle, BundleError, CrossEncoderSpec, GRAPH_FILE, ModelRef, TOKENIZER_FILE};
use crate::engine::{EngineError, RtenEngine, Threads, TokenBatch};
use crate::tokenize::{TokenizeError, Tokenizer};

/// A cross-encoder that is ready to run.
pub struct CrossEncoder {
    model: ModelRef,
    spec: CrossEncoderSpec,
    tokenizer: Tokenizer,
    engine: RtenEngine,
}

/// Why a cross-encoder cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CrossEncoderError {
    /// The bundle is absent, damaged or of another kind.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The tokenizer cannot be used.
    #[error("{model}: {source}")]
    Tokenizer {
        /// The bundle.
        model: ModelRef,
        /// The cause.
        source: TokenizeError,
    },
    /// The graph cannot be loaded or run.
    #[error("{model}: {source}")]
    Engine {
        /// The bundle.
        model: ModelRef,
        /// The cause.
        source: EngineError,
    },
}

impl CrossEncoder {
    /// Loads a cross-encoder bundle, and runs it once, so that one that cannot work is
    /// refused here. `threads` is for that pass.
    ///
    /// # Errors
    /// When a file is absent or damaged, and when the pass fails.
    pub fn load(bundle: &Bundle, threads: usize) -> Result<Self, CrossEncoderError> {
        let spec = bundle.cross_encoder()?.clone();
        let (tokenizer, graph) = (bundle.read(TOKENIZER_FILE)?, bundle.read(GRAPH_FILE)?);
        Self::from_parts(bundle.model_ref(), spec, &tokenizer, graph, threads)
    }

    /// Puts a cross-encoder together before it is in a bundle, so that one that cannot work
    /// never gets into one.
    pub(crate) fn from_parts(
        model: ModelRef,
        spec: CrossEncoderSpec,
        tokenizer: &[u8],
        graph: Vec<u8>,
        threads: usize,
    ) -> Result<Self, CrossEncoderError> {
        let tokenizer = Tokenizer::from_json(tokenizer, spec.max_tokens)
            .map_err(|source| CrossEncoderError::Tokenizer { model: model.clone(), source })?;
        let engine = RtenEngine::load_scorer(graph, 1, threads)
            .map_err(|source| CrossEncoderError::Engine { model: model.clone(), source })?;
        let cross_encoder = Self { model, spec, tokenizer, engine };
        cross_encoder.try_out("warm-up", "warm-up")?;
        Ok(cross_encoder)
    }

    /// Name and version of the bundle.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// Its limit.
    pub fn spec(&self) -> &CrossEncoderSpec {
        &self.spec
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Scores one pair on this thread.
    pub(crate) fn try_out(&self, query: &str, document: &str) -> Result<(), CrossEncoderError> {
        let pair = self.tokenizer.encode_pair(query, document);
        let pair = pair.map_err(|source| CrossEncoderError::Tokenizer { model: self.model.clone(), source })?;
        let scored = self.run(&TokenBatch::of([&pair]), &Threads::new(1));
        scored.map(drop).map_err(|source| CrossEncoderError::Engine { model: self.model.clone(), source })
    }
}

impl BatchModel for CrossEncoder {
    fn run(&self, batch: &TokenBatch, threads: &Threads) -> Result<Vec<Vec<f32>>, EngineError> {
        self.engine.logits_on(batch, threads)
    }
}
