//! The retriever's configuration.

use crate::chunk::ChunkOptions;
use crate::collection::{CollectionOptions, RetentionPolicy, SnapshotOptions};
use crate::lexical::LexicalOptions;
use crate::search::Depth;
use crate::service::Limits;
use crate::vector::{CompactionBounds, TableCaches};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use trivium_service_kit::config::at_least;
use trivium_service_kit::{ClientOptions, ConfigError, ServerOptions};

const MIB: usize = 1 << 20;

/// The section `retriever` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How it listens.
    pub server: ServerOptions,
    /// Where the model host is.
    pub model_host: ClientOptions,
    /// The folder of all collections. One process may use it at a time.
    pub data_dir: PathBuf,
    /// The longest text of a document, in bytes. A message holds it, so the server's `max_message_bytes` bounds it too.
    pub max_document_bytes: usize,
    /// The budget of one batch of documents on a stream without a deadline, in milliseconds.
    pub batch_deadline_ms: u64,
    /// The least candidates that each leg gives to the fusion.
    pub candidates: usize,
    /// What the second stage of a search may take, in milliseconds. When it takes longer, the fused order stands.
    pub rerank_budget_ms: u64,
    /// Write requests that may wait in each collection.
    pub write_queue: usize,
    /// Rows above which no further waiting request joins a commit.
    pub commit_rows: usize,
    /// Small fragments of a collection's table above which some are merged, at least 16.
    pub compact_fragments: usize,
    /// Rows that one pass of merging rewrites at most. Writes wait for it, searches do not.
    pub compact_rows: usize,
    /// Budget of the vectors that each collection holds in memory, in bytes. A collection above it is searched through an
    /// index in its table, which is slower, misses a few neighbours and takes no memory; 0 keeps none.
    pub exact_vectors_bytes: u64,
    /// Rows of a collection above that budget which each search compares one by one. When more are in no index, one is
    /// built or extended in the background.
    pub index_tail_rows: u64,
    /// Budget of Lance's index cache, in bytes, for all collections together.
    pub index_cache_bytes: usize,
    /// Budget of Lance's metadata cache, in bytes, for all collections together.
    pub metadata_cache_bytes: usize,
    /// Budget of the token vectors of recent searches, in bytes, for all collections together; 0 keeps none.
    pub token_vectors_cache_bytes: u64,
    /// The newest states of each collection that are kept, at least 1; the published one is among them.
    pub snapshots_newest: usize,
    /// Of older states, the last of each interval of this length is kept, in milliseconds; 0 keeps none.
    pub snapshots_interval_ms: u64,
    /// The age up to which the last state of each interval is kept, in milliseconds.
    pub snapshots_age_ms: u64,
    /// Earlier states of each collection that are held open at once, at least 1. Each may hold its vectors in memory,
    /// within `exact_vectors_bytes`.
    pub snapshots_open: usize,
    /// Commits between two removals of the files of states that are not kept, at least 1.
    pub cleanup_commits: u64,
    /// Memory for documents that Tantivy has not committed yet, in bytes, for each collection.
    pub lexical_writer_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Batches of documents are larger than most messages.
            server: ServerOptions { max_message_bytes: 64 * MIB, ..ServerOptions::at(7701) },
            model_host: ClientOptions::to(7702),
            data_dir: PathBuf::from("data"),
            max_document_bytes: 16 * MIB,
            batch_deadline_ms: 600_000,
            candidates: 100,
            rerank_budget_ms: 500,
            write_queue: 64,
            commit_rows: 8_192,
            compact_fragments: 32,
            compact_rows: 16_384,
            exact_vectors_bytes: 256 << 20,
            index_tail_rows: 4_096,
            snapshots_newest: 10,
            snapshots_interval_ms: 3_600_000,
            snapshots_age_ms: 86_400_000,
            snapshots_open: 2,
            cleanup_commits: 32,
            index_cache_bytes: 256 * MIB,
            metadata_cache_bytes: 128 * MIB,
            token_vectors_cache_bytes: 64 << 20,
            lexical_writer_bytes: LexicalOptions::default().writer_memory_bytes,
        }
    }
}

impl Options {
    /// Checks every value. Keys are relative to the retriever's own section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.model_host.validate().map_err(|error| error.within("model_host"))?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::new("data_dir", "", "must name a folder"));
        }
        at_least("max_document_bytes", self.max_document_bytes, 1)?;
        at_least("batch_deadline_ms", self.batch_deadline_ms, 1)?;
        at_least("candidates", self.candidates, 1)?;
        at_least("rerank_budget_ms", self.rerank_budget_ms, 1)?;
        at_least("write_queue", self.write_queue, 1)?;
        at_least("commit_rows", self.commit_rows, 1)?;
        at_least("snapshots_newest", self.snapshots_newest, 1)?;
        at_least("snapshots_open", self.snapshots_open, 1)?;
        at_least("cleanup_commits", self.cleanup_commits, 1)?;
        at_least("compact_fragments", self.compact_fragments, 16)?;
        at_least("compact_rows", self.compact_rows, 1)?;
        at_least("index_tail_rows", usize::try_from(self.index_tail_rows).unwrap_or(usize::MAX), 1)?;
        at_least("index_cache_bytes", self.index_cache_bytes, MIB)?;
        at_least("metadata_cache_bytes", self.metadata_cache_bytes, MIB)?;
        // Tantivy refuses less.
        at_least("lexical_writer_bytes", self.lexical_writer_bytes, 15_000_000)
    }

    /// How collections are kept.
    pub fn collections(&self) -> CollectionOptions {
        CollectionOptions {
            lexical: LexicalOptions { writer_memory_bytes: self.lexical_writer_bytes, ..LexicalOptions::default() },
            caches: TableCaches::new(self.index_cache_bytes, self.metadata_cache_bytes)
                .with_token_vectors(self.token_vectors_cache_bytes),
            exact_vectors_bytes: self.exact_vectors_bytes,
            index_tail_rows: self.index_tail_rows,
            write_queue: self.write_queue,
            commit_rows: self.commit_rows,
            compaction: CompactionBounds { fragments: self.compact_fragments, rows: self.compact_rows },
            snapshots: self.snapshots(),
        }
    }

    fn snapshots(&self) -> SnapshotOptions {
        SnapshotOptions {
            retention: RetentionPolicy {
                newest: self.snapshots_newest,
                interval: Duration::from_millis(self.snapshots_interval_ms),
                age: Duration::from_millis(self.snapshots_age_ms),
            },
            open: self.snapshots_open,
            cleanup_commits: self.cleanup_commits,
        }
    }

    /// Limits of the service.
    pub fn limits(&self) -> Limits {
        Limits {
            document_bytes: self.max_document_bytes,
            batch_budget: Duration::from_millis(self.batch_deadline_ms),
            chunking: ChunkOptions::default(),
            depth: Depth { candidates: self.candidates, rerank_budget: Duration::from_millis(self.rerank_budget_ms) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn a_bad_value_names_its_key() {
        let good = Options::default;
        let cases = [
            (Options { data_dir: PathBuf::new(), ..good() }, "data_dir"),
            (Options { candidates: 0, ..good() }, "candidates"),
            (Options { rerank_budget_ms: 0, ..good() }, "rerank_budget_ms"),
            (Options { write_queue: 0, ..good() }, "write_queue"),
            (Options { snapshots_newest: 0, ..good() }, "snapshots_newest"),
            (Options { compact_fragments: 15, ..good() }, "compact_fragments"),
            (Options { compact_rows: 0, ..good() }, "compact_rows"),
            (Options { index_tail_rows: 0, ..good() }, "index_tail_rows"),
            (Options { lexical_writer_bytes: 1, ..good() }, "lexical_writer_bytes"),
            (
                Options { model_host: ClientOptions { endpoint: "nowhere".into(), ..good().model_host }, ..good() },
                "model_host.endpoint",
            ),
        ];
        for (options, key) in cases {
            assert_eq!(options.validate().unwrap_err().key, key);
        }
    }
}
