//! The lexical leg: BM25 over words and identifiers, in a Tantivy index that is derived from the collection's table.
//!
//! Everything here blocks on files and threads, so async callers go through `spawn_blocking`. The index holds nothing
//! that the table does not hold: when it is damaged, delete its folder and build it again.

mod analyzer;
mod beginnings;
mod capture;
mod explain;
mod filter;
mod folder;
mod index;
mod passages;
mod properties;
mod query;
mod rows;
mod schema;
mod scores;
mod searcher;
mod statistics;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::filter::Properties;
use crate::hash::ContentHash;

pub use explain::TermPart;
pub use index::LexicalIndex;
pub use scores::LexicalScores;
pub use searcher::LexicalSearcher;

/// One chunk as the lexical leg sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct LexicalDocument {
    /// The row's stable id in the table. A document with the same id is replaced.
    pub row_id: u64,
    /// The hash of the chunk's content, for the comparison with the table.
    pub chunk_hash: ContentHash,
    /// The document's title.
    pub title: String,
    /// The chunk's embedding text: title, headings and indexable text.
    pub body: String,
    /// What filters read of the document.
    pub properties: Properties,
    /// The passage as answers give it. The index keeps it and does not read it.
    pub passage: Vec<u8>,
}

/// What an index says about the state of the table that it was made from; committed together with the documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The layout of this payload.
    pub format: u32,
    /// The random identity of the table.
    pub table_id: String,
    /// The table's branch; empty for the main one.
    pub branch: String,
    /// The table version that the index has applied.
    pub version: u64,
    /// When that version was committed, in nanoseconds since 1970: it tells a table that was dropped and made again.
    pub manifest_timestamp: i128,
    /// [`LexicalIndex::analyzer_hash`] at that time.
    pub analyzer_hash: String,
    /// The rows alive in that version.
    pub live_rows: u64,
}

/// One chunk that matches a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LexicalHit {
    /// The row's stable id in the table.
    pub row_id: u64,
    /// The BM25 score, above 0; comparable only within one query.
    pub score: f32,
}

/// A chunk that the index holds: its row id and the hash of its content.
pub type IndexedRow = (u64, ContentHash);

/// How the index is written and searched.
#[derive(Clone, Debug, PartialEq)]
pub struct LexicalOptions {
    /// Memory for documents that are not committed yet; Tantivy needs at least 15 MB.
    pub writer_memory_bytes: usize,
    /// So many different terms of a query are used, the first ones; the rest is ignored.
    pub max_query_terms: usize,
    /// The weight of a match in the title; one in the body, which repeats the title, weighs 1.
    pub title_weight: f32,
    /// BCP 47 tag of the language of documents that name none.
    pub language: String,
    /// Whether opening compares the checksum of every file, at the cost of reading them all. Without it, damage inside a
    /// file shows late, and may show as a panic of Tantivy.
    pub verify_checksums: bool,
}

impl Default for LexicalOptions {
    fn default() -> Self {
        Self {
            writer_memory_bytes: 32_000_000,
            max_query_terms: 256,
            title_weight: 0.25,
            language: "en".to_owned(),
            verify_checksums: true,
        }
    }
}

/// Why the lexical leg could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LexicalError {
    /// The folder does not hold a sound index of the present layout: delete it, and build the index again.
    #[error("the lexical index in {} cannot be used: {reason}", path.display())]
    Damaged {
        /// The index folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another writer holds the index.
    #[error("the lexical index in {} is in use by another writer", path.display())]
    Locked {
        /// The index folder.
        path: PathBuf,
    },
    /// The folder could not be read or made.
    #[error("the folder {} of the lexical index cannot be used", path.display())]
    Folder {
        /// The index folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Tantivy or the operating system refused an operation; nothing says that the index is damaged.
    #[error("the lexical index failed")]
    Engine(#[from] tantivy::TantivyError),
    /// The payload could not be written as JSON.
    #[error("the commit payload cannot be encoded")]
    Payload(#[source] serde_json::Error),
}
