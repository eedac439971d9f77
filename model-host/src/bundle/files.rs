//! File system steps that bundles need: hashing, and writes that are whole or absent.

use std::io::{self, Read, Write};
use std::path::Path;

use fs_err as fs;
use sha2::{Digest, Sha256};

use super::{BundleError, FileEntry};

/// Lower-case hexadecimal SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file of the bundle in `folder` and compares it with its manifest entry.
pub(super) fn read_checked(folder: &Path, entry: &FileEntry) -> Result<Vec<u8>, BundleError> {
    let path = folder.join(entry.name.as_str());
    check_size(&path, entry)?;
    let bytes = fs::read(&path).map_err(BundleError::io(&path))?;
    compare(&path, entry, sha256_hex(&bytes))?;
    Ok(bytes)
}

/// As [`read_checked`], without keeping the content.
pub(super) fn verify(folder: &Path, entry: &FileEntry) -> Result<(), BundleError> {
    let path = folder.join(entry.name.as_str());
    check_size(&path, entry)?;
    let found = sha256_of_file(&path).map_err(BundleError::io(&path))?;
    compare(&path, entry, found)
}

/// Writes `bytes` to `path` so that a reader, or the next start after a crash, sees
/// either the old content or the whole new one.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", uuid::Uuid::new_v4().simple()));
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_parent(path)
}

/// Writes a new file and waits until it is on the disk.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename or creation in the parent folder durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Compares a file's size with its manifest entry.
pub(super) fn check_size(path: &Path, entry: &FileEntry) -> Result<(), BundleError> {
    let found = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BundleError::MissingFile { path: path.to_owned() });
        }
        Err(source) => {
            return Err(BundleError::Io { path: path.to_owned(), source });
        }
    };
    if found == entry.bytes {
        return Ok(());
    }
    Err(BundleError::WrongSize { path: path.to_owned(), expected: entry.bytes, found })
}

fn compare(path: &Path, entry: &FileEntry, found: String) -> Result<(), BundleError> {
    if found == entry.sha256 {
        return Ok(());
    }
    Err(BundleError::WrongHash { path: path.to_owned(), expected: entry.sha256.clone(), found })
}

fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // The first test vector of FIPS 180-2.
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn an_atomic_write_replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aliases.toml");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
