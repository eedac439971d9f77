//! The vector table: a Lance dataset, which is the only truth of a collection and its semantic leg.
//!
//! This module alone names Lance and Arrow. A [`VectorTable`] is one version of the dataset, pinned: whoever holds
//! it reads the same rows for as long as they hold it. Writing gives back the next version and touches nothing else.

mod check;
mod commit;
mod compact;
mod decode;
mod disk;
mod durable;
mod encode;
mod erase;
mod exact;
mod filter;
mod index;
mod rows;
mod scan;
mod schema;
mod search;
mod store;
mod tokens;
mod versions;

use futures::future::BoxFuture;

pub use check::CheckRow;
pub use commit::Committed;
pub use compact::{Compacted, CompactionBounds};
pub use exact::ExactVectors;
pub use index::{BuiltIndex, IndexBuild, IndexWork};
pub use rows::{ChunkRow, DocumentRow, RowKey, RowPlace, StoredChunk};
pub use scan::IndexRow;
pub use schema::TableLayout;
pub use search::VectorHit;
pub use store::{TableCaches, VectorTable};
pub use tokens::{RowTokens, TokenColumn};
pub use versions::Removed;

/// What the table does, as a future behind a pointer. Lance's futures are large, and are compiled anew in every crate
/// that polls them by value; boxed, they are compiled in this crate alone.
pub type TableFuture<'a, T> = BoxFuture<'a, Result<T, VectorError>>;

/// Why the vector table could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// Lance refused or failed.
    #[error("the vector table could not {action}: {source}")]
    Lance {
        /// What was being done, as a verb phrase.
        action: &'static str,
        /// Lance's own error.
        #[source]
        source: Box<lance::Error>,
    },
    /// The files of the newest version could not be made durable.
    #[error("the vector table could not be made durable: {0}")]
    Sync(#[source] std::io::Error),
    /// Columns could not be put together.
    #[error("a batch of rows could not be built: {source}")]
    Arrow {
        /// Arrow's own error.
        #[from]
        source: arrow_schema::ArrowError,
    },
    /// The files hold something that this version of the table never writes.
    #[error("the vector table is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The operating system gave no threads.
    #[error("no threads could be started: {0}")]
    Threads(String),
    /// A vector has another length than the table's.
    #[error("a vector has {found} values, and the collection's have {expected}")]
    Dimension {
        /// Length of the table's vectors.
        expected: usize,
        /// Length that was given.
        found: usize,
    },
}

impl VectorError {
    fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// Names the action that failed.
fn failed(action: &'static str) -> impl FnOnce(lance::Error) -> VectorError {
    move |source| VectorError::Lance { action, source: Box::new(source) }
}
