//! An encoder small enough for tests, and a real one: words hashed into a bag, so that texts that share words are near.

use async_trait::async_trait;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
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
    /// How queries fare; documents are always embedded.
    queries: Mutex<Queries>,
    /// Queries that are waited for.
    waiting: Arc<watch::Sender<usize>>,
}

/// How the embedding of queries goes.
#[derive(Debug, Clone, Copy, Default)]
pub enum Queries {
    /// As it should.
    #[default]
    Work,
    /// It is refused.
    Fail(Reason),
    /// It never comes back.
    Hang,
}

/// Counts itself among the queries that are waited for, for as long as it lives.
struct Waiting(Arc<watch::Sender<usize>>);

impl Waiting {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl HashingEmbedder {
    /// Texts that were embedded so far.
    pub fn embedded(&self) -> usize {
        self.embedded.load(Ordering::SeqCst)
    }

    /// From now on queries fare so.
    pub fn queries(&self, queries: Queries) {
        *self.queries.lock().unwrap() = queries;
    }

    /// Waits until so many queries are waited for.
    pub async fn waited_for(&self, count: usize) {
        self.waiting.subscribe().wait_for(|waiting| *waiting == count).await.unwrap();
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
        lane: Lane,
        _deadline: Deadline,
    ) -> Result<Vec<Vec<f32>>, Error> {
        assert_eq!(*wanted, model());
        let queries = *self.queries.lock().unwrap();
        match queries {
            Queries::Fail(reason) if lane == Lane::Query => return Err(Error::new(reason, "as the test asked")),
            Queries::Hang if lane == Lane::Query => {
                let _waiting = Waiting::new(&self.waiting);
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        self.embedded.fetch_add(texts.len(), Ordering::SeqCst);
        Ok(texts.iter().map(|text| vector(text)).collect())
    }
}
