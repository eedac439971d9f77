//! An encoder small enough for tests, and a real one: words hashed into a bag, so that texts that share words are near.

use async_trait::async_trait;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use trivium_retriever::chunk::TokenCounter;
use trivium_retriever::collection::EmbedderRef;
use trivium_retriever::embedder::{CrossScores, Embedder, Encoder, Lane, TokenEmbedding};
use trivium_retriever::vector::TokenColumn;
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
    /// Texts that the second version may still embed; without a number it may embed all.
    second_may: watch::Sender<Option<usize>>,
    /// The version of the projection that serves, if one does.
    pub projection: Mutex<Option<&'static str>>,
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

    /// Lets the second version embed so many texts, and then wait; `None` lets it embed all.
    pub fn let_second_embed(&self, texts: Option<usize>) {
        self.second_may.send_replace(texts);
    }

    /// Waits until the second version has embedded all that it may.
    pub async fn second_waits(&self) {
        self.second_may.subscribe().wait_for(|left| *left == Some(0)).await.unwrap();
    }

    async fn take_turn(&self, texts: usize) {
        let mut may = self.second_may.subscribe();
        may.wait_for(|left| left.is_none_or(|left| left > 0)).await.unwrap();
        self.second_may.send_modify(|left| *left = left.map(|left| left.saturating_sub(texts)));
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

/// The version that serves.
pub fn model() -> EmbedderRef {
    EmbedderRef { name: "hashing".into(), version: "1".into() }
}

/// A version that serves those who ask for it. Its vectors are shorter, and mean something else.
pub fn second_model() -> EmbedderRef {
    EmbedderRef { version: "2".into(), ..model() }
}

/// The vector that the second version makes of a text.
pub fn second_vector(text: &str) -> Vec<f32> {
    let mut halved: Vec<f32> = vector(text).chunks(2).map(|pair| pair.iter().sum()).collect();
    let length = halved.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        halved.iter_mut().for_each(|value| *value /= length);
    }
    halved
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

/// The vectors of a text's words, one after another.
pub fn token_vectors(text: &str) -> Vec<i8> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.flat_map(|word| vector(word).into_iter().map(|value| (value * 127.0) as i8)).collect()
}

/// Counts a token for each eight bytes of a word, and has one vector for each word.
struct Words;

impl TokenCounter for Words {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| word.len().div_ceil(8)).sum()
    }

    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        for (place, _) in text.chars().enumerate().filter(|(_, c)| c.is_alphanumeric()) {
            match places.last_mut() {
                Some(word) if word.end == place => word.end += 1,
                _ => places.push(place..place + 1),
            }
        }
        places
    }
}

#[async_trait]
impl Embedder for HashingEmbedder {
    async fn encoder(&self, wanted: Option<&EmbedderRef>, _deadline: Deadline) -> Result<Encoder, Error> {
        let (model, dimension, max_tokens) = match wanted {
            Some(wanted) if *wanted == second_model() => (second_model(), DIMENSION / 2, MAX_TOKENS / 2),
            Some(wanted) if wanted.name != model().name || !["", "1"].contains(&wanted.version.as_str()) => {
                return Err(Error::new(Reason::ModelNotFound, format!("there is no {wanted:?}")));
            }
            _ => (model(), DIMENSION, MAX_TOKENS),
        };
        Ok(Encoder { model, dimension, max_tokens, counter: Arc::new(Words) })
    }

    async fn embed(
        &self,
        wanted: &EmbedderRef,
        texts: Vec<String>,
        lane: Lane,
        _deadline: Deadline,
    ) -> Result<Vec<Vec<f32>>, Error> {
        if *wanted == second_model() {
            if lane == Lane::Bulk {
                self.take_turn(texts.len()).await;
            }
            return Ok(texts.iter().map(|text| second_vector(text)).collect());
        }
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

    async fn token_column(&self, _model: &EmbedderRef, _deadline: Deadline) -> Result<Option<TokenColumn>, Error> {
        let projection = *self.projection.lock().unwrap();
        Ok(projection.map(|version| TokenColumn {
            projection: "hashing-tokens".into(),
            version: version.into(),
            dimension: DIMENSION,
        }))
    }

    async fn embed_tokens(
        &self,
        wanted: &EmbedderRef,
        column: &TokenColumn,
        texts: Vec<String>,
        _lane: Lane,
        _deadline: Deadline,
    ) -> Result<Vec<TokenEmbedding>, Error> {
        assert_eq!(*wanted, model());
        if *self.projection.lock().unwrap() != Some(column.version.as_str()) {
            return Err(Error::new(
                Reason::ModelNotFound,
                format!("{}/{} is not loaded", column.projection, column.version),
            ));
        }
        self.embedded.fetch_add(texts.len(), Ordering::SeqCst);
        let embedding = |text: &String| TokenEmbedding { vector: vector(text), token_vectors: token_vectors(text) };
        Ok(texts.iter().map(embedding).collect())
    }

    /// Likes documents that begin with "the answer", and never answers a query of "slowly".
    async fn cross_encode(
        &self,
        query: &str,
        documents: Vec<String>,
        _deadline: Deadline,
    ) -> Result<CrossScores, Error> {
        if query.contains("slowly") {
            std::future::pending::<()>().await;
        }
        let score = |document: &String| if document.starts_with("the answer") { 9.0 } else { -9.0 };
        Ok(CrossScores {
            model: EmbedderRef { name: "cross".into(), version: "1".into() },
            scores: documents.iter().map(score).collect(),
        })
    }
}
