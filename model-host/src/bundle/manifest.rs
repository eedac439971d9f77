//! The manifest of a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    BundleError, GRAPH_FILE, HEAD_FILE, INT8_GRAPH_FILE, ModelId, ModelRef, PROJECTION_FILE, PrecisionReport,
    STATISTICS_FILE, TOKENIZER_FILE,
};
use crate::intent::{FewShot, OutOfScope, ReliabilityBin, Report, TrainingSummary};

/// The format that this program writes. Format 2 added intents with an encoder of their own,
/// scores for queries outside the scope, and prefixes.
pub const FORMAT: u32 = 2;
/// The oldest format that this program reads: what it lacks has a default.
pub const OLDEST_FORMAT: u32 = 1;

/// What `manifest.toml` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`OLDEST_FORMAT`] to [`FORMAT`].
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
    Intent(Box<IntentSpec>),
    /// Says how well a document answers a query.
    CrossEncoder(CrossEncoderSpec),
    /// Makes short token vectors of an encoder's hidden states.
    Projection(ProjectionSpec),
}

impl ModelSpec {
    /// The kind, as in the manifest.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Encoder(_) => "encoder",
            Self::Intent(_) => "intent",
            Self::CrossEncoder(_) => "cross_encoder",
            Self::Projection(_) => "projection",
        }
    }

    /// The files without which a model of this kind cannot be loaded.
    fn required_files(&self) -> Vec<&'static str> {
        match self {
            Self::Encoder(_) | Self::CrossEncoder(_) => vec![GRAPH_FILE, TOKENIZER_FILE],
            Self::Intent(spec) => spec.required_files(),
            Self::Projection(_) => vec![PROJECTION_FILE],
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
    /// What the encoder wants to stand before each text.
    #[serde(default, skip_serializing_if = "Prefixes::is_empty")]
    pub prefixes: Prefixes,
}

/// Words that some encoders were trained to find before a text, such as `query: `.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prefixes {
    /// Before a query.
    pub query: String,
    /// Before a passage.
    pub passage: String,
}

impl Prefixes {
    /// Whether the encoder wants none.
    pub fn is_empty(&self) -> bool {
        self.query.is_empty() && self.passage.is_empty()
    }
}

/// How hidden states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over the tokens that are not padding.
    Mean,
    /// The first token, which BERT's tokenizers put before every text for this use.
    Cls,
    /// The largest value of each dimension over the tokens that are not padding.
    Max,
}

/// A graph that reads a query and a document together and gives one logit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEncoderSpec {
    /// Longest input, query and document together, in tokens, special tokens included;
    /// longer pairs are cut.
    pub max_tokens: usize,
}

impl CrossEncoderSpec {
    fn contradiction(&self) -> Option<String> {
        // Three special tokens and at least one of each text.
        (self.max_tokens < 5).then(|| "max_tokens must be at least 5".to_owned())
    }
}

/// A linear map from an encoder's hidden states to short token vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionSpec {
    /// The encoder that it was fitted to. It fits no other.
    pub base: ModelRef,
    /// Length of a hidden state.
    pub input: usize,
    /// Length of a token vector.
    pub dimension: usize,
    /// What it was fitted on, for people.
    pub fitted_on: String,
}

impl ProjectionSpec {
    fn contradiction(&self) -> Option<String> {
        let fits = (1..=self.input).contains(&self.dimension);
        (!fits).then(|| format!("dimension must be 1 to input, which is {}", self.input))
    }
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
    /// The label among `labels` that means "none of the others", if there is one. Models
    /// that tell such queries by a score have `out_of_scope` instead.
    pub out_of_scope_label: Option<String>,
    /// Quality on data that was not fitted on.
    pub report: Report,
    /// The score by which queries outside the scope are told, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_scope: Option<OutOfScope>,
    /// The encoder bundle that fine-tuning started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ModelRef>,
    /// What eight-bit weights cost, if the bundle has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionReport>,
    /// How the weights were trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSummary>,
    /// Confidence beside accuracy, on the data of the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<ReliabilityBin>,
    /// Labels that were added from a few examples after training, and how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub few_shot: BTreeMap<String, FewShot>,
}

/// Where an intent model's vectors come from.
///
/// A head on frozen features names the base encoder instead of copying it, so that one
/// forward pass serves both the intent and the query vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentEncoder {
    /// Another bundle's encoder, unchanged.
    Base(ModelRef),
    /// An encoder whose graph and tokenizer lie in the intent's own bundle.
    Own(EncoderSpec),
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
        if !(OLDEST_FORMAT..=FORMAT).contains(&header.format) {
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
        let missing = self.model.required_files().into_iter().find(|name| !names.contains(name));
        if let Some(name) = missing {
            return Some(format!("files does not list {name}"));
        }
        match &self.model {
            ModelSpec::Encoder(spec) => spec.contradiction(),
            ModelSpec::Intent(spec) => spec.contradiction(),
            ModelSpec::CrossEncoder(spec) => spec.contradiction(),
            ModelSpec::Projection(spec) => spec.contradiction(),
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
    /// The label of queries outside the scope, whether it is one of the head's or told by a
    /// score.
    pub fn scope_label(&self) -> Option<&str> {
        let told = self.out_of_scope.as_ref().map(|scope| scope.label.as_str());
        told.or(self.out_of_scope_label.as_deref())
    }

    fn required_files(&self) -> Vec<&'static str> {
        let mut files = vec![HEAD_FILE];
        if matches!(self.encoder, IntentEncoder::Own(_)) {
            files.extend([GRAPH_FILE, TOKENIZER_FILE]);
        }
        if self.precision.is_some() {
            files.push(INT8_GRAPH_FILE);
        }
        if self.out_of_scope.as_ref().is_some_and(|scope| scope.score.has_statistics()) {
            files.push(STATISTICS_FILE);
        }
        files
    }

    fn contradiction(&self) -> Option<String> {
        let labels: BTreeSet<&String> = self.labels.iter().collect();
        if labels.len() < 2 || labels.len() != self.labels.len() {
            return Some("labels must be at least two, all different".to_owned());
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Some("temperature must be a number above 0".to_owned());
        }
        if let IntentEncoder::Own(spec) = &self.encoder
            && let Some(reason) = spec.contradiction()
        {
            return Some(reason);
        }
        self.label_contradiction(&labels)
            .or_else(|| self.scope_contradiction(&labels))
            .or_else(|| self.precision.as_ref().and_then(PrecisionReport::contradiction))
    }

    fn label_contradiction(&self, labels: &BTreeSet<&String>) -> Option<String> {
        let unknown = |label: &&String| !labels.contains(*label);
        if let Some(label) = self.thresholds.keys().find(unknown) {
            return Some(format!("thresholds names the unknown label {label:?}"));
        }
        if let Some(label) = self.few_shot.keys().find(unknown) {
            return Some(format!("few_shot names the unknown label {label:?}"));
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

    fn scope_contradiction(&self, labels: &BTreeSet<&String>) -> Option<String> {
        let scope = self.out_of_scope.as_ref()?;
        if self.out_of_scope_label.is_some() {
            return Some("out_of_scope and out_of_scope_label exclude each other".to_owned());
        }
        if labels.contains(&scope.label) {
            return Some(format!("out_of_scope.label is {:?}, which is one of labels", scope.label));
        }
        if !scope.threshold.is_finite() {
            return Some("out_of_scope.threshold must be a number".to_owned());
        }
        None
    }
}
