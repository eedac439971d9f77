//! The folder of the log: its files, which of them are kept, and the policies that records name.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::segment::HEADER;

const EXTENSION: &str = "audit";
const POLICIES: &str = "policies";

/// The folder of the log.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    /// Its number; a later file has a higher one.
    pub number: u64,
    /// Its path.
    pub path: PathBuf,
    /// When it was last written to.
    pub written: SystemTime,
}

impl Folder {
    /// Opens a folder, and makes it if it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path.join(POLICIES))?;
        Ok(Self(path.to_owned()))
    }

    /// The files, oldest first. Other files in the folder are left alone.
    pub fn segments(&self) -> io::Result<Vec<SegmentFile>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let Some(number) = number(&path) else { continue };
            // A file that retention removes meanwhile is not there any more.
            let Ok(written) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else { continue };
            segments.push(SegmentFile { number, path, written });
        }
        segments.sort_by_key(|segment| segment.number);
        Ok(segments)
    }

    /// Begins a new file after all others. For as long as it is open, no retention removes it.
    pub fn create(&self) -> io::Result<File> {
        let mut number = self.segments()?.last().map_or(1, |last| last.number + 1);
        loop {
            let path = self.0.join(format!("{number:010}.{EXTENSION}"));
            // Another router may share the folder: each writes files of its own.
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.lock()?;
                    file.write_all(HEADER)?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the files that `keep` does not keep, but none that this router or another still writes to.
    pub fn retain(&self, keep: Retention, now: SystemTime) -> io::Result<usize> {
        let mut removed = 0;
        for segment in keep.expired(&self.segments()?, now) {
            removed += usize::from(remove_unless_open(&segment.path)?);
        }
        Ok(removed)
    }

    /// Keeps the text of a policy under its version, whole or not at all.
    pub fn keep_policy(&self, version: &str, text: &str) -> io::Result<()> {
        let path = self.policy_path(version);
        if path.is_file() {
            return Ok(());
        }
        let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    }

    /// The text of a policy; `None` when it is not kept.
    pub fn policy(&self, version: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.policy_path(version)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Versions are digests. Whatever else a damaged record may hold leads nowhere outside the folder.
    fn policy_path(&self, version: &str) -> PathBuf {
        let name: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
        self.0.join(POLICIES).join(format!("{name}.toml"))
    }
}

/// Removes a file that nobody holds open to write to. Gives whether it did.
fn remove_unless_open(path: &Path) -> io::Result<bool> {
    let outcome = File::open(path).and_then(|file| match file.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    });
    match outcome {
        // Another router that shares the folder was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        outcome => outcome,
    }
}

/// Which files are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// The newest that are kept.
    pub segments: usize,
    /// How long after it was last written to.
    pub age: Duration,
}

impl Retention {
    /// The files that are not kept, of those given oldest first.
    fn expired<'a>(&self, segments: &'a [SegmentFile], now: SystemTime) -> Vec<&'a SegmentFile> {
        let surplus = segments.len().saturating_sub(self.segments);
        let too_old =
            |segment: &SegmentFile| now.duration_since(segment.written).is_ok_and(|elapsed| elapsed > self.age);
        let numbered = segments.iter().enumerate();
        numbered.filter(|(place, segment)| *place < surplus || too_old(segment)).map(|(_, segment)| segment).collect()
    }
}

fn number(path: &Path) -> Option<u64> {
    if path.extension()? != EXTENSION {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_in_order_and_never_written_over() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("opened");
        fs::write(temporary.path().join("notes.txt"), "mine").expect("written");
        let numbers = || -> Vec<u64> { folder.segments().expect("listed").iter().map(|file| file.number).collect() };
        let mut open: Vec<File> = (0..3).map(|_| folder.create().expect("created")).collect();
        assert_eq!(numbers(), [1, 2, 3]);
        let keep = Retention { segments: 1, age: Duration::from_secs(3600) };
        drop(open.remove(1));
        assert_eq!(folder.retain(keep, SystemTime::now()).expect("removed"), 1);
        assert_eq!(numbers(), [1, 3], "the first is still written to");
        assert!(temporary.path().join("notes.txt").is_file());
    }

    #[test]
    fn what_is_kept_is_new_enough_and_among_the_newest() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let file = |number: u64, age_s: u64| SegmentFile {
            number,
            path: PathBuf::new(),
            written: now - Duration::from_secs(age_s),
        };
        let segments = [file(1, 500), file(2, 90), file(3, 300), file(4, 10)];
        for (keep, age_s, expected) in
            [(10, 1_000, &[][..]), (2, 1_000, &[1, 2]), (10, 100, &[1, 3]), (3, 100, &[1, 3]), (1, 0, &[1, 2, 3, 4])]
        {
            let retention = Retention { segments: keep, age: Duration::from_secs(age_s) };
            let expired: Vec<u64> = retention.expired(&segments, now).iter().map(|file| file.number).collect();
            assert_eq!(expired, expected, "{keep} {age_s}");
        }
        // A clock that was set back makes nothing older.
        let early = now - Duration::from_secs(900);
        assert!(Retention { segments: 10, age: Duration::ZERO }.expired(&segments[3..], early).is_empty());
    }

    #[test]
    fn policies_are_kept_by_version() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("opened");
        assert_eq!(folder.policy("abc").expect("read"), None);
        folder.keep_policy("abc", "version = 1").expect("kept");
        folder.keep_policy("abc", "never read").expect("kept");
        assert_eq!(folder.policy("abc").expect("read").as_deref(), Some("version = 1"));
        assert_eq!(folder.policy("../../abc").expect("read").as_deref(), Some("version = 1"));
    }
}
