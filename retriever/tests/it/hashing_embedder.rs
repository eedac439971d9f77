//! An encoder small enough for tests, and a real one: words hashed into a bag, so that texts that share words are near.

use async_trait::async_trait;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trivium_retriever::collection::EmbedderRef;
use trivium_retriever::embedder::{Embedder, Encoder, Lane};
use trivium_service_kit::{Deadline, Error, Reason};

/// Length of the vectors.
pub const DIMENSION: usize = 64;
/// Words that it reads of a text.
pub const MAX_TOKENS: usize = 40;

/// Counts the texts that it was given, so that tests can tell what was embedded.
#[derive(Default)]
pub struct HashingEmbedder {
    embedded: AtomicUsize,
}

impl HashingEmbedder {
    /// Texts that were embedded so far.
    pub fn embedded(&self) -> usize {
        self.embedded.load(Ordering::SeqCst)
    }
}

/// The only version that this encoder has.
pub fn model() -> EmbedderRef {
    EmbedderRef { name: "hashing".into(), version: "1".into() }
}

/// The vector of a text, of Euclidean length 1 unless the text has no word.
pub fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; DIMENSION];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut hasher = DefaultHasher::new();
        word.to_lowercase().hash(&mut hasher);
        vector[hasher.finish() as usize % DIMENSION] += 1.0;
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

fn count(text: &str) -> usize {
    text.split_whitespace().map(|word| word.len().div_ceil(8)).sum()
}

#[async_trait]
impl Embedder for HashingEmbedder {
    async fn encoder(&self, wanted: Option<&EmbedderRef>, _deadline: Deadline) -> Result<Encoder, Error> {
        let known = wanted
            .is_none_or(|wanted| wanted.name == model().name && (wanted.version.is_empty() || *wanted == model()));
        if !known {
            return Err(Error::new(Reason::ModelNotFound, format!("there is no {wanted:?}")));
        }
        Ok(Encoder { model: model(), dimension: DIMENSION, max_tokens: MAX_TOKENS, counter: Arc::new(count) })
    }

    async fn embed(
        &self,
        wanted: &EmbedderRef,
        texts: Vec<String>,
        _lane: Lane,
        _deadline: Deadline,
    ) -> Result<Vec<Vec<f32>>, Error> {
        assert_eq!(*wanted, model());
        self.embedded.fetch_add(texts.len(), Ordering::SeqCst);
        Ok(texts.iter().map(|text| vector(text)).collect())
    }
}
