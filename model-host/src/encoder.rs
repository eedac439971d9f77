//! An encoder bundle, loaded: tokenizer, engine and pooling together.

use std::borrow::Cow;
use std::sync::Arc;

use crate::batcher::{BatchModel, Computed};
use crate::bundle::{
    Bundle, BundleError, EncoderSpec, GRAPH_FILE, INT8_GRAPH_FILE, ModelRef, Precision, PrecisionChoice, TOKENIZER_FILE,
};
use crate::engine::{Engine, EngineError, HiddenStates, RtenEngine, Threads, TokenBatch};
use crate::intent::dot;
use crate::onnx::{self, EightBitsError};
use crate::pooling::pool;
use crate::projection::Projection;
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
    /// There are no eight-bit weights, and none can be made.
    #[error("{model} has no eight-bit weights, and none can be made: {source}; precision must be fp32 or auto")]
    EightBits {
        /// The bundle.
        model: ModelRef,
        /// The cause.
        source: Box<EightBitsError>,
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

/// What a text is to an encoder that tells queries from passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRole {
    /// What somebody asks.
    Query,
    /// What an answer is found in.
    Passage,
}

/// An encoder that is ready to run.
pub struct Encoder {
    model: ModelRef,
    spec: EncoderSpec,
    precision: Precision,
    weights_bytes: u64,
    tokenizer: Tokenizer,
    engine: RtenEngine,
}

impl Encoder {
    /// Loads an encoder bundle, or an intent bundle that brings its own encoder, in the
    /// precision that the bundle recommends. See [`Self::load_with`].
    pub fn load(bundle: &Bundle, threads: usize) -> Result<Self, EncoderError> {
        Self::load_with(bundle, PrecisionChoice::Auto, threads)
    }

    /// Loads an encoder bundle, or an intent bundle that brings its own encoder, and runs it
    /// once, so that one that cannot work is refused here and the first request does not pay
    /// for first-time set-up. Eight-bit weights that a bundle lacks are made of its others.
    /// `threads` is for one forward pass.
    ///
    /// # Errors
    /// When the bundle holds no encoder, when it has no eight-bit weights and its graph came
    /// from elsewhere, so that none can be made, when a file is damaged, and when the first
    /// pass fails.
    pub fn load_with(bundle: &Bundle, choice: PrecisionChoice, threads: usize) -> Result<Self, EncoderError> {
        let spec = bundle.encoder()?.clone();
        let precision = bundle.precision(choice);
        let graph = match precision {
            Precision::Int8 if bundle.has(INT8_GRAPH_FILE) => bundle.read(INT8_GRAPH_FILE)?,
            Precision::Int8 => onnx::eight_bits(&bundle.read(GRAPH_FILE)?)
                .map_err(|source| EncoderError::EightBits { model: bundle.model_ref(), source: Box::new(source) })?,
            Precision::Fp32 => bundle.read(GRAPH_FILE)?,
        };
        let parts = EncoderParts { model: bundle.model_ref(), spec, precision, graph };
        Self::from_parts(parts, &bundle.read(TOKENIZER_FILE)?, threads)
    }

    /// Puts an encoder together before it is in a bundle, so that what a bundle says about it
    /// can be measured with the engine that will serve it.
    pub(crate) fn from_parts(parts: EncoderParts, tokenizer: &[u8], threads: usize) -> Result<Self, EncoderError> {
        let EncoderParts { model, spec, precision, graph } = parts;
        let tokenizer =
            Tokenizer::from_json(tokenizer, spec.max_tokens).map_err(|source| tokenizer_error(&model, source))?;
        let weights_bytes = graph.len() as u64;
        let engine = RtenEngine::load(graph, spec.dimension, threads).map_err(|source| engine_error(&model, source))?;
        let encoder = Self { model, spec, precision, weights_bytes, tokenizer, engine };
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

    /// The numbers that it computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Size of the weights in memory, about: they are kept in the form of the graph's file.
    pub fn weights_bytes(&self) -> u64 {
        self.weights_bytes
    }

    /// The lowest cosine between this encoder's vectors of some texts and those of `other`, -1 to 1: how well one stands
    /// in for the other.
    ///
    /// # Errors
    /// When a text cannot be encoded.
    pub fn lowest_cosine(&self, other: &Self, texts: &[&str]) -> Result<f32, EncoderError> {
        let (ours, theirs) = (self.embed_all(texts, |_| ())?, other.embed_all(texts, |_| ())?);
        let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        Ok(ours.iter().zip(&theirs).map(cosine).fold(1.0, f32::min))
    }

    /// A text as the encoder wants to read it: with the prefix of its role, if there is one.
    pub fn prepared<'a>(&self, text: &'a str, role: TextRole) -> Cow<'a, str> {
        let prefix = match role {
            TextRole::Query => &self.spec.prefixes.query,
            TextRole::Passage => &self.spec.prefixes.passage,
        };
        if prefix.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{prefix}{text}")) }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Encodes many queries on this thread, in batches of similar length; for fitting and
    /// evaluation, outside the service. `progress` is told how many texts are done.
    pub fn embed_all(&self, texts: &[&str], mut progress: impl FnMut(usize)) -> Result<Vec<Vec<f32>>, EncoderError> {
        let tokens = texts
            .iter()
            .map(|text| self.tokenizer.encode(&self.prepared(text, TextRole::Query)))
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
            let pooled =
                self.in_passes(&batch, |batch, _| Ok(pool(&self.engine.forward(batch)?, batch.lengths(), &self.spec)));
            let pooled = pooled.map_err(|source| engine_error(&self.model, source))?;
            for (&index, vector) in members.iter().zip(pooled) {
                vectors[index] = vector;
            }
            done += count;
            progress(done);
        }
        Ok(vectors)
    }

    /// The tokens of texts that answers are found in.
    pub(crate) fn passage_tokens(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, EncoderError> {
        let encode = |text: &String| self.tokenizer.encode(&self.prepared(text, TextRole::Passage));
        let tokens = texts.iter().map(|text| Ok(encode(text)?.ids)).collect::<Result<_, _>>();
        tokens.map_err(|source| tokenizer_error(&self.model, source))
    }

    /// The hidden states of one text's tokens, special tokens left out, computed on this thread.
    pub(crate) fn token_states(&self, ids: &[u32]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let batch = TokenBatch::new([ids]);
        let hidden = self.engine.forward(&batch).map_err(|source| engine_error(&self.model, source))?;
        Ok(self.own_states(&hidden, &batch, 0).map(<[f32]>::to_vec).collect())
    }

    /// The states of one text of a batch, padding and special tokens left out.
    fn own_states<'a>(
        &self,
        hidden: &'a HiddenStates,
        batch: &'a TokenBatch,
        row: usize,
    ) -> impl Iterator<Item = &'a [f32]> + use<'a, '_> {
        let states = hidden.row(row).chunks_exact(hidden.width.max(1));
        states
            .zip(batch.row(row))
            .filter(|(_, id)| !u32::try_from(**id).is_ok_and(|id| self.tokenizer.is_special(id)))
            .map(|(state, _)| state)
    }

    /// Runs a batch in as many passes as the precision asks for. `pass` gets the texts of one, and the place of the first
    /// of them in the batch.
    fn in_passes<T>(
        &self,
        batch: &TokenBatch,
        pass: impl Fn(&TokenBatch, usize) -> Result<Vec<T>, EngineError>,
    ) -> Result<Vec<T>, EngineError> {
        match self.precision {
            Precision::Fp32 => pass(batch, 0),
            // The scale of eight-bit activations is found over all rows of a pass: texts that share one would change
            // each other's vectors, and what a query finds would hang on who else asks at the moment.
            Precision::Int8 => {
                let passes = batch.singles().enumerate().map(|(place, text)| pass(&text, place));
                Ok(passes.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
        }
    }
}

/// What an encoder is made of, besides its tokenizer.
pub(crate) struct EncoderParts {
    /// The name in errors, and the version in answers.
    pub(crate) model: ModelRef,
    pub(crate) spec: EncoderSpec,
    pub(crate) precision: Precision,
    /// The ONNX file in that precision.
    pub(crate) graph: Vec<u8>,
}

impl BatchModel for Encoder {
    fn run(&self, batch: &TokenBatch, threads: &Threads) -> Result<Vec<Vec<f32>>, EngineError> {
        self.in_passes(batch, |batch, _| {
            Ok(pool(&self.engine.forward_on(batch, threads)?, batch.lengths(), &self.spec))
        })
    }

    fn run_with_tokens(
        &self,
        batch: &TokenBatch,
        projections: &[Option<Arc<Projection>>],
        threads: &Threads,
    ) -> Result<Vec<Computed>, EngineError> {
        self.in_passes(batch, |batch, first| {
            let hidden = self.engine.forward_on(batch, threads)?;
            let vectors = pool(&hidden, batch.lengths(), &self.spec).into_iter().enumerate();
            let computed = vectors.map(|(row, vector)| {
                let projection = projections.get(first + row).and_then(Option::as_ref);
                let tokens = projection.map(|projection| projection.project(self.own_states(&hidden, batch, row)));
                Computed { vector, tokens }
            });
            Ok(computed.collect())
        })
    }
}

fn tokenizer_error(model: &ModelRef, source: TokenizeError) -> EncoderError {
    EncoderError::Tokenizer { model: model.clone(), source }
}

fn engine_error(model: &ModelRef, source: EngineError) -> EncoderError {
    EncoderError::Engine { model: model.clone(), source }
}
