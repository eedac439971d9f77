//! `aliases.toml`: which version of a model serves.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::files::write_atomic;
use super::{BundleError, ModelId};

/// The alias file's name inside a model's folder.
pub(super) const ALIAS_FILE: &str = "aliases.toml";

/// What the alias file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aliases {
    /// The version that serves.
    pub(super) production: Option<ModelId>,
}

impl Aliases {
    /// Reads the alias file of the model in `folder`; an absent file names nothing.
    pub(super) fn read(folder: &Path) -> Result<Self, BundleError> {
        let path = folder.join(ALIAS_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(BundleError::Io { path, source }),
        };
        toml::from_str(&text).map_err(|source| BundleError::Malformed { path, source: Box::new(source) })
    }

    /// Replaces the alias file of the model in `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BundleError> {
        let path = folder.join(ALIAS_FILE);
        let text = toml::to_string(self)
            .map_err(|error| BundleError::Inconsistent { path: path.clone(), reason: error.to_string() })?;
        write_atomic(&path, text.as_bytes()).map_err(BundleError::io(&path))
    }
}
