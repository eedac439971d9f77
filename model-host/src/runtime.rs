//! A loaded encoder behind its queue: what every request that needs a vector goes through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::batch::{Lane, Limits};
use crate::batcher::{BatchError, Batcher};
use crate::bundle::ModelRef;
use crate::encoder::Encoder;
use crate::tokenize::{TokenizeError, Tokens};
use crate::trace::{RequestTrace, tokenize_span};

/// Texts of up to this size in all are tokenized where they are; that takes tens of
/// microseconds. Longer ones go to a thread that may block.
const TOKENIZE_INLINE_BYTES: usize = 2048;

/// An encoder and the threads that run it.
pub struct EncoderRuntime {
    encoder: Arc<Encoder>,
    batcher: Batcher,
}

/// One text's vector.
#[derive(Clone, Debug, PartialEq)]
pub struct TextVector {
    /// The pooled vector.
    pub vector: Vec<f32>,
    /// Tokens that were encoded, special tokens included.
    pub tokens: usize,
    /// Whether the text was longer than the encoder's limit.
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
    /// Starts `workers` threads that each run forward passes on `threads` threads.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(encoder: Arc<Encoder>, workers: usize, threads: usize, limits: Limits) -> std::io::Result<Self> {
        let batcher = Batcher::start(encoder.engines(workers, threads), encoder.spec(), limits)?;
        Ok(Self { encoder, batcher })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Name and version of the encoder.
    pub fn model(&self) -> &ModelRef {
        self.encoder.model()
    }

    /// Embeds the texts of one request. `parent` gets the spans of the steps.
    ///
    /// # Errors
    /// When a text cannot be tokenized, the lane is full, the deadline passes while a text
    /// waits, or the engine fails. All texts fail together.
    pub async fn embed(
        &self,
        texts: &[&str],
        lane: Lane,
        deadline: Option<Instant>,
        parent: &Span,
    ) -> Result<Embedded, EmbedError> {
        let started = Instant::now();
        let tokens = {
            let _span = tokenize_span(parent);
            self.tokenize(texts).await?
        };
        let tokenize = started.elapsed();
        let sizes: Vec<(usize, bool)> = tokens.iter().map(|tokens| (tokens.ids.len(), tokens.truncated)).collect();
        let pending = self.batcher.submit(tokens, lane, deadline, RequestTrace::new(parent.clone()))?;
        let encoded = pending.wait().await?;
        let timings = Timings {
            tokenize,
            queue: encoded.iter().map(|text| text.queued).max().unwrap_or_default(),
            forward: encoded.iter().map(|text| text.forward).max().unwrap_or_default(),
        };
        let texts = encoded
            .into_iter()
            .zip(sizes)
            .map(|(text, (tokens, truncated))| TextVector { vector: text.vector, tokens, truncated })
            .collect();
        Ok(Embedded { texts, timings })
    }

    async fn tokenize(&self, texts: &[&str]) -> Result<Vec<Tokens>, TokenizeError> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if bytes <= TOKENIZE_INLINE_BYTES {
            return texts.iter().map(|text| self.encoder.tokenizer().encode(text)).collect();
        }
        let encoder = Arc::clone(&self.encoder);
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let tokenized = tokio::task::spawn_blocking(move || {
            texts.iter().map(|text| encoder.tokenizer().encode(text)).collect::<Result<Vec<_>, _>>()
        });
        tokenized.await.unwrap_or_else(|error| Err(TokenizeError::Text(error.to_string())))
    }
}
