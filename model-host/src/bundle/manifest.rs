//! The manifest of a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BundleError, GRAPH_FILE, HEAD_FILE, ModelId, ModelRef, TOKENIZER_FILE};
use crate::intent::Report;

/// The format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// What `manifest.toml` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The folder's name, so that a copied folder is noticed.
    pub name: ModelId,
    /// The version folder's name.
    pub version: ModelId,
    /// Where the weights came from, for people.
    pub origin: String,
    /// What the model is and how it is used.
    pub model: ModelSpec,
    /// Every other file in the folder.
    pub files: Vec<FileEntry>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The file's name; never a path.
    pub name: ModelId,
    /// Lower-case hexadecimal SHA-256 of its content.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// What a model is, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelSpec {
    /// Turns a text into a vector.
    Encoder(EncoderSpec),
    /// Tells what a query is after.
    Intent(IntentSpec),
}

impl ModelSpec {
    /// The kind, as in the manifest.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Encoder(_) => "encoder",
            Self::Intent(_) => "intent",
        }
    }

    /// The files without which a model of this kind cannot be loaded.
    fn required_files(&self) -> &'static [&'static str] {
        match self {
            Self::Encoder(_) => &[GRAPH_FILE, TOKENIZER_FILE],
            Self::Intent(_) => &[HEAD_FILE],
        }
    }
}

/// How an encoder's graph becomes a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// Length of a vector.
    pub dimension: usize,
    /// Longest input, in tokens, special tokens included; longer texts are cut.
    pub max_tokens: usize,
    /// How hidden states become one vector.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalise: bool,
}

/// How hidden states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over the tokens that are not padding.
    Mean,
}

/// A calibrated classifier on an encoder's vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentSpec {
    /// The encoder whose vectors the head was fitted on.
    pub encoder: IntentEncoder,
    /// The intents, in the order of the head's rows.
    pub labels: Vec<String>,
    /// Logits are divided by it before the softmax; above 0.
    pub temperature: f32,
    /// For each label, the confidence below which a decision counts as unsure; 0 to 1.
    pub thresholds: BTreeMap<String, f32>,
    /// The label that means "none of the others", if there is one.
    pub out_of_scope_label: Option<String>,
    /// Quality on data that was not fitted on.
    pub report: Report,
}

/// Where an intent model's vectors come from.
///
/// A head on frozen features names the base encoder instead of copying it, so that one
/// forward pass serves both the intent and the query vector. Fine-tuned weights will
/// come as a variant of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentEncoder {
    /// Another bundle's encoder, unchanged.
    Base(ModelRef),
}

impl Manifest {
    /// Reads a manifest. `path` is used in errors, and its parent folders must bear
    /// the manifest's version and name.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let malformed = |source| BundleError::Malformed { path: path.to_owned(), source: Box::new(source) };
        // The format is read first: a later format's new fields must not be reported as
        // unknown fields of this one.
        let header: Header = toml::from_str(text).map_err(malformed)?;
        if header.format != FORMAT {
            return Err(BundleError::UnknownFormat { path: path.to_owned(), expected: FORMAT, found: header.format });
        }
        let manifest: Self = toml::from_str(text).map_err(malformed)?;
        match manifest.contradiction() {
            None => Ok(manifest),
            Some(reason) => Err(BundleError::Inconsistent { path: path.to_owned(), reason }),
        }
    }

    /// Name and version together.
    pub fn model_ref(&self) -> ModelRef {
        ModelRef { name: self.name.clone(), version: self.version.clone() }
    }

    /// What in this manifest contradicts itself, if anything.
    pub(super) fn contradiction(&self) -> Option<String> {
        let names: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        let missing = self.model.required_files().iter().find(|name| !names.contains(**name));
        if let Some(name) = missing {
            return Some(format!("files does not list {name}"));
        }
        match &self.model {
            ModelSpec::Encoder(spec) => spec.contradiction(),
            ModelSpec::Intent(spec) => spec.contradiction(),
        }
    }
}

impl EncoderSpec {
    fn contradiction(&self) -> Option<String> {
        if self.dimension == 0 {
            return Some("dimension must be at least 1".to_owned());
        }
        // Two special tokens and at least one of the text.
        if self.max_tokens < 3 {
            return Some("max_tokens must be at least 3".to_owned());
        }
        None
    }
}

impl IntentSpec {
    fn contradiction(&self) -> Option<String> {
        let labels: BTreeSet<&String> = self.labels.iter().collect();
        if labels.len() < 2 || labels.len() != self.labels.len() {
            return Some("labels must be at least two, all different".to_owned());
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Some("temperature must be a number above 0".to_owned());
        }
        let unknown = |label: &&String| !labels.contains(*label);
        if let Some(label) = self.thresholds.keys().find(unknown) {
            return Some(format!("thresholds names the unknown label {label:?}"));
        }
        if let Some(label) = self.out_of_scope_label.as_ref().filter(unknown) {
            return Some(format!("out_of_scope_label names the unknown label {label:?}"));
        }
        let outside = |(_, threshold): &(&String, &f32)| !(0.0..=1.0).contains(*threshold);
        self.thresholds
            .iter()
            .find(outside)
            .map(|(label, _)| format!("the threshold of {label:?} must be between 0 and 1"))
    }
}
