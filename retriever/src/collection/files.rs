//! Names of files and folders, and the few operations on them that must be durable or atomic.

use super::CollectionError;
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Folder of all collections in the data folder.
pub(super) const COLLECTIONS: &str = "collections";
/// File in the data folder that its process holds locked.
pub(super) const LOCK: &str = "LOCK";
/// Description of a collection.
pub(super) const SPEC: &str = "collection.toml";
/// The lexical index of a collection.
pub(super) const LEXICAL: &str = "lexical";

/// Names that begin with this mark belong to something unfinished: a collection that is being made or removed. No
/// collection's name begins so.
const UNFINISHED: char = '.';

/// Keeps other processes out of a data folder for as long as it lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    /// The lock goes with the open file; the operating system takes it back when the process ends, however it ends.
    _file: File,
}

impl FolderLock {
    /// Locks `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`CollectionError::InUse`] when another process holds it.
    pub(super) fn take(folder: &Path) -> Result<Self, CollectionError> {
        make_folder(folder)?;
        let path = folder.join(LOCK);
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        let file = options.map_err(cannot("cannot open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(CollectionError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => Err(cannot("cannot lock", &path)(error)),
        }
    }
}

/// A new name beside the finished ones.
pub(super) fn unfinished(parent: &Path, purpose: &str) -> PathBuf {
    parent.join(format!("{UNFINISHED}{purpose}-{}", uuid::Uuid::new_v4().simple()))
}

/// Folders in `parent`, by name: the finished ones, then the unfinished ones.
pub(super) fn folders(parent: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), CollectionError> {
    let failed = || cannot("cannot list", parent);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(parent).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    let finished =
        |path: &PathBuf| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED));
    Ok(paths.into_iter().partition(finished))
}

/// Makes a folder and those above it, and their names durable.
pub(super) fn make_folder(path: &Path) -> Result<(), CollectionError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(path).map_err(cannot("cannot make", path))?;
    let holders = missing.iter().filter_map(|folder| folder.parent());
    // The parent of a relative path's first part has no name.
    holders.map(|holder| if holder.as_os_str().is_empty() { Path::new(".") } else { holder }).try_for_each(sync_folder)
}

/// Removes a folder with all that is in it, and does nothing when it is not there.
pub(super) fn remove_folder(path: &Path) -> Result<(), CollectionError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("cannot remove", path)(error)),
        _ => Ok(()),
    }
}

/// Gives a folder another name beside its old one; after a power loss it has one of the two.
pub(super) fn rename_durably(from: &Path, to: &Path) -> Result<(), CollectionError> {
    std::fs::rename(from, to).map_err(cannot("cannot rename", from))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Removes a file, and its name durably; does nothing when it is not there.
pub(super) fn remove_file_durably(path: &Path) -> Result<(), CollectionError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("cannot remove", path)(error)),
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
    }
}

/// Writes a file in one piece: whoever opens it finds nothing or all of it.
pub(super) fn write_durably(path: &Path, text: &str) -> Result<(), CollectionError> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(cannot("cannot write", &partial))?;
    rename_durably(&partial, path)
}

/// Writes a file, not durably.
pub(super) fn write(path: &Path, text: &str) -> Result<(), CollectionError> {
    std::fs::write(path, text).map_err(cannot("cannot write", path))
}

/// Gives a folder another name, not durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), CollectionError> {
    std::fs::rename(from, to).map_err(cannot("cannot rename", from))
}

/// Makes the files in a folder durable, and their names.
pub(super) fn sync_all(folder: &Path) -> Result<(), CollectionError> {
    for entry in std::fs::read_dir(folder).map_err(cannot("cannot list", folder))? {
        let path = entry.map_err(cannot("cannot list", folder))?.path();
        if path.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).map_err(cannot("cannot sync", &path))?;
        }
    }
    sync_folder(folder)
}

/// Bytes of the files in folders and in those below them. A file counts once, however many names it has in them.
pub(super) fn bytes(folders: &[PathBuf]) -> Result<u64, CollectionError> {
    let (mut bytes, mut seen) = (0, HashSet::new());
    let mut waiting = folders.to_vec();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).map_err(cannot("cannot list", &folder))? {
            let path = entry.map_err(cannot("cannot list", &folder))?.path();
            let metadata = path.symlink_metadata().map_err(cannot("cannot read", &path))?;
            if metadata.is_dir() {
                waiting.push(path);
            } else if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), CollectionError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(cannot("cannot sync", path))
}

/// Reads a text file.
pub(super) fn read(path: &Path) -> Result<String, CollectionError> {
    std::fs::read_to_string(path).map_err(cannot("cannot read", path))
}

fn cannot(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CollectionError + use<> {
    let path = path.to_owned();
    move |source| CollectionError::Files { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_folder_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let message = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(message.contains(&*folder.path().to_string_lossy()), "{message}");
        drop(held);
        FolderLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_file_with_two_names_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other/below"));
        make_folder(&one).unwrap();
        make_folder(&other).unwrap();
        write(&one.join("file"), "12345").unwrap();
        write(&one.join("own"), "123").unwrap();
        std::fs::hard_link(one.join("file"), other.join("again")).unwrap();
        assert_eq!(bytes(&[one, folder.path().join("other")]).unwrap(), 8);
    }

    #[test]
    fn folders_are_made_with_those_above_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b").join("c");
        make_folder(&path).unwrap();
        make_folder(&path).unwrap();
        assert!(path.is_dir());
        write_durably(&folder.path().join("file"), "x").unwrap();
        let message = make_folder(&folder.path().join("file").join("d")).unwrap_err().to_string();
        assert!(message.contains("file"), "{message}");
    }

    #[test]
    fn unfinished_folders_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = unfinished(folder.path(), "new");
        for path in [&unfinished, &folder.path().join("b"), &folder.path().join("a")] {
            make_folder(path).unwrap();
        }
        write_durably(&folder.path().join("file"), "x").unwrap();
        let expected = (vec![folder.path().join("a"), folder.path().join("b")], vec![unfinished]);
        assert_eq!(folders(folder.path()).unwrap(), expected);
    }
}
