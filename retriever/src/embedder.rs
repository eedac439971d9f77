//! What the retriever needs of an encoder, wherever that runs.

use crate::chunk::TokenCounter;
use crate::collection::EmbedderRef;
use crate::vector::TokenColumn;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use trivium_service_kit::{Deadline, Error, Reason};

/// Most texts of one embedding call.
pub const EMBED_BATCH_TEXTS: usize = 64;

/// An encoder's view of text.
#[derive(Clone)]
pub struct Encoder {
    /// The encoder.
    pub model: EmbedderRef,
    /// Length of its vectors.
    pub dimension: usize,
    /// The most tokens of a text that it reads, without the special tokens that it adds.
    pub max_tokens: usize,
    /// Counts tokens as it does.
    pub counter: Arc<dyn TokenCounter + Send + Sync>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, dimension, max_tokens, counter: _ } = self;
        let mut debug = formatter.debug_struct("Encoder");
        debug
            .field("model", model)
            .field("dimension", dimension)
            .field("max_tokens", max_tokens)
            .finish_non_exhaustive()
    }
}

/// The lane in which texts wait for an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A person waits.
    Query,
    /// Ingestion: whenever no query waits.
    Bulk,
}

/// The vector of a text and those of its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEmbedding {
    /// The text's own.
    pub vector: Vec<f32>,
    /// Those of its tokens, one after another.
    pub token_vectors: Vec<i8>,
}

/// How well a cross-encoder finds that documents answer a query.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossScores {
    /// The cross-encoder.
    pub model: EmbedderRef,
    /// A logit for each document, in their order.
    pub scores: Vec<f64>,
}

/// Turns texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// Describes an encoder, or the one that serves.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND` for an unknown one, or whatever the call to it gives.
    async fn encoder(&self, model: Option<&EmbedderRef>, deadline: Deadline) -> Result<Encoder, Error>;

    /// The vectors of at most [`EMBED_BATCH_TEXTS`] texts, in their order.
    ///
    /// # Errors
    /// Whatever the call gives.
    async fn embed(
        &self,
        model: &EmbedderRef,
        texts: Vec<String>,
        lane: Lane,
        deadline: Deadline,
    ) -> Result<Vec<Vec<f32>>, Error>;

    /// The token vectors that an encoder's texts have now; `None` when there is no projection for it.
    ///
    /// # Errors
    /// Whatever the call gives.
    async fn token_column(&self, _model: &EmbedderRef, _deadline: Deadline) -> Result<Option<TokenColumn>, Error> {
        Ok(None)
    }

    /// As [`Embedder::embed`], with the token vectors that `column` describes, from the same forward passes.
    ///
    /// # Errors
    /// Whatever the call gives; `NO_MODEL` from an encoder without token vectors.
    async fn embed_tokens(
        &self,
        _model: &EmbedderRef,
        column: &TokenColumn,
        _texts: Vec<String>,
        _lane: Lane,
        _deadline: Deadline,
    ) -> Result<Vec<TokenEmbedding>, Error> {
        let message = format!("there is no projection {}/{}", column.projection, column.version);
        Err(Error::new(Reason::NoModel, message))
    }

    /// Scores documents for a query by the cross-encoder that serves.
    ///
    /// # Errors
    /// Whatever the call gives; `NO_MODEL` when none serves.
    async fn cross_encode(
        &self,
        _query: &str,
        _documents: Vec<String>,
        _deadline: Deadline,
    ) -> Result<CrossScores, Error> {
        Err(Error::new(Reason::NoModel, "no cross-encoder serves"))
    }
}

/// Checks that vectors are as many, as long and as finite as they must be, and brings each to length 1, so that inner
/// products are cosines. A vector of zeros stays one: it is similar to nothing.
///
/// # Errors
/// `INTERNAL`: an encoder that gives something else is at fault, not the caller.
pub fn checked_vectors(mut vectors: Vec<Vec<f32>>, texts: usize, dimension: usize) -> Result<Vec<Vec<f32>>, Error> {
    let wrong = |what: String| Error::new(Reason::Internal, format!("the embedder gave {what}"));
    if vectors.len() != texts {
        return Err(wrong(format!("{} vectors for {texts} texts", vectors.len())));
    }
    for vector in &mut vectors {
        if vector.len() != dimension {
            return Err(wrong(format!("a vector of {} values; its dimension is {dimension}", vector.len())));
        }
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(wrong("a vector with values that are no numbers".to_owned()));
        }
        normalise(vector);
    }
    Ok(vectors)
}

/// Brings a vector to Euclidean length 1, and says whether that could be done: a vector of zeros has no direction.
pub fn normalise(vector: &mut [f32]) -> bool {
    // Squares are summed in double precision, where those of finite single-precision values cannot overflow.
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length == 0.0 {
        return false;
    }
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_to_length_one() {
        let vectors = checked_vectors(vec![vec![3.0, 4.0], vec![0.0, 0.0], vec![f32::MAX, f32::MAX]], 3, 2).unwrap();
        assert_eq!(vectors[0], [0.6, 0.8]);
        assert_eq!(vectors[1], [0.0, 0.0]);
        assert!((vectors[2][0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_an_encoder_must_not_give_is_refused() {
        for (vectors, texts) in [(vec![vec![1.0, 0.0]], 2), (vec![vec![1.0]], 1), (vec![vec![f32::NAN, 0.0]], 1)] {
            assert_eq!(checked_vectors(vectors, texts, 2).unwrap_err().reason(), Reason::Internal);
        }
    }
}
