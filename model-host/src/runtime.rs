//! Loaded models behind their queues: what every request that needs an engine goes through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::batch::{Caller, Lane, Limits};
use crate::batcher::{BatchError, Batcher, Counters, ModelQueue, Submission};
use crate::bundle::ModelRef;
use crate::cross_encoder::CrossEncoder;
use crate::encoder::{Encoder, TextRole};
use crate::projection::{Projection, TokenVectors};
use crate::tokenize::{TokenizeError, Tokens};
use crate::trace::{RequestTrace, tokenize_span};

/// Texts of up to this size in all are tokenized where they are; that takes tens of
/// microseconds. Longer ones go to a thread that may block.
const TOKENIZE_INLINE_BYTES: usize = 2048;

/// An encoder and its place before the engine's threads.
pub struct EncoderRuntime {
    encoder: Arc<Encoder>,
    queue: ModelQueue,
    /// The same encoder in the precision of queries, where that is another, with a place of its own.
    queries: Option<(Arc<Encoder>, ModelQueue)>,
}

/// A cross-encoder and its place before the engine's threads.
pub struct CrossEncoderRuntime {
    model: Arc<CrossEncoder>,
    queue: ModelQueue,
}

/// How the texts of one request are to be run.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Where they wait.
    pub lane: Lane,
    /// When nobody waits for them any more.
    pub deadline: Option<Instant>,
    /// Who sent them.
    pub caller: Caller,
    /// False when the same request needs another model at the same time.
    pub may_widen: bool,
    /// Makes token vectors of the texts, where they are wanted.
    pub projection: Option<&'a Arc<Projection>>,
    /// Gets the spans of the steps.
    pub parent: &'a Span,
}

/// What the model gave for one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextVector {
    /// The pooled vector, or the logits.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, where they were asked for.
    pub token_vectors: Option<TokenVectors>,
    /// Tokens that were encoded, special tokens included.
    pub tokens: usize,
    /// Whether the text was longer than the model's limit.
    pub truncated: bool,
}

/// The vectors of one request, in the order of its texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One for each text; never fewer than there were texts.
    pub texts: Vec<TextVector>,
    /// Where the time went.
    pub timings: Timings,
}

/// Where a request's time went. Of several texts, the slowest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Turning text into tokens.
    pub tokenize: Duration,
    /// Waiting for an engine.
    pub queue: Duration,
    /// The forward pass of the batch that held the text.
    pub forward: Duration,
}

/// Why texts were not embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The tokenizer refused a text.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The queue or the engine failed.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl EncoderRuntime {
    /// Gives a loaded encoder its place.
    pub fn start(encoder: Arc<Encoder>, batcher: &Arc<Batcher>, limits: Limits) -> Self {
        let queue = batcher.register(encoder.clone(), limits);
        Self { encoder, queue, queries: None }
    }

    /// Has queries encoded by `encoder`, which is this one in another precision.
    pub fn with_queries(mut self, encoder: Arc<Encoder>, limits: Limits) -> Self {
        let queue = self.queue.twin(encoder.clone(), limits);
        self.queries = Some((encoder, queue));
        self
    }

    /// The encoder of passages, and of queries unless they have one in another precision.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The encoder of queries.
    pub fn query_encoder(&self) -> &Encoder {
        self.queries.as_ref().map_or(&self.encoder, |(encoder, _)| encoder)
    }

    /// Name and version of the encoder.
    pub fn model(&self) -> &ModelRef {
        self.encoder.model()
    }

    /// What it has done.
    pub fn counters(&self) -> &Counters {
        self.queue.counters()
    }

    /// How many texts wait for it.
    pub fn waiting(&self) -> usize {
        self.queue.waiting() + self.queries.as_ref().map_or(0, |(_, queue)| queue.waiting())
    }

    /// Embeds the texts of one request. `parent` gets the spans of the steps.
    ///
    /// # Errors
    /// As [`Self::embed_call`].
    pub async fn embed(
        &self,
        texts: &[&str],
        lane: Lane,
        deadline: Option<Instant>,
        parent: &Span,
    ) -> Result<Embedded, EmbedError> {
        let call = Call { lane, deadline, caller: Caller::default(), may_widen: true, projection: None, parent };
        self.embed_call(texts, call).await
    }

    /// Embeds the texts of one request.
    ///
    /// # Errors
    /// When a text cannot be tokenized, the lane is full, the deadline passes while a text
    /// waits, or the engine fails. All texts fail together.
    pub async fn embed_call(&self, texts: &[&str], call: Call<'_>) -> Result<Embedded, EmbedError> {
        let encoder = Arc::clone(&self.encoder);
        // What somebody waits for is a query; the rest is what answers are found in.
        let role = match call.lane {
            Lane::Query => TextRole::Query,
            Lane::Bulk => TextRole::Passage,
        };
        let encode = move |text: &str| encoder.tokenizer().encode(&encoder.prepared(text, role));
        let tokens = tokenized(texts, call.parent, encode).await?;
        let queue = match (&self.queries, call.lane) {
            (Some((_, queue)), Lane::Query) => queue,
            _ => &self.queue,
        };
        run(queue, tokens, call).await
    }
}

impl CrossEncoderRuntime {
    /// Gives a loaded cross-encoder its place.
    pub fn start(model: Arc<CrossEncoder>, batcher: &Arc<Batcher>, limits: Limits) -> Self {
        let queue = batcher.register(model.clone(), limits);
        Self { model, queue }
    }

    /// The model.
    pub fn model(&self) -> &CrossEncoder {
        &self.model
    }

    /// What it has done.
    pub fn counters(&self) -> &Counters {
        self.queue.counters()
    }

    /// How many pairs wait for it.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Scores each document for a query: one logit for each, in their order.
    ///
    /// # Errors
    /// As [`EncoderRuntime::embed_call`].
    pub async fn score(&self, query: &str, documents: &[&str], call: Call<'_>) -> Result<Embedded, EmbedError> {
        let model = Arc::clone(&self.model);
        let query = query.to_owned();
        let pair = move |document: &str| model.tokenizer().encode_pair(&query, document);
        run(&self.queue, tokenized(documents, call.parent, pair).await?, call).await
    }
}

/// The tokens of a request's texts, and how long they took.
struct Tokenized {
    tokens: Vec<Tokens>,
    time: Duration,
}

async fn tokenized(
    texts: &[&str],
    parent: &Span,
    encode: impl Fn(&str) -> Result<Tokens, TokenizeError> + Send + 'static,
) -> Result<Tokenized, TokenizeError> {
    let started = Instant::now();
    let _span = tokenize_span(parent);
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    let tokens = if bytes <= TOKENIZE_INLINE_BYTES {
        texts.iter().map(|text| encode(text)).collect::<Result<_, _>>()?
    } else {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let all = move || texts.iter().map(|text| encode(text)).collect::<Result<_, _>>();
        let tokenized = tokio::task::spawn_blocking(all).await;
        tokenized.unwrap_or_else(|error| Err(TokenizeError::Text(error.to_string())))?
    };
    Ok(Tokenized { tokens, time: started.elapsed() })
}

async fn run(queue: &ModelQueue, tokenized: Tokenized, call: Call<'_>) -> Result<Embedded, EmbedError> {
    let Tokenized { tokens, time } = tokenized;
    let sizes: Vec<(usize, bool)> = tokens.iter().map(|tokens| (tokens.ids.len(), tokens.truncated)).collect();
    let pending = queue.submit(Submission {
        texts: tokens,
        lane: call.lane,
        deadline: call.deadline,
        caller: call.caller,
        may_widen: call.may_widen,
        projection: call.projection.cloned(),
        trace: RequestTrace::new(call.parent.clone()),
    })?;
    let encoded = pending.wait().await?;
    let timings = Timings {
        tokenize: time,
        queue: encoded.iter().map(|text| text.queued).max().unwrap_or_default(),
        forward: encoded.iter().map(|text| text.forward).max().unwrap_or_default(),
    };
    let texts = encoded
        .into_iter()
        .zip(sizes)
        .map(|(text, (tokens, truncated))| TextVector {
            vector: text.vector,
            token_vectors: text.tokens,
            tokens,
            truncated,
        })
        .collect();
    Ok(Embedded { texts, timings })
}
