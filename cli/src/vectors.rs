//! Vectors of queries, made once and sent along with many searches.

use trivium_proto::model::v1::{EmbedPriority, EmbedRequest, ModelRef, QueryVector, TokenVectorsRequest};
use trivium_service_kit::Error;

use crate::clients::ModelHost;

/// Texts in one request for vectors.
const EMBED_BATCH: usize = 64;

/// The vector of each text by the given encoder, in their order, and those of its tokens by the given projection.
///
/// # Errors
/// When the model host cannot make them.
pub async fn embed(
    host: &ModelHost,
    embedder: &ModelRef,
    projection: Option<&ModelRef>,
    texts: &[String],
) -> Result<Vec<QueryVector>, Error> {
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(EMBED_BATCH) {
        let request = EmbedRequest {
            texts: batch.to_vec(),
            model: Some(embedder.clone()),
            priority: EmbedPriority::Query.into(),
            token_vectors: projection.map(|projection| TokenVectorsRequest { projection: Some(projection.clone()) }),
        };
        let embedded = host.embed(request).await?.embeddings.into_iter();
        vectors.extend(embedded.map(|embedding| QueryVector {
            embedder: Some(embedder.clone()),
            values: embedding.values,
            token_vectors: embedding.token_vectors,
        }));
    }
    Ok(vectors)
}
