//! The data folder and the collections in it.

use super::files::{self, FolderLock};
use super::spec::CollectionSpec;
use super::{Collection, CollectionError, CollectionOptions, succession};
use crate::vector::VectorTable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// All collections of a data folder, which no other process can open meanwhile.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    pub(super) options: CollectionOptions,
    /// By tenant and name.
    collections: RwLock<BTreeMap<(String, String), Arc<Collection>>>,
    /// Held while collections are made and removed, one at a time.
    pub(super) changing: Mutex<()>,
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
            // What opening needs on the way is a lot for the stack of whoever waits for it.
            let collection = Box::pin(Collection::open_with_next(&path, &options)).await?;
            succession::remove_other_tables(&path)?;
            let spec = collection.spec();
            let key = (spec.tenant.clone(), spec.name.clone());
            collections.insert(key, Arc::new(collection));
        }
        Ok(Self { folder, options, collections: RwLock::new(collections), changing: Mutex::new(()), _lock: lock })
    }

    /// The collection of that name among those without a named tenant.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Arc<Collection>, CollectionError> {
        self.get_of("", name)
    }

    /// The collection of that name among a tenant's. One of another tenant is as if it were not there.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`].
    pub fn get_of(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, CollectionError> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        let found = collections.get(&(tenant.to_owned(), name.to_owned())).cloned();
        found.ok_or_else(|| CollectionError::NotFound { name: name.to_owned() })
    }

    /// All collections of a tenant, by name.
    pub fn list_of(&self, tenant: &str) -> Vec<Arc<Collection>> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        let theirs = collections.iter().filter(|((owner, _), _)| owner == tenant);
        theirs.map(|(_, collection)| Arc::clone(collection)).collect()
    }

    /// All collections of all tenants, for what the retriever does by itself.
    pub fn list_all(&self) -> Vec<Arc<Collection>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes an empty collection. `if_absent` asks for the existing one instead, when it is the same.
    ///
    /// # Errors
    /// [`CollectionError::Exists`], or whatever keeps the files from being written; nothing is left of them then.
    pub async fn create(&self, spec: CollectionSpec, if_absent: bool) -> Result<Arc<Collection>, CollectionError> {
        let _changing = self.changing.lock().await;
        if let Ok(existing) = self.get_of(&spec.tenant, &spec.name) {
            return match if_absent && existing.spec().same_as(&spec) {
                true => Ok(existing),
                false => Err(CollectionError::Exists { name: spec.name }),
            };
        }
        let unfinished = files::unfinished(&self.folder, "new");
        let place = self.folder.join(spec.folder());
        let made = self.make(&spec, &unfinished, &place).await;
        if made.is_err() {
            files::remove_folder(&unfinished)?;
        }
        made?;
        let collection = Arc::new(Collection::open(&place, &self.options).await?);
        self.put(collection.clone());
        Ok(collection)
    }

    /// Shows a collection to those who look for it, in place of the one of its name.
    pub(super) fn put(&self, collection: Arc<Collection>) {
        let key = (collection.spec().tenant.clone(), collection.spec().name.clone());
        self.collections.write().unwrap_or_else(PoisonError::into_inner).insert(key, collection);
    }

    /// Removes a tenant's collection and its files. Searches that hold it still may fail from then on.
    ///
    /// # Errors
    /// [`CollectionError::NotFound`], or whatever keeps the files from being removed; after a restart the rest goes.
    pub async fn delete_of(&self, tenant: &str, name: &str) -> Result<(), CollectionError> {
        let _changing = self.changing.lock().await;
        let collection = self.get_of(tenant, name)?;
        let key = (tenant.to_owned(), name.to_owned());
        self.collections.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        collection.close().await;
        let removed = files::unfinished(&self.folder, "removed");
        files::rename_durably(&self.folder.join(collection.spec().folder()), &removed)?;
        tokio::task::spawn_blocking(move || files::remove_folder(&removed)).await?
    }

    /// Finishes the writes that wait, and takes no more.
    pub async fn close(&self) {
        for collection in self.list_all() {
            collection.close().await;
        }
    }

    /// Makes the folder of an empty collection at `unfinished`, and gives it its place when it is whole.
    pub(super) async fn make(
        &self,
        spec: &CollectionSpec,
        unfinished: &Path,
        place: &Path,
    ) -> Result<(), CollectionError> {
        files::make_folder(unfinished)?;
        VectorTable::create(&unfinished.join(&spec.table), spec.layout(), &self.options.caches).await?;
        spec.write(&unfinished.join(files::SPEC))?;
        files::rename_durably(unfinished, place)
    }
}
