//! Commits that survive a power loss.
//!
//! Lance renames and links files without telling the operating system to write them out, so that a manifest may be on
//! the disk before the files that it names. This handler puts an order into it: everything that a version refers to is
//! durable before its manifest has its name, the manifest is durable before the commit returns.

use super::disk::{Disk, RealDisk};
use crate::failpoint::Failpoint;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use lance::io::ObjectStore;
use lance_core::Error as LanceError;
use lance_table::format::{IndexMetadata, Manifest, Transaction};
use lance_table::io::commit::{
    CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter, write_version_hint,
};
use lance_table::io::deletion::relative_deletion_file_path;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Folders of a Lance table.
const DATA: &str = "data";
const INDICES: &str = "_indices";
const TRANSACTIONS: &str = "_transactions";
const VERSIONS: &str = "_versions";
/// The next manifest before it has its name. Lance takes no file of this name for a manifest; there is one writer, so
/// one name does, and what a crash leaves is written over.
const STAGED: &str = ".staged";
/// Files that are synced at the same time: a file system's journal makes several durable at the price of one.
const SYNCS_IN_FLIGHT: usize = 8;

/// Commits to one table on a local disk.
#[derive(Debug)]
pub(super) struct DurableCommits {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    durable: Mutex<Durable>,
}

/// What is known to be durable. Paths are relative to the table's folder.
#[derive(Debug, Clone, Default)]
struct Durable {
    /// Files that the last version refers to.
    files: BTreeSet<PathBuf>,
    /// Folders whose own names are durable.
    folders: BTreeSet<PathBuf>,
}

impl Durable {
    /// Folders to sync for new names of `files`: those that hold them, and those above a folder that is new itself.
    fn folders_for<'a>(&self, files: impl IntoIterator<Item = &'a PathBuf>) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for holder in files.into_iter().filter_map(|file| file.parent()) {
            folders.insert(holder.to_owned());
            if !self.folders.contains(holder) {
                folders.extend(holder.ancestors().map(Path::to_owned));
            }
        }
        folders
    }
}

impl DurableCommits {
    /// Commits to the table in `folder`.
    pub(super) fn to(folder: &Path) -> Arc<Self> {
        Self::through(Arc::new(RealDisk), folder)
    }

    /// Commits through a disk of another kind.
    pub(super) fn through(disk: Arc<dyn Disk>, folder: &Path) -> Arc<Self> {
        Arc::new(Self { folder: folder.to_owned(), disk, durable: Mutex::default() })
    }

    /// Makes a version durable that another process left, or a commit whose outcome was lost: it can be seen, so that
    /// answers will rest on it.
    pub(super) async fn settle(&self, manifest: &Manifest, name: &str) -> io::Result<()> {
        let mut files = referenced_files(manifest);
        files.insert(Path::new(VERSIONS).join(name));
        // A file that is missing shows when it is read; that of a transaction need not be there for ever.
        files.retain(|file| self.folder.join(file).exists());
        self.sync_files(&files).await?;
        self.sync_names(&files).await?;
        self.durable().files = files;
        Ok(())
    }

    /// Makes the staged manifest durable, and all that it refers to and that was not durable yet.
    async fn prepare(&self, referenced: BTreeSet<PathBuf>) -> io::Result<()> {
        let fresh: BTreeSet<PathBuf> = referenced.difference(&self.durable().files).cloned().collect();
        let mut contents = fresh.clone();
        contents.insert(staged());
        self.sync_files(&contents).await?;
        self.sync_names(&fresh).await?;
        self.durable().files = referenced;
        Ok(())
    }

    /// Gives the staged manifest its name, and makes the name durable.
    async fn show(&self, name: String) -> io::Result<()> {
        let named = Path::new(VERSIONS).join(name);
        let to = named.clone();
        self.off_thread(move |disk, folder| disk.link(&folder.join(staged()), &folder.join(to))).await?;
        Failpoint::InTableCommit.reach();
        self.sync_names([&named]).await?;
        self.off_thread(|disk, folder| disk.remove(&folder.join(staged()))).await
    }

    async fn sync_files(&self, files: &BTreeSet<PathBuf>) -> io::Result<()> {
        self.sync_each(files.iter().cloned().collect(), |disk, file| disk.sync_file(file)).await
    }

    /// Makes the names of files durable.
    async fn sync_names<'a>(&self, files: impl IntoIterator<Item = &'a PathBuf>) -> io::Result<()> {
        let folders = self.durable().folders_for(files);
        self.sync_each(folders.iter().cloned().collect(), |disk, folder| disk.sync_folder(folder)).await?;
        self.durable().folders.extend(folders);
        Ok(())
    }

    async fn sync_each(&self, paths: Vec<PathBuf>, sync: fn(&dyn Disk, &Path) -> io::Result<()>) -> io::Result<()> {
        futures::stream::iter(paths)
            .map(|path| self.off_thread(move |disk, folder| sync(disk, &folder.join(path))))
            .buffer_unordered(SYNCS_IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn off_thread(
        &self,
        work: impl FnOnce(&dyn Disk, &Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (disk, folder) = (self.disk.clone(), self.folder.clone());
        tokio::task::spawn_blocking(move || work(&*disk, &folder)).await?
    }

    fn index_files(&self, index: &IndexMetadata) -> io::Result<Vec<PathBuf>> {
        let within = Path::new(INDICES).join(index.uuid.to_string());
        let folder = self.folder.join(&within);
        if !folder.is_dir() {
            // Some of Lance's own bookkeeping is listed as an index, and lies in the manifest alone.
            return Ok(Vec::new());
        }
        std::fs::read_dir(folder)?.map(|entry| Ok(within.join(entry?.file_name()))).collect()
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        // Nothing panics while it holds the lock.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn staged() -> PathBuf {
    Path::new(VERSIONS).join(STAGED)
}

/// The files that a manifest names, apart from those of indices.
fn referenced_files(manifest: &Manifest) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for fragment in manifest.fragments.iter() {
        files.extend(fragment.files.iter().map(|file| Path::new(DATA).join(&file.path)));
        let deletions = fragment.deletion_file.as_ref();
        files.extend(deletions.map(|file| PathBuf::from(relative_deletion_file_path(fragment.id, file))));
    }
    files.extend(manifest.transaction_file.as_ref().map(|name| Path::new(TRANSACTIONS).join(name)));
    files
}

#[async_trait]
impl CommitHandler for DurableCommits {
    // What a local folder does not hold now, no delayed write will put there.
    fn is_version_not_found_definitive(&self) -> bool {
        true
    }

    async fn commit(
        &self,
        manifest: &mut Manifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &ObjectPath,
        object_store: &ObjectStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<Transaction>,
    ) -> Result<ManifestLocation, CommitError> {
        let mut referenced = referenced_files(manifest);
        for index in indices.iter().flatten() {
            referenced.extend(self.index_files(index).map_err(LanceError::from)?);
        }
        let staged = base_path.clone().join(VERSIONS).join(STAGED);
        let written = manifest_writer(object_store, manifest, indices, &staged, transaction).await?;
        self.prepare(referenced).await.map_err(LanceError::from)?;
        let path = naming_scheme.manifest_path(base_path, manifest.version);
        let name = path.filename().unwrap_or_default().to_owned();
        self.show(name).await.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CommitError::CommitConflict,
            _ => CommitError::OtherError(error.into()),
        })?;
        write_version_hint(object_store, base_path, manifest.version).await;
        Ok(ManifestLocation {
            version: manifest.version,
            path,
            size: Some(written.size as u64),
            naming_scheme,
            e_tag: None,
            identity: None,
        })
    }
}

#[cfg(test)]
mod tests;
