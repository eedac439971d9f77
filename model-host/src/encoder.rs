//! An encoder bundle, loaded: tokenizer, engine and pooling together.

use crate::bundle::{Bundle, BundleError, EncoderSpec, GRAPH_FILE, ModelRef, TOKENIZER_FILE};
use crate::engine::{Engine, EngineError, RtenEngine, TokenBatch};
use crate::pooling::pool;
use crate::tokenize::{TokenizeError, Tokenizer, Tokens};

/// Padded tokens of one batch when texts are encoded in bulk outside the service.
const OFFLINE_BATCH_TOKENS: usize = 512;

/// Why an encoder cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
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

/// An encoder that is ready to run.
pub struct Encoder {
    model: ModelRef,
    spec: EncoderSpec,
    tokenizer: Tokenizer,
    engine: RtenEngine,
}

impl Encoder {
    /// Loads an encoder bundle, and runs it once, so that one that cannot work is refused
    /// here and the first request does not pay for first-time set-up. `threads` is for one
    /// forward pass.
    pub fn load(bundle: &Bundle, threads: usize) -> Result<Self, EncoderError> {
        let spec = bundle.encoder()?.clone();
        let model = bundle.model_ref();
        let json = bundle.read(TOKENIZER_FILE)?;
        let tokenizer =
            Tokenizer::from_json(&json, spec.max_tokens).map_err(|source| tokenizer_error(&model, source))?;
        let engine = RtenEngine::load(bundle.read(GRAPH_FILE)?, spec.dimension, threads)
            .map_err(|source| engine_error(&model, source))?;
        let encoder = Self { model, spec, tokenizer, engine };
        encoder.embed_all(&["warm-up"], |_| ())?;
        Ok(encoder)
    }

    /// Name and version of the bundle.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// Dimension, limit and pooling.
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// `count` engines over these weights, each with `threads` threads.
    pub fn engines(&self, count: usize, threads: usize) -> Vec<Box<dyn Engine>> {
        (0..count).map(|_| Box::new(self.engine.sibling(threads)) as Box<dyn Engine>).collect()
    }

    /// Encodes many texts on this thread, in batches of similar length; for fitting and
    /// evaluation, outside the service. `progress` is told how many texts are done.
    pub fn embed_all(&self, texts: &[&str], mut progress: impl FnMut(usize)) -> Result<Vec<Vec<f32>>, EncoderError> {
        let tokens = texts
            .iter()
            .map(|text| self.tokenizer.encode(text))
            .collect::<Result<Vec<Tokens>, _>>()
            .map_err(|source| tokenizer_error(&self.model, source))?;
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|&index| tokens[index].ids.len());
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut done = 0;
        while done < order.len() {
            let longest = |count: usize| tokens[order[done + count - 1]].ids.len();
            let mut count = 1;
            while done + count < order.len() && longest(count + 1) * (count + 1) <= OFFLINE_BATCH_TOKENS {
                count += 1;
            }
            let members = &order[done..done + count];
            let batch = TokenBatch::new(members.iter().map(|&index| &tokens[index].ids[..]));
            let hidden = self.engine.forward(&batch).map_err(|source| engine_error(&self.model, source))?;
            let pooled = pool(&hidden, batch.lengths(), &self.spec);
            for (&index, vector) in members.iter().zip(pooled) {
                vectors[index] = vector;
            }
            done += count;
            progress(done);
        }
        Ok(vectors)
    }
}

fn tokenizer_error(model: &ModelRef, source: TokenizeError) -> EncoderError {
    EncoderError::Tokenizer { model: model.clone(), source }
}

fn engine_error(model: &ModelRef, source: EngineError) -> EncoderError {
    EncoderError::Engine { model: model.clone(), source }
}
