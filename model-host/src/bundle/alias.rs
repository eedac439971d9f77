//! `aliases.toml`: which version of a model serves.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::files::write_atomic;
use super::{BundleError, ModelId};

/// The alias file's name inside a model's folder.
pub(super) const ALIAS_FILE: &str = "aliases.toml";

/// How many versions a rollback can go back, at most.
const MOST_PREVIOUS: usize = 16;

/// What the alias file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aliases {
    /// The version that serves.
    pub(super) production: Option<ModelId>,
    /// The versions that served before it, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) previous: Vec<ModelId>,
    /// The version that sees a share of the queries beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shadow: Option<ShadowAlias>,
}

/// A second version, and how much it sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowAlias {
    /// The version.
    pub version: ModelId,
    /// Share of the queries, above 0 and at most 1.
    pub share: f64,
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

    /// The same with another version in production. A version that serves already leaves no
    /// trace of itself, so that a rollback always changes something.
    pub(super) fn promoted(mut self, version: ModelId) -> Self {
        if let Some(before) = self.production.take().filter(|before| *before != version) {
            self.previous.push(before);
            let excess = self.previous.len().saturating_sub(MOST_PREVIOUS);
            self.previous.drain(..excess);
        }
        // A shadow that serves would be compared with itself.
        self.shadow = self.shadow.filter(|shadow| shadow.version != version);
        Self { production: Some(version), ..self }
    }

    /// The same with the version before in production, if there is one.
    pub(super) fn rolled_back(mut self) -> Option<Self> {
        let version = self.previous.pop()?;
        self.shadow = self.shadow.filter(|shadow| shadow.version != version);
        Some(Self { production: Some(version), ..self })
    }

    /// Replaces the alias file of the model in `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BundleError> {
        let path = folder.join(ALIAS_FILE);
        let text = toml::to_string(self)
            .map_err(|error| BundleError::Inconsistent { path: path.clone(), reason: error.to_string() })?;
        write_atomic(&path, text.as_bytes()).map_err(BundleError::io(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ModelId {
        text.parse().unwrap()
    }

    fn promoted(versions: &[&str]) -> Aliases {
        versions.iter().fold(Aliases::default(), |aliases, text| aliases.promoted(version(text)))
    }

    #[test]
    fn rollbacks_go_back_one_by_one() {
        let aliases = promoted(&["1", "2", "3"]);
        assert_eq!(aliases.production, Some(version("3")));
        let aliases = aliases.rolled_back().unwrap();
        assert_eq!(aliases.production, Some(version("2")));
        let aliases = aliases.rolled_back().unwrap();
        assert_eq!(aliases.production, Some(version("1")));
        assert_eq!(aliases.rolled_back(), None);
    }

    #[test]
    fn promoting_what_serves_changes_nothing() {
        assert_eq!(promoted(&["1", "2", "2"]), promoted(&["1", "2"]));
    }

    #[test]
    fn the_memory_of_versions_is_bounded() {
        let versions: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
        let aliases = promoted(&versions.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(aliases.previous.len(), MOST_PREVIOUS);
        assert_eq!(aliases.previous.last(), Some(&version("39")));
    }

    #[test]
    fn a_promoted_shadow_is_none_any_more() {
        let shadow = |text: &str| Some(ShadowAlias { version: version(text), share: 0.5 });
        let aliases = Aliases { shadow: shadow("2"), ..promoted(&["1"]) };
        assert_eq!(aliases.clone().promoted(version("3")).shadow, shadow("2"));
        assert_eq!(aliases.promoted(version("2")).shadow, None);
    }

    #[test]
    fn files_of_before_are_read() {
        let aliases: Aliases = toml::from_str("production = \"1\"\n").unwrap();
        assert_eq!(aliases, promoted(&["1"]));
        let aliases =
            Aliases { shadow: Some(ShadowAlias { version: version("9"), share: 0.25 }), ..promoted(&["1", "2"]) };
        let text = toml::to_string(&aliases).unwrap();
        assert_eq!(toml::from_str::<Aliases>(&text).unwrap(), aliases);
    }
}
