//! The data folder and the collections in it.

use super::files::{self, FolderLock};
use super::spec::CollectionSpec;
use super::{Collection, CollectionError, CollectionOptions};
use crate::vector::VectorTable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// All collections of a data folder, which no other process can open meanwhile.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    options: CollectionOptions,
    collections: RwLock<BTreeMap<String, Arc<Collection>>>,
    /// Held while collections are made and removed, one at a time.
    changing: Mutex<()>,
    _lock: FolderLock,
}

impl Catalog {
    /// Opens a data folder, made if it is not there, and every collection in it.
    ///
    /// # Errors
    /// Another process holds the folder, or a collection cannot be opened.
    pub async fn open(data_folder: &Path, options: CollectionOptions) -> Result<Self, CollectionError> {
        let lock = FolderLock::take(data_folder)?;
        let folder = data_folder.join(files::COLLECTIONS);
        files::make_folder(&folder)?;
        let (finished, unfinished) = files::folders(&folder)?;
        unfinished.iter().try_for_each(|path| files::remove_folder(path))?;
        let mut collections = BTreeMap::new();
        for path in finished {
            let collection = Collection::open(&path, &options).await?;
            collections.insert(collection.spec().name.clone(), Arc::new(collection));
        }
        Ok(Self { folder, options, collections: RwLock::new(collections), changing: Mutex::new(()), _lock: lock })
    }

    /// The collection of that name.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Arc<Collection>, CollectionError> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections.get(name).cloned().ok_or_else(|| CollectionError::NotFound { name: name.to_owned() })
    }

    /// All collections, by name.
    pub fn list(&self) -> Vec<Arc<Collection>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes an empty collection. `if_absent` asks for the existing one instead, when it is the same.
    ///
    /// # Errors
    /// [`CollectionError::Exists`], or whatever keeps the files from being written; nothing is left of them then.
    pub async fn create(&self, spec: CollectionSpec, if_absent: bool) -> Result<Arc<Collection>, CollectionError> {
        let _changing = self.changing.lock().await;
        if let Ok(existing) = self.get(&spec.name) {
            return match if_absent && existing.spec().same_as(&spec) {
                true => Ok(existing),
                false => Err(CollectionError::Exists { name: spec.name }),
            };
        }
        let unfinished = files::unfinished(&self.folder, "new");
        let made = self.make(&spec, &unfinished).await;
        if made.is_err() {
            files::remove_folder(&unfinished)?;
        }
        made?;
        let collection = Arc::new(Collection::open(&self.folder.join(&spec.name), &self.options).await?);
        let mut collections = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        collections.insert(spec.name, collection.clone());
        Ok(collection)
    }

    /// Removes a collection and its files. Searches that hold it still may fail from then on.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`], or whatever keeps the files from being removed; after a restart the rest goes.
    pub async fn delete(&self, name: &str) -> Result<(), CollectionError> {
        let _changing = self.changing.lock().await;
        let collection = self.get(name)?;
        self.collections.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        collection.close().await;
        let removed = files::unfinished(&self.folder, "removed");
        files::rename_durably(&self.folder.join(name), &removed)?;
        tokio::task::spawn_blocking(move || files::remove_folder(&removed)).await?
    }

    /// Finishes the writes that wait, and takes no more.
    pub async fn close(&self) {
        for collection in self.list() {
            collection.close().await;
        }
    }

    async fn make(&self, spec: &CollectionSpec, unfinished: &Path) -> Result<(), CollectionError> {
        files::make_folder(unfinished)?;
        VectorTable::create(&unfinished.join(&spec.table), spec.layout(), &self.options.caches).await?;
        spec.write(&unfinished.join(files::SPEC))?;
        files::rename_durably(unfinished, &self.folder.join(&spec.name))
    }
}
