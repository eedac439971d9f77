//! How a collection weighs its legs where a search does not say, and the file that says so.
//!
//! The description of a collection never changes, and this does, so it has a file of its own beside it. A folder without
//! that file has the default.

use super::{CollectionError, files};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use trivium_ranking::fusion::{Weight, Weights};

/// Format of the file. A program refuses formats that it does not know.
const FORMAT: u32 = 1;
/// The file in a collection's folder.
const FILE: &str = "blend.toml";

/// The weight of the semantic leg, against z-scores, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blend {
    weights: [Weight; 2],
    origin: Option<BlendOrigin>,
}

/// Where a collection's own weight comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlendOrigin {
    /// Labelled queries that the weight was fitted to; 0 when it was given by hand.
    pub queries: u32,
    /// When it was set, in milliseconds since 1970.
    pub set_at_ms: u64,
}

/// A weight that no leg can have.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("must lie between 0 and 1, found {found}")]
pub struct BlendError {
    /// The weight that was refused.
    pub found: f64,
}

impl Default for Blend {
    /// The weights of all collections that have none of their own.
    fn default() -> Self {
        Self { weights: Weights::hybrid_default(), origin: None }
    }
}

impl Blend {
    /// A collection's own weight.
    ///
    /// # Errors
    /// A weight that is not a number from 0 to 1.
    pub fn own(semantic_weight: f64, origin: BlendOrigin) -> Result<Self, BlendError> {
        let refused = BlendError { found: semantic_weight };
        if !(0.0..=1.0).contains(&semantic_weight) {
            return Err(refused);
        }
        let weights = Weights::new([1.0 - semantic_weight, semantic_weight]).map_err(|_| refused)?;
        let weights = <[Weight; 2]>::try_from(weights.as_slice()).map_err(|_| refused)?;
        Ok(Self { weights, origin: Some(origin) })
    }

    /// Weights of the lexical and of the semantic leg; they add up to 1.
    pub fn weights(self) -> [Weight; 2] {
        self.weights
    }

    /// Where the collection's own weight comes from; `None` for the default.
    pub fn origin(self) -> Option<BlendOrigin> {
        self.origin
    }

    /// Reads the blend of the collection in `folder`.
    ///
    /// # Errors
    /// A file that is there and cannot be read, is wrong, or is of a newer format.
    pub(super) fn read(folder: &Path) -> Result<Self, CollectionError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let bad = |reason: String| CollectionError::BadSpec { path: path.clone(), reason };
        let written: Written = toml::from_str(&files::read(&path)?).map_err(|error| bad(error.message().to_owned()))?;
        if written.format > FORMAT {
            return Err(CollectionError::NewerFormat { path, found: written.format, known: FORMAT });
        }
        Self::own(written.semantic_weight, written.origin).map_err(|error| bad(format!("its semantic_weight {error}")))
    }

    /// Writes the blend of the collection in `folder`, durably; the default has no file.
    ///
    /// # Errors
    /// The file cannot be written or removed.
    pub(super) fn write(self, folder: &Path) -> Result<(), CollectionError> {
        let path: PathBuf = folder.join(FILE);
        let Some(origin) = self.origin else { return files::remove_file_durably(&path) };
        let written = Written { format: FORMAT, semantic_weight: self.weights[1].get(), origin };
        let bad = |error: toml::ser::Error| CollectionError::BadSpec { path: path.clone(), reason: error.to_string() };
        files::write_durably(&path, &toml::to_string(&written).map_err(bad)?)
    }
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    semantic_weight: f64,
    #[serde(flatten)]
    origin: BlendOrigin,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: BlendOrigin = BlendOrigin { queries: 50, set_at_ms: 1_790_000_000_000 };

    #[test]
    fn only_weights_from_0_to_1_are_taken() {
        for weight in [0.0, 0.35, 1.0] {
            let [lexical, semantic] = Blend::own(weight, ORIGIN).unwrap().weights().map(Weight::get);
            assert_eq!(semantic, weight);
            assert!((lexical + semantic - 1.0).abs() < 1e-12);
        }
        for weight in [-0.01, 1.01, f64::NAN, f64::INFINITY] {
            assert!(Blend::own(weight, ORIGIN).is_err(), "{weight}");
        }
    }

    #[test]
    fn a_blend_comes_back_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Blend::read(folder.path()).unwrap(), Blend::default());
        let own = Blend::own(0.9, ORIGIN).unwrap();
        own.write(folder.path()).unwrap();
        assert_eq!(Blend::read(folder.path()).unwrap(), own);
        for _ in 0..2 {
            Blend::default().write(folder.path()).unwrap();
            assert_eq!(Blend::read(folder.path()).unwrap(), Blend::default());
        }
    }

    #[test]
    fn what_is_no_blend_is_refused_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let good = "format = 1\nsemantic_weight = 0.5\nqueries = 3\nset_at_ms = 7\n";
        for (text, expected) in [
            (good.replace("format = 1", "format = 2"), "format 2"),
            (good.replace("0.5", "1.5"), "between 0 and 1"),
            (good.replace("semantic_weight", "weight"), "semantic_weight"),
            ("{".to_owned(), "blend.toml"),
        ] {
            std::fs::write(folder.path().join(FILE), &text).unwrap();
            let message = Blend::read(folder.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
        std::fs::write(folder.path().join(FILE), good).unwrap();
        assert_eq!(Blend::read(folder.path()).unwrap().origin().map(|origin| origin.queries), Some(3));
    }
}
