//! The model host, called over gRPC.

use crate::chunk::TokenCounter;
use crate::collection::EmbedderRef;
use crate::embedder::{CrossScores, Embedder, Encoder, Lane, TokenEmbedding};
use crate::vector::TokenColumn;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokenizers::Tokenizer;
use trivium_proto::model::v1::model_service_client::ModelServiceClient;
use trivium_proto::model::v1::{
    EmbedPriority, EmbedRequest, Embedding, GetTokenizerRequest, GetTokenizerResponse, ModelRef, RerankRequest,
    TokenVectorsRequest,
};
use trivium_service_kit::{ClientOptions, ConfigError, Deadline, Error, GrpcChannel, Reason, Service};

/// The encoders of a model host.
pub struct ModelHost {
    client: ModelServiceClient<GrpcChannel>,
    /// Encoders that were asked for already. A version of a model never changes, so they stay.
    encoders: Mutex<HashMap<EmbedderRef, Encoder>>,
}

impl ModelHost {
    /// A client of the model host; it connects when it is first used.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn connect(options: &ClientOptions) -> Result<Self, ConfigError> {
        let channel = GrpcChannel::connect(Service::Retriever, Service::ModelHost, options)?;
        let client = ModelServiceClient::new(channel)
            .max_decoding_message_size(options.max_message_bytes)
            .max_encoding_message_size(options.max_message_bytes);
        Ok(Self { client, encoders: Mutex::default() })
    }

    async fn embeddings(
        &self,
        model: &EmbedderRef,
        column: Option<&TokenColumn>,
        texts: Vec<String>,
        lane: Lane,
        deadline: Deadline,
    ) -> Result<Vec<Embedding>, Error> {
        let priority = match lane {
            Lane::Query => EmbedPriority::Query,
            Lane::Bulk => EmbedPriority::Bulk,
        };
        let projection =
            |column: &TokenColumn| ModelRef { name: column.projection.clone(), version: column.version.clone() };
        let request = EmbedRequest {
            texts,
            model: Some(to_proto(model)),
            priority: priority.into(),
            token_vectors: column.map(|column| TokenVectorsRequest { projection: Some(projection(column)) }),
        };
        let response = self.client.clone().embed(deadline.request(request)).await?.into_inner();
        let made_by = response.model.map(from_proto);
        if made_by.as_ref() != Some(model) {
            return Err(wrong(format!("the vectors were asked of {model:?}, and {made_by:?} made them")));
        }
        Ok(response.embeddings)
    }

    fn known(&self, model: &EmbedderRef) -> Option<Encoder> {
        self.encoders.lock().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }
}

#[async_trait]
impl Embedder for ModelHost {
    async fn encoder(&self, model: Option<&EmbedderRef>, deadline: Deadline) -> Result<Encoder, Error> {
        if let Some(known) = model.and_then(|model| self.known(model)) {
            return Ok(known);
        }
        let request = deadline.request(GetTokenizerRequest { model: model.map(to_proto) });
        let response = self.client.clone().get_tokenizer(request).await?.into_inner();
        // A tokenizer is a few megabytes of JSON, and takes tens of milliseconds to read.
        let read = tokio::task::spawn_blocking(move || encoder_of(response));
        let encoder = read.await.map_err(|error| Error::new(Reason::Internal, error.to_string()))??;
        self.encoders.lock().unwrap_or_else(PoisonError::into_inner).insert(encoder.model.clone(), encoder.clone());
        Ok(encoder)
    }

    async fn embed(
        &self,
        model: &EmbedderRef,
        texts: Vec<String>,
        lane: Lane,
        deadline: Deadline,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let embeddings = self.embeddings(model, None, texts, lane, deadline).await?;
        Ok(embeddings.into_iter().map(|embedding| embedding.values).collect())
    }

    async fn token_column(&self, model: &EmbedderRef, deadline: Deadline) -> Result<Option<TokenColumn>, Error> {
        // Which projection serves may change, so this is asked anew each time; it is asked for new collections alone.
        let request = deadline.request(GetTokenizerRequest { model: Some(to_proto(model)) });
        let response = self.client.clone().get_tokenizer(request).await?.into_inner();
        let dimension = response.token_dimension as usize;
        Ok(response.projection.filter(|_| dimension > 0).map(|projection| TokenColumn {
            projection: projection.name,
            version: projection.version,
            dimension,
        }))
    }

    async fn embed_tokens(
        &self,
        model: &EmbedderRef,
        column: &TokenColumn,
        texts: Vec<String>,
        lane: Lane,
        deadline: Deadline,
    ) -> Result<Vec<TokenEmbedding>, Error> {
        let embeddings = self.embeddings(model, Some(column), texts, lane, deadline).await?;
        embeddings.into_iter().map(|embedding| with_tokens(embedding, column)).collect()
    }

    async fn cross_encode(
        &self,
        query: &str,
        documents: Vec<String>,
        deadline: Deadline,
    ) -> Result<CrossScores, Error> {
        let mut scores: Vec<Option<f64>> = vec![None; documents.len()];
        let request =
            RerankRequest { query: query.to_owned(), documents, model: None, priority: EmbedPriority::Query.into() };
        let response = self.client.clone().rerank(deadline.request(request)).await?.into_inner();
        for score in response.scores {
            if let Some(place) = scores.get_mut(score.index as usize) {
                *place = Some(score.score);
            }
        }
        let model = response.model.map(from_proto).ok_or_else(|| wrong("no cross-encoder is named".to_owned()))?;
        let scores = scores.into_iter().collect::<Option<Vec<f64>>>();
        Ok(CrossScores { model, scores: scores.ok_or_else(|| wrong("a document has no score".to_owned()))? })
    }
}

fn with_tokens(embedding: Embedding, column: &TokenColumn) -> Result<TokenEmbedding, Error> {
    let Some(tokens) = embedding.token_vectors else { return Err(wrong("token vectors are missing".to_owned())) };
    let made_by = tokens.projection.unwrap_or_default();
    let right = made_by.name == column.projection
        && made_by.version == column.version
        && tokens.dimension as usize == column.dimension
        && tokens.values.len().is_multiple_of(column.dimension);
    if !right {
        return Err(wrong(format!("token vectors were asked of {column:?}, and {made_by:?} made them")));
    }
    let token_vectors = tokens.values.iter().map(|number| number.cast_signed()).collect();
    Ok(TokenEmbedding { vector: embedding.values, token_vectors })
}

fn encoder_of(response: GetTokenizerResponse) -> Result<Encoder, Error> {
    let model = response.model.map(from_proto).ok_or_else(|| wrong("its tokenizer names no encoder".to_owned()))?;
    if sha256(&response.tokenizer_json) != response.sha256 {
        return Err(wrong("its tokenizer does not match the hash that goes with it".to_owned()));
    }
    let mut tokenizer = Tokenizer::from_bytes(&response.tokenizer_json)
        .map_err(|error| wrong(format!("its tokenizer cannot be read: {error}")))?;
    // Tokenizers come with the truncation and padding of their training; a count must be of the whole text.
    tokenizer.with_truncation(None).map_err(|error| wrong(format!("its tokenizer keeps truncating: {error}")))?;
    tokenizer.with_padding(None);
    Ok(Encoder {
        model,
        dimension: response.dimension as usize,
        max_tokens: response.max_tokens.saturating_sub(response.special_tokens).max(1) as usize,
        counter: Arc::new(HuggingFaceCounter::new(tokenizer)),
    })
}

struct HuggingFaceCounter {
    tokenizer: Tokenizer,
    /// The tokens that every text gets; an encoder makes no token vectors of them, wherever they stand.
    special_ids: Vec<u32>,
}

impl HuggingFaceCounter {
    fn new(tokenizer: Tokenizer) -> Self {
        let special_ids = tokenizer.encode_fast("", true).map_or(Vec::new(), |encoding| encoding.get_ids().to_vec());
        Self { tokenizer, special_ids }
    }
}

impl TokenCounter for HuggingFaceCounter {
    fn count(&self, text: &str) -> usize {
        // A tokenizer that fails on some text does not fail the document: no text has more tokens than bytes.
        self.tokenizer.encode_fast(text, false).map_or(text.len(), |encoding| encoding.len())
    }

    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let Ok(encoding) = self.tokenizer.encode_char_offsets(text, false) else { return Vec::new() };
        let places = encoding.get_ids().iter().zip(encoding.get_offsets());
        places.filter(|(id, _)| !self.special_ids.contains(id)).map(|(_, (start, end))| *start..*end).collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut digits, byte| {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn to_proto(model: &EmbedderRef) -> ModelRef {
    ModelRef { name: model.name.clone(), version: model.version.clone() }
}

fn from_proto(model: ModelRef) -> EmbedderRef {
    EmbedderRef { name: model.name, version: model.version }
}

fn wrong(what: String) -> Error {
    Error::new(Reason::Internal, format!("the model host answered wrongly: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word-level tokenizer that truncates to two tokens, as its file says.
    const TOKENIZER: &str = r#"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}}"#;

    fn response() -> GetTokenizerResponse {
        GetTokenizerResponse {
            model: Some(ModelRef { name: "m".into(), version: "1".into() }),
            tokenizer_json: TOKENIZER.as_bytes().into(),
            sha256: sha256(TOKENIZER.as_bytes()),
            max_tokens: 256,
            special_tokens: 2,
            dimension: 384,
            projection: None,
            token_dimension: 0,
        }
    }

    #[test]
    fn tokens_are_counted_to_the_end() {
        let encoder = encoder_of(response()).unwrap();
        assert_eq!((encoder.max_tokens, encoder.dimension), (254, 384));
        assert_eq!(encoder.counter.count("a b c d e"), 5);
        assert_eq!(encoder.counter.count(""), 0);
    }

    #[test]
    fn a_tokenizer_that_is_not_what_was_sent_is_refused() {
        for wrong in [
            GetTokenizerResponse { sha256: sha256(b"other"), ..response() },
            GetTokenizerResponse { tokenizer_json: b"{}".to_vec(), sha256: sha256(b"{}"), ..response() },
            GetTokenizerResponse { model: None, ..response() },
        ] {
            assert_eq!(encoder_of(wrong).unwrap_err().reason(), Reason::Internal);
        }
    }
}
