//! Collections: their files, their one writer, and the pair of snapshots that searches read.

mod beginnings;
mod blend;
mod catalog;
mod catchup;
mod check;
mod derive;
mod directory;
mod files;
mod passages;
mod plan;
mod publish;
mod purge;
mod rerank;
mod snapshots;
mod spec;
mod succession;
mod upgrade;
mod waiting;
mod writer;

use crate::lexical::{LexicalError, LexicalOptions};
use crate::second_stage::Wanted;
use crate::vector::{CompactionBounds, TableCaches, VectorError, VectorTable};
use arc_swap::{ArcSwap, ArcSwapOption};
use directory::Directory;
use publish::Shared;
use snapshots::{Snapshots, Tidier};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, RwLock};
use writer::WriterHandle;

pub use blend::{Blend, BlendError, BlendOrigin};
pub use catalog::Catalog;
pub use check::{CheckReport, Problems};
pub use directory::DocumentEntry;
pub use plan::{Change, PreparedDocument, Tally};
pub use publish::{Located, Published};
pub use purge::Purged;
pub use snapshots::{AsOf, Retained, RetentionPolicy, SnapshotError, SnapshotInfo, SnapshotOptions, StateError};
pub use spec::{CollectionSpec, EmbedderRef, NameError, check_name};
pub use succession::{Difference, Succession};
pub use upgrade::TokenUpgrade;
pub use writer::{WriteError, Written};

/// How collections are kept.
#[derive(Debug, Clone)]
pub struct CollectionOptions {
    /// The lexical index.
    pub lexical: LexicalOptions,
    /// Caches of the vector tables.
    pub caches: TableCaches,
    /// Budget of the vectors that each collection holds in memory, in bytes; a collection above it is searched through
    /// its table.
    pub exact_vectors_bytes: u64,
    /// Rows of such a collection that an index of the vectors may leave to a comparison one by one.
    pub index_tail_rows: u64,
    /// Requests that may wait for the writer of one collection.
    pub write_queue: usize,
    /// Rows above which no further waiting request joins a commit.
    pub commit_rows: usize,
    /// Earlier states that are kept.
    pub snapshots: SnapshotOptions,
    /// When small fragments of the table are merged, and how many rows at once.
    pub compaction: CompactionBounds,
}

impl CollectionOptions {
    /// For a collection whose documents are in `language`, a BCP 47 tag, where they name none.
    fn in_language(&self, language: &str) -> Self {
        let lexical = LexicalOptions { language: language.to_owned(), ..self.lexical.clone() };
        Self { lexical, ..self.clone() }
    }
}

/// Why a collection, or the folder that holds them, could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The vector table.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// The lexical index.
    #[error(transparent)]
    Lexical(#[from] LexicalError),
    /// A file or folder.
    #[error("{action} {}: {source}", path.display())]
    Files {
        /// What could not be done, for instance "cannot write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The collection's description cannot be read.
    #[error("{} is no description of a collection: {reason}", path.display())]
    BadSpec {
        /// The description.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of this program wrote the folder.
    #[error("{} has format {found}, and this program knows formats up to {known}", path.display())]
    NewerFormat {
        /// The description.
        path: PathBuf,
        /// The format that it names.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// Another process holds the data folder.
    #[error("the data folder {} is in use by another process", folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// There is a collection of that name, made otherwise.
    #[error("there is a collection {name:?} already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no collection of that name.
    #[error("there is no collection {name:?}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// Something derived from the table was brought up to date, and does not hold the table's rows all the same.
    #[error("the table holds {vector_rows} rows at version {version}, and {what} holds {derived_rows}")]
    OutOfStep {
        /// Live rows of the vector table.
        vector_rows: u64,
        /// What was derived from it.
        what: &'static str,
        /// Rows of that.
        derived_rows: u64,
        /// The version of the table.
        version: u64,
    },
    /// A blocking task was cut short, which happens only when the process ends.
    #[error("a background task was cut short: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// An open collection. All reads go through [`Collection::published`]; all writes through its one writer.
#[derive(Debug)]
pub struct Collection {
    folder: PathBuf,
    spec: CollectionSpec,
    blend: ArcSwap<Blend>,
    /// The second stage of searches that do not say; `None` for the default.
    rerank: ArcSwap<Option<Wanted>>,
    /// Held while the file of a setting is written, one change at a time.
    changing_settings: Mutex<()>,
    /// Set while its rows are being given token vectors.
    token_upgrade: ArcSwapOption<TokenUpgrade>,
    /// The collection that grows to take this one's place, and how far it has come.
    next: Mutex<Option<Arc<Collection>>>,
    succession: ArcSwapOption<Succession>,
    /// The collection that has taken this one's place.
    successor: OnceLock<Arc<Collection>>,
    /// Held for reading by each write, and for writing while a successor takes the collection's place.
    writes: RwLock<()>,
    shared: Arc<Shared>,
    snapshots: Arc<Snapshots>,
    tidier: Tidier,
    writer: WriterHandle,
}

impl Collection {
    /// Opens the collection in `folder`, brings its lexical index in step with its table, and starts its writer.
    ///
    /// # Errors
    /// The table cannot be read, or the lexical index cannot be made.
    pub async fn open(folder: &Path, options: &CollectionOptions) -> Result<Self, CollectionError> {
        let spec = CollectionSpec::read(&folder.join(files::SPEC))?;
        let blend = ArcSwap::from_pointee(Blend::read(folder)?);
        let rerank = ArcSwap::from_pointee(rerank::read(folder)?);
        let options = &options.in_language(&spec.language);
        let table = VectorTable::open(&folder.join(&spec.table), spec.layout(), &options.caches).await?;
        let table = table.counting_on(spec.versions_before);
        let keys = table.scan_keys().await?;
        let directory = Directory::from_keys(&keys);
        let lexical_folder = folder.join(files::LEXICAL);
        let caught_up = catchup::catch_up(&table, &keys, &lexical_folder, &options.lexical).await?;
        caught_up.report.log(&spec.name);
        let vectors = table.load_exact(options.exact_vectors_bytes).await?;
        let snapshots = Snapshots::open(&spec.name, folder, options.snapshots, options.lexical.clone(), &table).await?;
        let snapshots = Arc::new(snapshots);
        let (index, captured) = snapshots.capture(caught_up.index, table.version()).await?;
        let published = Published::new(table.clone(), index.searcher(), vectors, &directory);
        let shared = Arc::new(Shared::new(published, directory));
        snapshots.published(&shared.published(), captured).await;
        shared.published().sketch_beside();
        let tidier = Tidier::start(snapshots.clone(), shared.clone());
        let derived = writer::Derived { lexical_folder, index, snapshots: snapshots.clone() };
        let writer = writer::start(spec.name.clone(), options, shared.clone(), table, derived);
        let token_upgrade = ArcSwapOption::from_pointee(upgrade::is_under_way(folder).then(TokenUpgrade::default));
        Ok(Self {
            folder: folder.to_owned(),
            spec,
            blend,
            rerank,
            changing_settings: Mutex::default(),
            token_upgrade,
            next: Mutex::default(),
            succession: ArcSwapOption::empty(),
            successor: OnceLock::new(),
            writes: RwLock::default(),
            shared,
            snapshots,
            tidier,
            writer,
        })
    }

    /// What the collection was made as.
    pub fn spec(&self) -> &CollectionSpec {
        &self.spec
    }

    /// How the legs are weighed where a search does not say.
    pub fn blend(&self) -> Blend {
        **self.blend.load()
    }

    /// Changes how the legs are weighed: durably first, then for the searches that come.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`] when the collection was deleted, or the file cannot be written; nothing is changed
    /// then.
    pub async fn set_blend(&self, blend: Blend) -> Result<(), CollectionError> {
        let _changing = self.changing_settings.lock().await;
        if self.is_closed() {
            return Err(CollectionError::NotFound { name: self.spec.name.clone() });
        }
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || blend.write(&folder)).await??;
        self.blend.store(Arc::new(blend));
        Ok(())
    }

    /// The second stage of searches that do not say; `None` for the default of all collections.
    pub fn rerank(&self) -> Option<Wanted> {
        **self.rerank.load()
    }

    /// Changes the second stage of searches that do not say: durably first, then for the searches that come.
    ///
    /// # Errors
    /// As [`Collection::set_blend`].
    pub async fn set_rerank(&self, method: Option<Wanted>) -> Result<(), CollectionError> {
        let _changing = self.changing_settings.lock().await;
        if self.is_closed() {
            return Err(CollectionError::NotFound { name: self.spec.name.clone() });
        }
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || rerank::write(&folder, method)).await??;
        self.rerank.store(Arc::new(method));
        Ok(())
    }

    /// The pair of snapshots that holds every acknowledged write. Hold it for one search, and no longer.
    pub fn published(&self) -> Arc<Published> {
        self.shared.published()
    }

    /// As [`Collection::published`], once `version` or a later one is published; at once when the collection is closed,
    /// because then no later one will come.
    pub async fn at_least(&self, version: u64) -> Arc<Published> {
        self.shared.at_least(version).await
    }

    /// The pair of an earlier state, which gives the scores that it gave when it was published.
    ///
    /// # Errors
    /// [`SnapshotError::State`] when that state is not kept, and whatever keeps its files from being read.
    pub async fn as_of(&self, state: &AsOf) -> Result<Arc<Published>, SnapshotError> {
        self.snapshots.pair(state, &self.published()).await
    }

    /// Erases documents physically, from every state and from the successor that may be growing, and drops all earlier
    /// states for it. What the writer has begun it finishes, even when nobody waits for it any more; the successor's part
    /// needs the caller to wait.
    ///
    /// # Errors
    /// As [`Collection::write`]; the same purge may then be tried again.
    pub async fn purge(&self, document_ids: Vec<String>) -> Result<Purged, WriteError> {
        let _begun = self.writes.read().await;
        let purged = self.writer.purge(document_ids.clone()).await.map_err(|error| self.closed_for(error))?;
        if let Some(next) = self.next().await.as_ref() {
            next.writer.purge(document_ids).await?;
        }
        Ok(purged)
    }

    /// All kept states, the newest first.
    pub fn snapshots(&self) -> Vec<Retained> {
        self.snapshots.list(&self.published())
    }

    /// Gives a kept state a name, which keeps it; a name that another state had is taken from it. `None` means the
    /// published state.
    ///
    /// # Errors
    /// [`SnapshotError`] when the state is not kept, there are too many tags, or the tag cannot be written.
    pub async fn tag(&self, tag: &str, version: Option<u64>) -> Result<Retained, SnapshotError> {
        let published = self.published();
        self.snapshots.tag(tag, version.unwrap_or(published.version()), &published).await
    }

    /// Takes a name from its state.
    ///
    /// # Errors
    /// [`SnapshotError`] when there is no such tag, or the change cannot be written.
    pub async fn untag(&self, tag: &str) -> Result<(), SnapshotError> {
        self.snapshots.untag(tag, self.published().version()).await
    }

    /// Compares every row of the published state with everything that was derived from the table.
    ///
    /// # Errors
    /// The table or the index cannot be read at all.
    pub async fn check(&self) -> Result<CheckReport, CollectionError> {
        let shared = self.shared.clone();
        // The directory of a large collection takes a moment to copy.
        let (published, directory) = tokio::task::spawn_blocking(move || shared.with_copy_of_directory()).await?;
        check::check(published, directory).await
    }

    /// Where the rows of these documents are, with the snapshots in which they are there.
    pub fn locate(&self, document_ids: &[String]) -> Located {
        self.shared.locate(document_ids)
    }

    /// Hands changes to the writer and waits until they are published.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the collection was deleted or the process ends, [`WriteError::Succeeded`] when another
    /// has taken its place, [`WriteError::Failed`] when nothing could be written; the same changes may then be tried again.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Written, WriteError> {
        let _begun = self.writes.read().await;
        self.writer.write(changes).await.map_err(|error| self.closed_for(error))
    }

    /// Says of a collection that takes no more writes which one does.
    fn closed_for(&self, error: WriteError) -> WriteError {
        match (error, self.successor()) {
            (WriteError::Closed, Some(successor)) => WriteError::Succeeded(successor.clone()),
            (error, _) => error,
        }
    }

    /// How many writes wait for their publication, and how long the oldest has waited.
    pub fn waiting(&self, now: Instant) -> (usize, Duration) {
        self.writer.waiting(now)
    }

    /// Whether the collection takes no more writes, because it was deleted or the process ends.
    pub fn is_closed(&self) -> bool {
        self.writer.is_closed()
    }

    /// Finishes the writes that wait, and takes no more.
    pub async fn close(&self) {
        self.shared.close();
        self.end().await;
        if let Some(next) = self.next().await.take() {
            next.shared.close();
            next.end().await;
        }
    }

    /// Finishes what goes on. Whoever waits for a version goes on waiting.
    async fn end(&self) {
        self.writer.close().await;
        self.tidier.stop().await;
    }
}
