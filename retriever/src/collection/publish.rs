//! What readers see: one pair of snapshots behind one pointer.

use super::directory::{Directory, DocumentEntry};
use crate::lexical::LexicalSearcher;
use crate::vector::{ExactVectors, VectorTable};
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

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

    /// Makes searches by meaning faster where that is due, beside whatever else goes on; they find the same before and
    /// after.
    pub(super) fn sketch_beside(&self) {
        let Some(vectors) = self.vectors.as_ref().filter(|vectors| vectors.wants_sketches()).cloned() else { return };
        tokio::task::spawn_blocking(move || {
            vectors.make_sketches();
            tracing::info!(rows = vectors.live_rows(), "vectors in memory were sketched");
        });
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
    /// Tells those who wait for a version that there is a new one, or that there will be none.
    news: watch::Sender<News>,
}

/// What those who wait for a version are told.
#[derive(Debug, Clone, Copy)]
struct News {
    version: u64,
    closed: bool,
}

impl Shared {
    pub(super) fn new(published: Published, directory: Directory) -> Self {
        let (news, _) = watch::channel(News { version: published.version(), closed: false });
        Self { published: ArcSwap::from_pointee(published), directory: RwLock::new(directory), news }
    }

    /// Waits until `version` or a later one is published, or the collection is closed; gives what is published then.
    pub(super) async fn at_least(&self, version: u64) -> Arc<Published> {
        let mut news = self.news.subscribe();
        // The sender lives as long as this, so that waiting ends with news alone.
        let _ = news.wait_for(|news| news.closed || news.version >= version).await;
        self.published()
    }

    /// Ends all waiting: there will be no more versions.
    pub(super) fn close(&self) {
        self.news.send_modify(|news| news.closed = true);
    }

    /// The published state with a copy of its directory.
    pub(super) fn with_copy_of_directory(&self) -> (Arc<Published>, Directory) {
        self.with_directory(|directory| (self.published(), directory.clone()))
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
        self.news.send_modify(|news| news.version = published.version());
        published
    }
}
