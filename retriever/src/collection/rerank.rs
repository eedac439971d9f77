//! Which second stage a collection's searches have where they do not say, and the file that says so.
//!
//! It changes as the blend does, and has a file of its own for the same reason. A folder without that file has the default.

use super::{CollectionError, files};
use crate::second_stage::Wanted;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Format of the file. A program refuses formats that it does not know.
const FORMAT: u32 = 1;
/// The file in a collection's folder.
const FILE: &str = "rerank.toml";

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    method: Wanted,
}

/// Only the format: a newer one may have methods that this program does not know.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads what the collection in `folder` wants; `None` for the default.
///
/// # Errors
/// A file that is there and cannot be read, is wrong, or is of a newer format.
pub(super) fn read(folder: &Path) -> Result<Option<Wanted>, CollectionError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bad = |error: toml::de::Error| {
        let reason = error.message().to_owned();
        CollectionError::BadSpec { path: path.clone(), reason }
    };
    let text = files::read(&path)?;
    let Format { format } = toml::from_str(&text).map_err(bad)?;
    if format > FORMAT {
        return Err(CollectionError::NewerFormat { path, found: format, known: FORMAT });
    }
    let written: Written = toml::from_str(&text).map_err(bad)?;
    Ok(Some(written.method))
}

/// Writes what the collection in `folder` wants, durably; the default has no file.
///
/// # Errors
/// The file cannot be written or removed.
pub(super) fn write(folder: &Path, method: Option<Wanted>) -> Result<(), CollectionError> {
    let path = folder.join(FILE);
    let Some(method) = method else { return files::remove_file_durably(&path) };
    let bad = |error: toml::ser::Error| CollectionError::BadSpec { path: path.clone(), reason: error.to_string() };
    files::write_durably(&path, &toml::to_string(&Written { format: FORMAT, method }).map_err(bad)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_comes_back_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        for method in [Wanted::None, Wanted::LateInteraction, Wanted::CrossEncoder] {
            write(folder.path(), Some(method)).unwrap();
            assert_eq!(read(folder.path()).unwrap(), Some(method));
        }
        for _ in 0..2 {
            write(folder.path(), None).unwrap();
            assert_eq!(read(folder.path()).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_choice_is_refused_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("format = 2\nmethod = \"by_dice\"\n", "format 2"),
            ("format = 1\nmethod = \"by_dice\"\n", "by_dice"),
            ("format = 1\n", "method"),
            ("{", "rerank.toml"),
        ] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let message = read(folder.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }
}
