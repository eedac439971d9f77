//! The few operations of the file system that decide what a power loss leaves, behind a seam that tests record.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

/// What makes files and names survive a power loss.
pub(super) trait Disk: Debug + Send + Sync {
    /// Makes the content of a file durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not be taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name from a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk that there is.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
