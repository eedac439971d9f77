//! Which files lie under the given paths, and which of them can be ingested.

use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{MAX_DOCUMENT_BYTES, Skipped};

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Markdown, perhaps with front matter.
    Markdown,
    /// Plain text.
    Plain,
    /// One JSON object on each line.
    JsonLines,
}

impl Format {
    /// By the ending of the file's name, whatever its case.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "md" | "markdown" => Some(Self::Markdown),
            "txt" | "text" | "rst" => Some(Self::Plain),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is, beginning as the caller named it.
    pub path: PathBuf,
    /// Its path inside the folder that the caller named, with forward slashes: the document's id.
    pub id: String,
    /// How it is read.
    pub format: Format,
    /// Its size.
    pub bytes: u64,
}

/// What lies under the given paths.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Files to read, sorted by path within each given folder.
    pub found: Vec<Found>,
    /// Everything else.
    pub skipped: Vec<Skipped>,
}

/// A path that the caller named cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be ingested: {source}")]
pub struct DiscoverError {
    path: PathBuf,
    source: std::io::Error,
}

/// Walks the given files and folders. Links inside folders are not followed, so
/// that a circle of them ends, and hidden folders such as `.git` are left out.
///
/// # Errors
/// When one of the given paths does not exist or cannot be looked at.
pub fn discover(paths: &[PathBuf]) -> Result<Discovery, DiscoverError> {
    let mut discovery = Discovery::default();
    for root in paths {
        fs_err::metadata(root).map_err(|source| DiscoverError { path: root.clone(), source })?;
        walk(root, &mut discovery);
    }
    Ok(discovery)
}

fn walk(root: &Path, discovery: &mut Discovery) {
    let mut entries = WalkDir::new(root).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        match entry {
            Err(error) => {
                let path = error.path().unwrap_or(root).display().to_string();
                let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                discovery.skipped.push(Skipped { path, reason });
            }
            Ok(entry) if entry.file_type().is_dir() => {
                if entry.depth() > 0 && is_hidden(&entry) {
                    discovery.skipped.push(skip(&entry, "a hidden folder"));
                    entries.skip_current_dir();
                }
            }
            Ok(entry) => match examine(root, &entry) {
                Ok(found) => discovery.found.push(found),
                Err(reason) => discovery.skipped.push(skip(&entry, &reason)),
            },
        }
    }
}

/// A file to read, or why it is none.
fn examine(root: &Path, entry: &DirEntry) -> Result<Found, String> {
    // The caller may name a link; one that lies in a folder is not followed.
    let metadata =
        if entry.depth() == 0 { fs_err::metadata(entry.path()) } else { entry.metadata().map_err(Into::into) }
            .map_err(|error| error.to_string())?;
    if metadata.is_symlink() {
        return Err("a symbolic link".to_owned());
    }
    if !metadata.is_file() {
        return Err("neither a file nor a folder".to_owned());
    }
    let Some(format) = Format::of(entry.path()) else {
        return Err(match entry.path().extension().and_then(|ending| ending.to_str()) {
            Some(ending) => format!("files of type .{ending} are not read"),
            None => "files without a type in their name are not read".to_owned(),
        });
    };
    // A file of JSON lines holds many documents, each of which is checked by itself.
    if format != Format::JsonLines && metadata.len() > MAX_DOCUMENT_BYTES {
        return Err(format!("it has {} bytes; the limit is {MAX_DOCUMENT_BYTES}", metadata.len()));
    }
    let id = relative_id(root, entry.path()).ok_or("its name is not UTF-8")?;
    Ok(Found { path: entry.path().to_owned(), id, format, bytes: metadata.len() })
}

/// The path inside `root` with forward slashes; a file that was named by itself keeps its name.
fn relative_id(root: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root).ok()?;
    if inside.as_os_str().is_empty() {
        return path.file_name()?.to_str().map(str::to_owned);
    }
    let parts = inside.components().map(|component| match component {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with('.'))
}

fn skip(entry: &DirEntry, reason: &str) -> Skipped {
    Skipped { path: entry.path().display().to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, content: &[u8]) {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs_err::write(path, content).expect("written");
    }

    #[test]
    fn a_folder_is_walked_in_order_and_the_rest_is_explained() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b/two.MD", "a.txt", "c.jsonl", "logo.png", "Makefile", ".git/config"] {
            write(folder.path(), name, b"x");
        }
        let discovery = discover(&[folder.path().to_owned()]).expect("there");
        let ids: Vec<_> = discovery.found.iter().map(|found| (found.id.as_str(), found.format)).collect();
        let expected = [("a.txt", Format::Plain), ("b/two.MD", Format::Markdown), ("c.jsonl", Format::JsonLines)];
        assert_eq!(ids, expected);
        let reasons: Vec<_> = discovery.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        let expected =
            ["a hidden folder", "files without a type in their name are not read", "files of type .png are not read"];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn a_file_may_be_named_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "deep/page.md", b"x");
        let discovery = discover(&[folder.path().join("deep/page.md")]).expect("there");
        assert_eq!(discovery.found[0].id, "page.md");
    }

    #[test]
    fn a_file_beyond_the_limit_is_named_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = fs_err::File::create(folder.path().join("big.md")).expect("made");
        file.set_len(MAX_DOCUMENT_BYTES + 1).expect("grown");
        let discovery = discover(&[folder.path().to_owned()]).expect("there");
        assert_eq!(discovery.skipped[0].reason, "it has 16777217 bytes; the limit is 16777216");
    }

    #[test]
    fn a_path_that_is_not_there_stops_the_whole() {
        let error = discover(&[PathBuf::from("/nowhere/at/all")]).expect_err("absent");
        assert!(error.to_string().starts_with("/nowhere/at/all cannot be ingested"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed_into_circles() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "a.md", b"x");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).expect("linked");
        let discovery = discover(&[folder.path().to_owned()]).expect("there");
        assert_eq!(discovery.found.len(), 1);
        assert_eq!(discovery.skipped[0].reason, "a symbolic link");
    }
}
