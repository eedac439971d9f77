//! Documents, put together again from their chunks.

use crate::collection::{Collection, Located};
use crate::document::Document;
use crate::extract::ContentType;
use crate::metadata;
use crate::search::read_error;
use crate::vector::{StoredChunk, VectorError};
use serde_json::{Map, Value};
use std::collections::HashMap;
use trivium_service_kit::Error;

/// A document that a collection holds.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDocument {
    /// Its chunks, in order; at least one. Their texts, one after another, are the document's text.
    pub chunks: Vec<StoredChunk>,
    /// All its metadata.
    pub metadata: Map<String, Value>,
}

impl StoredDocument {
    /// The document's extracted text.
    pub fn text(&self) -> String {
        self.chunks.iter().map(|chunk| chunk.text.as_str()).collect()
    }

    /// The document, ready to be taken into another collection of the same metadata fields. Its hash stays, and the vector
    /// that may have come with it is left behind.
    pub fn into_document(self) -> Option<Document> {
        let text = self.text();
        let row = self.chunks.into_iter().next()?.document;
        Some(Document {
            id: row.document_id,
            title: row.title,
            text,
            uri: row.uri,
            // Whatever was stored was one of the types once; plain text tiles in any case.
            content_type: row.content_type.parse().unwrap_or(ContentType::Plain),
            language: row.language,
            declared: row.declared,
            metadata_json: row.metadata_json,
            hash: row.document_hash,
            vector: None,
        })
    }
}

/// Reads the documents that were located, in their order.
///
/// # Errors
/// `COLLECTION_DAMAGED` when the table cannot be read, or lacks rows that the directory knows.
pub async fn read_documents(collection: &Collection, located: &Located) -> Result<Vec<StoredDocument>, Error> {
    let row_ids: Vec<u64> =
        located.entries.iter().flatten().flat_map(|entry| entry.rows.iter().map(|place| place.row_id)).collect();
    if row_ids.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: VectorError| read_error(collection, &error.into());
    let chunks = located.published.table.take_chunks(&row_ids).await.map_err(failed)?;
    let mut by_id: HashMap<u64, StoredChunk> = chunks.into_iter().map(|chunk| (chunk.row_id, chunk)).collect();
    let mut documents = Vec::with_capacity(located.entries.len());
    for entry in located.entries.iter().flatten() {
        let rows = entry.rows.iter().map(|place| by_id.remove(&place.row_id).ok_or(place.row_id));
        let missing = |row_id: u64| VectorError::Damaged { what: format!("row {row_id} is missing") };
        let chunks = rows.collect::<Result<Vec<_>, _>>().map_err(|row_id| failed(missing(row_id)))?;
        documents.push(StoredDocument { metadata: metadata_of(collection, &chunks).map_err(failed)?, chunks });
    }
    Ok(documents)
}

/// The metadata that a chunk's row carries, declared and not.
///
/// # Errors
/// [`VectorError::Damaged`] when the row's JSON does not parse.
pub fn chunk_metadata(collection: &Collection, chunk: &StoredChunk) -> Result<Map<String, Value>, VectorError> {
    let damaged =
        |error: serde_json::Error| VectorError::Damaged { what: format!("metadata of row {}: {error}", chunk.row_id) };
    let rest = serde_json::from_str(&chunk.document.metadata_json).map_err(damaged)?;
    Ok(metadata::join(&chunk.document.declared, rest, &collection.spec().metadata_fields))
}

fn metadata_of(collection: &Collection, chunks: &[StoredChunk]) -> Result<Map<String, Value>, VectorError> {
    chunks.first().map_or_else(|| Ok(Map::new()), |chunk| chunk_metadata(collection, chunk))
}
