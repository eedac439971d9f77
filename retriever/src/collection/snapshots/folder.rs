//! The files of kept states: a folder for each, and one file for all tags.

use super::super::{CollectionError, files};
use crate::vector::VectorTable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folder of the kept states in the folder of a collection.
pub(in super::super) const FOLDER: &str = "snapshots";
/// Description of a kept state in its folder.
const INFO: &str = "snapshot.json";
/// Tags of a collection, in the folder of its kept states.
const TAGS: &str = "tags.json";

/// What is known of a kept state without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotInfo {
    /// The version.
    pub version: u64,
    /// When it was committed, in nanoseconds since 1970.
    pub committed_at_ns: i128,
    /// Documents in it.
    pub documents: u64,
    /// Chunks in it.
    pub chunks: u64,
    /// Whether its vectors were held in memory. They are again when it is read: the two ways to search differ in the last
    /// digits of their scores.
    pub vectors_in_memory: bool,
}

/// Where the states of one collection are.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFolder {
    path: PathBuf,
}

impl SnapshotFolder {
    /// The folder of a collection's states, made if it is not there. What an earlier process left unfinished goes.
    pub(super) fn open(collection_folder: &Path) -> Result<Self, CollectionError> {
        let path = collection_folder.join(FOLDER);
        files::make_folder(&path)?;
        let folder = Self { path };
        folder.remove_unfinished()?;
        Ok(folder)
    }

    /// Removes states that were begun and never finished.
    pub(super) fn remove_unfinished(&self) -> Result<(), CollectionError> {
        let (_, unfinished) = files::folders(&self.path)?;
        unfinished.iter().try_for_each(|path| files::remove_folder(path))
    }

    /// The states that can be read: whose description is whole, and whose version the table still has. The folders of
    /// all others are removed.
    pub(super) async fn load(&self, table: &VectorTable) -> Result<BTreeMap<u64, SnapshotInfo>, CollectionError> {
        let (folders, _) = files::folders(&self.path)?;
        let mut kept = BTreeMap::new();
        for folder in folders {
            match self.info(&folder, table).await {
                Some(info) => drop(kept.insert(info.version, info)),
                None => {
                    tracing::warn!(folder = %folder.display(), "a kept state has no version any more and is removed");
                    files::remove_folder(&folder)?;
                }
            }
        }
        Ok(kept)
    }

    async fn info(&self, folder: &Path, table: &VectorTable) -> Option<SnapshotInfo> {
        let info: SnapshotInfo = serde_json::from_str(&files::read(&folder.join(INFO)).ok()?).ok()?;
        let committed_at = table.committed_at_ns_of(info.version).await;
        let fits = *folder == self.of(info.version)
            && info.version <= table.version()
            && committed_at == Some(info.committed_at_ns);
        fits.then_some(info)
    }

    /// The folder of all states.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of one state.
    pub(super) fn of(&self, version: u64) -> PathBuf {
        self.path.join(version.to_string())
    }

    /// The lexical index of one state.
    pub(super) fn lexical_of(&self, version: u64) -> PathBuf {
        self.of(version).join(files::LEXICAL)
    }

    /// A new place for a state that is being kept, with a folder for its lexical index.
    pub(super) fn begin(&self) -> Result<PathBuf, CollectionError> {
        let unfinished = files::unfinished(&self.path, "new");
        files::make_folder(&unfinished.join(files::LEXICAL))?;
        Ok(unfinished)
    }

    /// Gives a state its place. Nothing is synced: after a power loss the state may be gone, or its index may be torn and
    /// is made anew from its version of the table.
    pub(super) fn finish(&self, unfinished: &Path, info: &SnapshotInfo) -> Result<(), CollectionError> {
        let text = serde_json::to_string(info).map_err(|error| bad(&unfinished.join(INFO), &error))?;
        files::write(&unfinished.join(INFO), &text)?;
        files::rename(unfinished, &self.of(info.version))
    }

    /// Makes a state durable.
    pub(super) fn sync(&self, version: u64) -> Result<(), CollectionError> {
        files::sync_all(&self.lexical_of(version))?;
        files::sync_all(&self.of(version))?;
        files::sync_folder(&self.path)
    }

    /// Removes a state.
    pub(super) fn remove(&self, version: u64) -> Result<(), CollectionError> {
        let (folder, removed) = (self.of(version), files::unfinished(&self.path, "removed"));
        if !folder.exists() {
            return Ok(());
        }
        // With one step, so that a process that ends meanwhile leaves no state that is half there.
        files::rename(&folder, &removed)?;
        files::remove_folder(&removed)
    }

    /// All tags, with their versions.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, u64>, CollectionError> {
        let path = self.path.join(TAGS);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        serde_json::from_str(&files::read(&path)?).map_err(|error| bad(&path, &error))
    }

    /// Writes all tags, durably.
    pub(super) fn write_tags(&self, tags: &BTreeMap<String, u64>) -> Result<(), CollectionError> {
        let path = self.path.join(TAGS);
        let text = serde_json::to_string(tags).map_err(|error| bad(&path, &error))?;
        files::write_durably(&path, &text)
    }
}

fn bad(path: &Path, error: &serde_json::Error) -> CollectionError {
    CollectionError::BadSpec { path: path.to_owned(), reason: error.to_string() }
}
