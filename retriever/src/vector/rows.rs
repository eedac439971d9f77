//! What a row of the table holds, as plain types.

use crate::hash::ContentHash;
use crate::metadata::MetadataValue;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What all chunks of one document have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// The document's id.
    pub document_id: String,
    /// Its title.
    pub title: String,
    /// Where it lives.
    pub uri: String,
    /// Media type of the document's text.
    pub content_type: String,
    /// BCP 47 tag, empty for the collection's language.
    pub language: String,
    /// A value for each declared metadata field, in their order.
    pub declared: Vec<Option<MetadataValue>>,
    /// The metadata that is not declared, as a JSON object.
    pub metadata_json: String,
    /// Hash of the whole document.
    pub document_hash: ContentHash,
}

/// One row to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkRow {
    /// The document that the chunk belongs to.
    pub document: Arc<DocumentRow>,
    /// The chunk's id, unique in the table.
    pub chunk_id: String,
    /// Its number in the document, from 0.
    pub chunk_no: u32,
    /// Its first code point in the document's text.
    pub char_start: u32,
    /// One past its last code point.
    pub char_end: u32,
    /// Headings above it, outermost first.
    pub heading_path: Vec<String>,
    /// Its text, a slice of the document's.
    pub text: String,
    /// What both legs index of it: words without markup, after the title and the headings that they need. It depends on
    /// the whole document, so it is kept rather than made anew.
    pub index_text: String,
    /// Hash of the chunk's own content.
    pub chunk_hash: ContentHash,
    /// Its embedding, as long as the table's dimension and of Euclidean length 1.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, one after another, in a table that has them; `None` when there are none of this row.
    pub token_vectors: Option<Vec<i8>>,
}

/// A row read back, without its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChunk {
    /// The row's stable id.
    pub row_id: u64,
    /// What it shares with the document's other chunks.
    pub document: DocumentRow,
    /// The chunk's id.
    pub chunk_id: String,
    /// Its number in the document, from 0.
    pub chunk_no: u32,
    /// Its first code point in the document's text.
    pub char_start: u32,
    /// One past its last code point.
    pub char_end: u32,
    /// Headings above it, outermost first.
    pub heading_path: Vec<String>,
    /// Its text.
    pub text: String,
}

/// Where a row is: its stable id, and its place in a fragment, which is what a deletion needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowPlace {
    /// The stable id, which never changes and is never given out again.
    pub row_id: u64,
    /// The fragment that holds the row.
    pub fragment: u32,
    /// The row's offset in that fragment, deleted rows counted.
    pub offset: u32,
}

/// What the document directory keeps of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    /// Where the row is.
    pub place: RowPlace,
    /// The document it belongs to.
    pub document_id: String,
    /// The chunk's number in the document.
    pub chunk_no: u32,
    /// Hash of the document.
    pub document_hash: ContentHash,
    /// Hash of the chunk.
    pub chunk_hash: ContentHash,
}
