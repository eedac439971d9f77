//! A collection's successor: the same documents with the vectors of another encoder.
//!
//! The successor is a collection of its own, in a folder within the collection's, and grows there while the collection
//! serves and takes writes. Once it holds every document it takes the collection's place: the description that names
//! its table is written over the collection's, which is the moment that counts, and its files are moved to where the
//! description says. A process that ends in between finishes the move when it starts again.

use super::catalog::Catalog;
use super::directory::Directory;
use super::spec::{CollectionSpec, EmbedderRef};
use super::{Blend, Collection, CollectionError, CollectionOptions, files, snapshots, upgrade};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{MutexGuard, RwLockWriteGuard};
use trivium_service_kit::Error;

/// Folder of the successor in the folder of its collection.
const NEXT: &str = "next";
/// How long searches that began before may go on reading the table of a collection that was succeeded.
const READERS_PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether they have gone.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How far the successor of a collection has come.
#[derive(Debug, Clone)]
pub struct Succession {
    /// The encoder of its vectors.
    pub embedder: EmbedderRef,
    /// Documents that it did not hold when they were counted last; all of them before that.
    pub documents_left: u64,
    /// Why it stands still.
    pub problem: Option<Error>,
}

/// What sets a successor apart from its collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Documents that it lacks, or holds with other content, in the order of their ids.
    pub missing: Vec<String>,
    /// Documents that the collection does not hold any more, in the order of their ids.
    pub surplus: Vec<String>,
}

impl Difference {
    /// Compares the directories of a collection and of its successor.
    fn between(collection: &Directory, successor: &Directory) -> Self {
        let lacks = |(id, entry): &(&str, &super::DocumentEntry)| {
            successor.get(id).is_none_or(|theirs| theirs.hash != entry.hash)
        };
        let mut missing: Vec<String> = collection.entries().filter(lacks).map(|(id, _)| id.to_owned()).collect();
        let gone = |(id, _): &(&str, &super::DocumentEntry)| collection.get(id).is_none();
        let mut surplus: Vec<String> = successor.entries().filter(gone).map(|(id, _)| id.to_owned()).collect();
        missing.sort();
        surplus.sort();
        Self { missing, surplus }
    }

    /// Documents that differ.
    pub fn len(&self) -> usize {
        self.missing.len() + self.surplus.len()
    }

    /// Whether both hold the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Collection {
    /// How far the successor has come; `None` when there is none.
    pub fn succession(&self) -> Option<Arc<Succession>> {
        self.succession.load_full()
    }

    /// Notes how far it has come.
    pub fn note_succession(&self, succession: Succession) {
        self.succession.store(Some(Arc::new(succession)));
    }

    /// The successor that grows beside the collection. Hold the guard while documents are copied to it: a purge waits for
    /// it, so that none is copied that was erased meanwhile.
    pub async fn next(&self) -> MutexGuard<'_, Option<Arc<Collection>>> {
        self.next.lock().await
    }

    /// The collection that took this one's place.
    pub fn successor(&self) -> Option<&Arc<Collection>> {
        self.successor.get()
    }

    /// What sets the successor apart from the published state.
    pub fn difference_to(&self, next: &Collection) -> Difference {
        self.shared.with_directory(|ours| next.shared.with_directory(|theirs| Difference::between(ours, theirs)))
    }

    /// Lets no write begin for as long as the guard lives, and waits for those that have begun. To be taken before
    /// [`Collection::next`].
    pub async fn hold_writes(&self) -> RwLockWriteGuard<'_, ()> {
        self.writes.write().await
    }
}

impl Catalog {
    /// Gives a collection an empty successor that is described so; one by the same encoder is kept as it is, another one
    /// goes.
    ///
    /// # Errors
    /// Whatever keeps the files from being written. The collection is untouched then.
    pub async fn begin_successor(&self, collection: &Collection, spec: CollectionSpec) -> Result<(), CollectionError> {
        let mut next = collection.next().await;
        if next.as_ref().is_some_and(|next| next.spec().embedder == spec.embedder) {
            return Ok(());
        }
        drop_next(collection, &mut next).await?;
        let path = collection.folder.join(NEXT);
        self.make(&spec, &files::unfinished(&collection.folder, NEXT), &path).await?;
        *next = Some(Arc::new(Collection::open(&path, &self.options).await?));
        collection.note_succession(Succession {
            embedder: spec.embedder,
            documents_left: collection.published().documents,
            problem: None,
        });
        Ok(())
    }

    /// Takes a collection's successor away again, if it has one.
    ///
    /// # Errors
    /// Its files cannot be removed.
    pub async fn drop_successor(&self, collection: &Collection) -> Result<(), CollectionError> {
        drop_next(collection, &mut *collection.next().await).await
    }

    /// Puts the successor in its collection's place, and gives it. The caller holds the collection's writes, and has seen
    /// to it that both hold the same documents. Versions count on, so that whoever waits for one is not misled; kept
    /// states, tags and the collection's own blend belong to the vectors of before, and are lost.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`] when there is no successor or the collection is closed, and whatever keeps the files
    /// from being written or read. Where the description could not be written, the collection goes on as it was.
    pub async fn succeed(&self, collection: &Arc<Collection>) -> Result<Arc<Collection>, CollectionError> {
        let _changing = self.changing.lock().await;
        let not_found = || CollectionError::NotFound { name: collection.spec.name.clone() };
        let mut next = collection.next().await;
        let successor = next.take().filter(|_| !collection.is_closed()).ok_or_else(not_found)?;
        collection.end().await;
        successor.close().await;
        let spec = successor.spec().clone().counting_on(collection.published().version());
        // The successor's files are moved, so nothing may hold them open.
        drop(successor);
        let path = collection.folder.join(files::SPEC);
        let written = tokio::task::spawn_blocking(move || spec.write(&path)).await?;
        let opened = Arc::new(Collection::open_with_next(&collection.folder, &self.options).await?);
        self.put(opened.clone());
        // There is none before, because the collection was not closed before.
        let _ = collection.successor.set(opened.clone());
        collection.shared.close();
        written.map(|()| opened)
    }
}

impl Collection {
    /// As [`Collection::open`], with the successor that grows in its folder, if there is one; a move that was cut short is
    /// finished first.
    pub(super) async fn open_with_next(folder: &Path, options: &CollectionOptions) -> Result<Self, CollectionError> {
        let path = folder.to_owned();
        tokio::task::spawn_blocking(move || finish_move(&path)).await??;
        let collection = Self::open(folder, options).await?;
        let path = folder.join(NEXT);
        if !path.exists() {
            return Ok(collection);
        }
        match Self::open(&path, options).await {
            Ok(next) => {
                let documents_left = collection.difference_to(&next).missing.len() as u64;
                let embedder = next.spec.embedder.clone();
                collection.note_succession(Succession { embedder, documents_left, problem: None });
                *collection.next.lock().await = Some(Arc::new(next));
            }
            // It holds nothing that the collection does not hold, and goes when the next one begins.
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(collection = collection.spec.name, error, "vectors of another encoder cannot be read");
            }
        }
        Ok(collection)
    }

    /// Removes the table of a collection that was succeeded, once nobody reads it any more.
    pub async fn remove_succeeded(self: Arc<Self>) -> Result<(), CollectionError> {
        let gone = async {
            while Arc::strong_count(&self) > 1 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(READERS_PATIENCE, gone).await.is_err() {
            tracing::warn!(collection = self.spec.name, "files go that a long search may be reading");
        }
        let table = self.folder.join(&self.spec.table);
        drop(self);
        tokio::task::spawn_blocking(move || files::remove_folder(&table)).await?
    }
}

/// Removes the tables in a collection's folder that it does not name: those of collections that were succeeded.
pub(super) fn remove_other_tables(folder: &Path) -> Result<(), CollectionError> {
    let spec = CollectionSpec::read(&folder.join(files::SPEC))?;
    let (folders, _) = files::folders(folder)?;
    let is_other = |path: &&std::path::PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        CollectionSpec::names_table(&name) && name != spec.table.as_str()
    };
    folders.iter().filter(is_other).try_for_each(|path| files::remove_folder(path))
}

async fn drop_next(collection: &Collection, next: &mut Option<Arc<Collection>>) -> Result<(), CollectionError> {
    if let Some(next) = next.take() {
        next.close().await;
    }
    collection.succession.store(None);
    let folder = collection.folder.clone();
    tokio::task::spawn_blocking(move || remove_next(&folder)).await?
}

/// Removes what is in the successor's place, in one step, so that no half of it is ever taken for a successor.
fn remove_next(folder: &Path) -> Result<(), CollectionError> {
    let path = folder.join(NEXT);
    if !path.exists() {
        return Ok(());
    }
    let removed = files::unfinished(folder, "replaced");
    files::rename_durably(&path, &removed)?;
    files::remove_folder(&removed)
}

/// Moves the files of a successor that the description names already. Each step may have been done before.
fn finish_move(folder: &Path) -> Result<(), CollectionError> {
    let next = folder.join(NEXT);
    if !next.exists() {
        return Ok(());
    }
    let table = CollectionSpec::read(&folder.join(files::SPEC))?.table;
    // A successor that cannot be read has not taken anybody's place.
    if !CollectionSpec::read(&next.join(files::SPEC)).is_ok_and(|spec| spec.table == table) {
        return Ok(());
    }
    replace(&next.join(&table), &folder.join(&table), folder)?;
    replace(&next.join(files::LEXICAL), &folder.join(files::LEXICAL), folder)?;
    let states = folder.join(snapshots::FOLDER);
    if states.exists() {
        files::rename_durably(&states, &files::unfinished(folder, "replaced"))?;
    }
    Blend::default().write(folder)?;
    upgrade::forget(folder)?;
    remove_next(folder)
}

/// Puts `new` in the place of `old`, unless that was done before.
fn replace(new: &Path, old: &Path, folder: &Path) -> Result<(), CollectionError> {
    if !new.exists() {
        return Ok(());
    }
    if old.exists() {
        files::rename_durably(old, &files::unfinished(folder, "replaced"))?;
    }
    files::rename_durably(new, old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::ContentHash;
    use crate::vector::{RowKey, RowPlace};

    fn directory(documents: &[(&str, u128)]) -> Directory {
        let key = |(place, (id, hash)): (usize, &(&str, u128))| RowKey {
            place: RowPlace { row_id: place as u64, fragment: 0, offset: place as u32 },
            document_id: (*id).into(),
            chunk_no: 0,
            document_hash: ContentHash::from_u128(*hash),
            chunk_hash: ContentHash::from_u128(1),
        };
        Directory::from_keys(&documents.iter().enumerate().map(key).collect::<Vec<_>>())
    }

    #[test]
    fn documents_that_are_missing_changed_or_gone_differ() {
        let collection = directory(&[("same", 1), ("new", 2), ("changed", 3)]);
        let successor = directory(&[("same", 1), ("changed", 4), ("gone", 5)]);
        let difference = Difference::between(&collection, &successor);
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(difference, Difference { missing: ids(&["changed", "new"]), surplus: ids(&["gone"]) });
        assert_eq!(difference.len(), 3);
        assert!(Difference::between(&collection, &collection).is_empty());
    }
}
