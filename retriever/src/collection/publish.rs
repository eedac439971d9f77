//! What readers see: one pair of snapshots behind one pointer.

use super::directory::{Directory, DocumentEntry};
use crate::lexical::LexicalSearcher;
use crate::vector::{ExactVectors, VectorTable};
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// One state of a collection: both legs of a search read the same one.
#[derive(Clone)]
pub struct Published {
    /// The vector table, at one version.
    pub table: VectorTable,
    /// The lexical index of exactly that version's rows.
    pub lexical: LexicalSearcher,
    /// The vectors of exactly that version's rows; `None` when they exceed the budget, and the table itself is searched.
    pub vectors: Option<ExactVectors>,
    /// Documents in that version.
    pub documents: u64,
    /// Chunks in that version.
    pub chunks: u64,
}

impl Published {
    pub(super) fn new(
        table: VectorTable,
        lexical: LexicalSearcher,
        vectors: Option<ExactVectors>,
        directory: &Directory,
    ) -> Self {
        Self { table, lexical, vectors, documents: directory.documents(), chunks: directory.chunks() }
    }

    /// The version of both legs.
    pub fn version(&self) -> u64 {
        self.table.version()
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = (self.documents, self.chunks);
        formatter
            .debug_struct("Published")
            .field("version", &self.version())
            .field("counts", &counts)
            .finish_non_exhaustive()
    }
}

/// Where documents are, with the state in which they are there.
#[derive(Debug)]
pub struct Located {
    /// The state.
    pub published: Arc<Published>,
    /// The entry of each document that was asked for, in that order; `None` for one that is not there.
    pub entries: Vec<Option<DocumentEntry>>,
}

/// What the writer of a collection and its readers share.
#[derive(Debug)]
pub(super) struct Shared {
    published: ArcSwap<Published>,
    /// Changed only together with `published`, under its write lock, so that a reader who holds the read lock sees the
    /// two in step. Searches need the pointer alone, and take no lock.
    directory: RwLock<Directory>,
}

impl Shared {
    pub(super) fn new(published: Published, directory: Directory) -> Self {
        Self { published: ArcSwap::from_pointee(published), directory: RwLock::new(directory) }
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub(super) fn locate(&self, document_ids: &[String]) -> Located {
        self.with_directory(|directory| Located {
            published: self.published(),
            entries: document_ids.iter().map(|id| directory.get(id).cloned()).collect(),
        })
    }

    pub(super) fn with_directory<T>(&self, read: impl FnOnce(&Directory) -> T) -> T {
        // No code panics while it holds the lock; were it to happen, the directory would still be whole.
        read(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the directory and shows the new state to readers, in one step.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Directory) -> Published) -> Arc<Published> {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        let published = Arc::new(change(&mut directory));
        self.published.store(published.clone());
        published
    }
}
