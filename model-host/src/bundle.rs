//! Model bundles: folders `<models_dir>/<name>/<version>/` whose manifest names every
//! file with its size and hash, and the registry that finds, checks and loads them.

mod alias;
mod files;
mod manifest;
mod precision;
mod registry;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use alias::ShadowAlias;
pub use files::sha256_hex;
pub use manifest::{
    CrossEncoderSpec, EncoderSpec, FORMAT, FileEntry, IntentEncoder, IntentSpec, Manifest, ModelSpec, OLDEST_FORMAT,
    Pooling, Prefixes, ProjectionSpec,
};
pub use precision::{LARGEST_INT8_LOSS_POINTS, Precision, PrecisionChoice, PrecisionReport};
pub use registry::{Bundle, BundleSummary, Registry, default_models_dir};
pub use writer::BundleWriter;

/// The manifest's file name inside a bundle.
pub const MANIFEST_FILE: &str = "manifest.toml";
/// The graph's file name inside a bundle with an encoder.
pub const GRAPH_FILE: &str = "model.onnx";
/// The name of the same graph with eight-bit weights.
pub const INT8_GRAPH_FILE: &str = "model.int8.onnx";
/// The tokenizer's file name inside a bundle with an encoder.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The classifier's file name inside an intent bundle.
pub const HEAD_FILE: &str = "head.safetensors";
/// The name of the file with what an out-of-scope score needs when it serves.
pub const STATISTICS_FILE: &str = "statistics.safetensors";
/// The name of the file with the validation queries that labels which join an intent model
/// later are calibrated against.
pub const CALIBRATION_FILE: &str = "calibration.safetensors";
/// The name of the matrix inside a projection bundle.
pub const PROJECTION_FILE: &str = "projection.safetensors";
/// The name of the report for people inside an intent bundle.
pub const REPORT_FILE: &str = "report.html";

/// One version of one model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// The model's name: the folder under the models folder.
    pub name: ModelId,
    /// Its version: the folder under that.
    pub version: ModelId,
}

impl ModelRef {
    /// Checks both parts.
    pub fn new(name: &str, version: &str) -> Result<Self, InvalidModelId> {
        Ok(Self { name: name.parse()?, version: version.parse()? })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.version)
    }
}

/// A model's name or version: a single folder name, so that no request can reach
/// outside the models folder. 1 to 64 ASCII letters, digits, `.`, `_` and `-`, the first
/// of them a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId(String);

impl ModelId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not a model's name or version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a model name or version: 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit"
)]
pub struct InvalidModelId(String);

impl FromStr for ModelId {
    type Err = InvalidModelId;

    fn from_str(text: &str) -> Result<Self, InvalidModelId> {
        let first_fits = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest_fits = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if first_fits && rest_fits && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidModelId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for ModelId {
    type Error = InvalidModelId;

    fn try_from(text: String) -> Result<Self, InvalidModelId> {
        text.parse()
    }
}

impl From<ModelId> for String {
    fn from(id: ModelId) -> Self {
        id.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a bundle cannot be found, read, trusted or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A name or version cannot be a folder name.
    #[error(transparent)]
    InvalidId(#[from] InvalidModelId),
    /// No such version in the models folder.
    #[error("model {model} is not in {models_dir}")]
    NotFound {
        /// The model asked for.
        model: String,
        /// The folder that was searched.
        models_dir: PathBuf,
    },
    /// The model has versions, but none is named to serve.
    #[error("model {name} has no production version in {aliases}")]
    NoProduction {
        /// The model asked for.
        name: ModelId,
        /// The file that would name the version.
        aliases: PathBuf,
    },
    /// A file that the manifest names, or the manifest itself, is not there.
    #[error("{path} is missing")]
    MissingFile {
        /// The absent file.
        path: PathBuf,
    },
    /// A file's size is not the manifest's: it was cut short or changed.
    #[error("{path} has {found} bytes, expected {expected}")]
    WrongSize {
        /// The damaged file.
        path: PathBuf,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes on disk.
        found: u64,
    },
    /// A file's content is not the manifest's.
    #[error("{path} has sha256 {found}, expected {expected}")]
    WrongHash {
        /// The damaged file.
        path: PathBuf,
        /// Hash by the manifest, lower-case hexadecimal.
        expected: String,
        /// Hash of what is on disk.
        found: String,
    },
    /// The manifest was written by a version of Trivium that this one does not know.
    #[error("{path} has format {found}, expected {OLDEST_FORMAT} to {expected}")]
    UnknownFormat {
        /// The manifest.
        path: PathBuf,
        /// The newest format that this program reads.
        expected: u32,
        /// The format in the file.
        found: u32,
    },
    /// The manifest or alias file is not TOML, or lacks a field.
    #[error("{path} cannot be read: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The manifest contradicts its folder or itself.
    #[error("{path}: {reason}")]
    Inconsistent {
        /// The manifest.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The bundle holds another kind of model than was asked for.
    #[error("model {model} is of kind {found}, expected {expected}")]
    WrongKind {
        /// The model asked for.
        model: ModelRef,
        /// The kind asked for.
        expected: &'static str,
        /// Its kind.
        found: &'static str,
    },
    /// A version is never overwritten: answers name it.
    #[error("model {0} exists already; versions are never overwritten")]
    Exists(ModelRef),
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl BundleError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_single_folder_names() {
        for good in ["minilm", "1", "v1.2-rc_3", "A"] {
            assert!(good.parse::<ModelId>().is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "-a", "ä", "a b", &long] {
            assert!(bad.parse::<ModelId>().is_err(), "{bad}");
        }
    }
}
