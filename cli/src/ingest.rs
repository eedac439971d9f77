//! From files to acknowledged documents.
//!
//! A thread reads files ([`source`]), a bounded queue hands documents over, and
//! [`upload`] streams them in batches to the retriever. Whatever cannot be taken
//! is reported with its reason, and stops nothing else.

pub mod batch;
pub mod files;
pub mod front_matter;
pub mod json_lines;
pub mod source;
pub mod text;
pub mod upload;

use serde::Serialize;
use trivium_proto::retriever::v1::Document;

/// The largest document that is read, in bytes: the retriever's own default limit.
pub const MAX_DOCUMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A document that is ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Where it was found, for reports: a path, and for JSON lines the line as well.
    pub origin: String,
    /// What is sent.
    pub document: Document,
    /// What was odd about it, though it can be ingested.
    pub note: Option<String>,
    /// Bytes of input that it accounts for.
    pub bytes: u64,
}

/// What the source found next.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A document.
    Document(Box<Prepared>),
    /// Something that is not ingested.
    Skipped {
        /// What, and why.
        skipped: Skipped,
        /// Bytes of input that it accounts for.
        bytes: u64,
    },
}

/// Something that was not ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Where it was found.
    pub path: String,
    /// Why it was left out.
    pub reason: String,
}

/// Something that was ingested, though not quite as its author meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where it was found.
    pub path: String,
    /// What was odd.
    pub note: String,
}
