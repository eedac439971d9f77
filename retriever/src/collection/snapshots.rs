//! Kept states of a collection: what they are, how they are tagged, read and let go.
//!
//! A kept state is a version of the table, which Lance keeps, and beside it the lexical index of exactly that version,
//! kept by second names of its files. Whoever reads it therefore gets the very scores that it gave when it was published.

mod clear;
mod folder;
mod open;
mod retention;
mod tidy;

use super::{CollectionError, Published, files};
use crate::lexical::{LexicalIndex, LexicalOptions};
use crate::vector::VectorTable;
use folder::SnapshotFolder;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

pub(super) use folder::FOLDER;
pub use folder::SnapshotInfo;
pub use retention::{AsOf, RetentionPolicy, StateError};
pub(super) use tidy::Tidier;

/// Most tags of a collection.
const MAX_TAGS: usize = 1_000;

/// How states are kept.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotOptions {
    /// Which ones.
    pub retention: RetentionPolicy,
    /// Earlier states that are held open at once, with their vectors where those are held in memory.
    pub open: usize,
    /// Commits between two removals of the files of versions that are not kept.
    pub cleanup_commits: u64,
}

/// A kept state and its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The state.
    pub info: SnapshotInfo,
    /// Its tags, in alphabetical order.
    pub tags: Vec<String>,
    /// Whether it is the published one.
    pub published: bool,
}

/// Why a kept state could not be read, or its tag could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no such state.
    #[error(transparent)]
    State(#[from] StateError),
    /// There are too many tags.
    #[error("the collection has {MAX_TAGS} tags, which is the most")]
    TooManyTags,
    /// Files cannot be read or written.
    #[error(transparent)]
    Collection(#[from] CollectionError),
}

/// The kept states of one collection.
#[derive(Debug)]
pub(super) struct Snapshots {
    collection: String,
    folder: SnapshotFolder,
    options: SnapshotOptions,
    lexical: LexicalOptions,
    state: Mutex<State>,
    /// Held while a state is opened, tagged or removed, so that none is removed under whoever opens or tags it.
    changing: tokio::sync::Mutex<()>,
    /// Held while versions of the table are removed.
    cleaning: tokio::sync::Mutex<()>,
    /// Tells the task that removes what is not kept that there is something to do.
    untidy: Notify,
}

#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<u64, SnapshotInfo>,
    tags: BTreeMap<String, u64>,
    /// The version whose published pair is the very one that was kept. After a restart the published pair may read other
    /// segments than the kept one, and then differ from it in the last digits of its scores.
    live: Option<u64>,
    /// Pairs that may be in use still, whose versions the table must not lose.
    held: Vec<(u64, Weak<Published>)>,
    /// Pairs of earlier states that are held open, the one that was used last at the end.
    open: VecDeque<Arc<Published>>,
    /// States that are not kept any more, whose folders are still there.
    dropped: BTreeSet<u64>,
    /// Commits since the files of unkept versions were removed.
    commits: u64,
}

/// A state whose files have second names, but no place yet.
#[derive(Debug)]
pub(super) struct Captured {
    unfinished: PathBuf,
}

impl Snapshots {
    /// Reads what is kept of a collection whose table is at its newest version.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) async fn open(
        collection: &str,
        collection_folder: &Path,
        options: SnapshotOptions,
        lexical: LexicalOptions,
        table: &VectorTable,
    ) -> Result<Self, CollectionError> {
        let folder = SnapshotFolder::open(collection_folder)?;
        let kept = folder.load(table).await?;
        let mut tags = folder.tags()?;
        tags.retain(|tag, version| {
            let there = kept.contains_key(version);
            if !there {
                tracing::error!(collection, tag, version, "the state of a tag is gone, and the tag with it");
            }
            there
        });
        // The versions that a process left behind go with the first commit.
        let state = State { kept, tags, commits: options.cleanup_commits, ..State::default() };
        Ok(Self {
            collection: collection.to_owned(),
            folder,
            options,
            lexical,
            state: Mutex::new(state),
            changing: tokio::sync::Mutex::new(()),
            cleaning: tokio::sync::Mutex::new(()),
            untidy: Notify::new(),
        })
    }

    /// Gives the files of the index's present state second names. A failure costs the snapshot, not the commit.
    pub(super) async fn capture(
        &self,
        mut index: LexicalIndex,
        version: u64,
    ) -> Result<(LexicalIndex, Option<Captured>), CollectionError> {
        if self.state().kept.contains_key(&version) {
            return Ok((index, None));
        }
        let folder = self.folder.clone();
        let capture = move || {
            let captured = folder.begin().and_then(|unfinished| {
                if let Err(error) = index.capture(&unfinished.join(files::LEXICAL)) {
                    files::remove_folder(&unfinished)?;
                    return Err(error.into());
                }
                Ok(Captured { unfinished })
            });
            (index, captured)
        };
        let (index, captured) = tokio::task::spawn_blocking(capture).await?;
        Ok((index, captured.map_err(|error| self.warn(&error)).ok()))
    }

    /// Takes note of a newly published pair, and keeps it when its files were captured.
    pub(super) async fn published(&self, published: &Arc<Published>, captured: Option<Captured>) {
        let info = SnapshotInfo::of(published);
        let version = info.version;
        let kept = match captured {
            Some(captured) => self.finish(captured, info.clone()).await,
            None => false,
        };
        let mut state = self.state();
        state.live = kept.then_some(version);
        if kept {
            state.kept.insert(version, info);
        }
        state.hold(published);
        state.commits += 1;
        self.trim(&mut state);
    }

    async fn finish(&self, captured: Captured, info: SnapshotInfo) -> bool {
        let folder = self.folder.clone();
        let finish = move || {
            // A folder of that name is of a state that was dropped a moment ago.
            folder.remove(info.version)?;
            folder.finish(&captured.unfinished, &info)
        };
        let finished = tokio::task::spawn_blocking(finish).await.map_err(CollectionError::from).flatten();
        finished.map_err(|error| self.warn(&error)).is_ok()
    }

    /// Lets go of what the policy does not keep; the files follow in the background.
    fn trim(&self, state: &mut State) {
        let committed = state.committed();
        let tagged = state.tags.values().copied().collect();
        let stay = retention::retained(&committed, &tagged, now_ns(), self.options.retention);
        let gone: Vec<u64> = state.kept.keys().filter(|version| !stay.contains(version)).copied().collect();
        state.kept.retain(|version, _| stay.contains(version));
        state.dropped.extend(gone);
        if !state.dropped.is_empty() || state.commits >= self.options.cleanup_commits {
            self.untidy.notify_one();
        }
    }

    /// All kept states, the newest first.
    pub(super) fn list(&self, published: &Arc<Published>) -> Vec<Retained> {
        let state = self.state();
        let mut infos = state.kept.clone();
        infos.entry(published.version()).or_insert_with(|| SnapshotInfo::of(published));
        infos.into_values().rev().map(|info| state.retained(info, published)).collect()
    }

    /// Names a kept state, and keeps it for as long as it has the name.
    pub(super) async fn tag(
        &self,
        tag: &str,
        version: u64,
        published: &Arc<Published>,
    ) -> Result<Retained, SnapshotError> {
        let _changing = self.changing.lock().await;
        let (version, before) = {
            let mut state = self.state();
            let wanted = AsOf::Version(version);
            let version = retention::resolve(&wanted, &state.committed(), &state.tags, published.version())?;
            if state.tags.len() >= MAX_TAGS && !state.tags.contains_key(tag) {
                return Err(SnapshotError::TooManyTags);
            }
            // At once, so that retention keeps the state while the tag is written.
            (version, state.tags.insert(tag.to_owned(), version))
        };
        if let Err(error) = self.write_tags(Some(version)).await {
            self.restore_tag(tag, before);
            return Err(error.into());
        }
        let mut state = self.state();
        self.trim(&mut state);
        let info = state.kept.get(&version).cloned().unwrap_or_else(|| SnapshotInfo::of(published));
        Ok(state.retained(info, published))
    }

    /// Takes a name away.
    pub(super) async fn untag(&self, tag: &str, published: u64) -> Result<(), SnapshotError> {
        let _changing = self.changing.lock().await;
        let before = {
            let mut state = self.state();
            retention::resolve(&AsOf::Tag(tag.to_owned()), &state.committed(), &state.tags, published)?;
            state.tags.remove(tag)
        };
        if let Err(error) = self.write_tags(None).await {
            self.restore_tag(tag, before);
            return Err(error.into());
        }
        let mut state = self.state();
        self.trim(&mut state);
        Ok(())
    }

    /// Writes all tags, after the files of a state that was just tagged.
    async fn write_tags(&self, tagged: Option<u64>) -> Result<(), CollectionError> {
        let (folder, tags) = (self.folder.clone(), self.state().tags.clone());
        let write = move || {
            tagged.map_or(Ok(()), |version| folder.sync(version))?;
            folder.write_tags(&tags)
        };
        tokio::task::spawn_blocking(write).await?
    }

    /// Puts a tag back that could not be changed.
    fn restore_tag(&self, tag: &str, before: Option<u64>) {
        let mut state = self.state();
        match before.filter(|version| state.kept.contains_key(version)) {
            Some(version) => drop(state.tags.insert(tag.to_owned(), version)),
            None => drop(state.tags.remove(tag)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; were it to happen, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, error: &CollectionError) {
        let error: &dyn std::error::Error = error;
        tracing::warn!(collection = self.collection, error, "a state cannot be kept");
    }
}

impl SnapshotInfo {
    fn of(published: &Published) -> Self {
        Self {
            version: published.version(),
            committed_at_ns: published.table.committed_at_ns(),
            documents: published.documents,
            chunks: published.chunks,
            vectors_in_memory: published.vectors.is_some(),
        }
    }
}

impl State {
    fn committed(&self) -> BTreeMap<u64, i128> {
        self.kept.iter().map(|(version, info)| (*version, info.committed_at_ns)).collect()
    }

    fn hold(&mut self, published: &Arc<Published>) {
        self.held.retain(|(_, pair)| pair.strong_count() > 0);
        self.held.push((published.version(), Arc::downgrade(published)));
    }

    fn retained(&self, info: SnapshotInfo, published: &Published) -> Retained {
        let tags = self.tags.iter().filter(|(_, version)| **version == info.version).map(|(tag, _)| tag.clone());
        Retained { tags: tags.collect(), published: info.version == published.version(), info }
    }
}

fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}
