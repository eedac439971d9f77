//! The form of `routes.toml`, before its values are checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// What is read first, so that a file of another version is called that, and
/// not a file with unknown keys.
#[derive(Deserialize)]
pub struct Head {
    pub version: Spanned<i64>,
}

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(rename = "version")]
    _version: i64,
    #[serde(default)]
    pub default: Section,
    pub out_of_scope: Option<Spanned<Section>>,
    #[serde(default)]
    pub intents: BTreeMap<Spanned<String>, Section>,
}

/// One rule.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub route: Option<Spanned<RoadName>>,
    pub threshold: Option<Spanned<f64>>,
    pub collections: Option<Spanned<Vec<String>>>,
    pub k: Option<Spanned<i64>>,
    pub fusion: Option<Spanned<FusionTable>>,
    pub generator: Option<Spanned<String>>,
    pub prompt: Option<Spanned<String>>,
    pub reply: Option<Spanned<String>>,
}

/// A road, by its name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoadName {
    Lexical,
    Semantic,
    Hybrid,
    Direct,
    Reply,
}

/// A way of fusing two legs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionTable {
    pub method: Option<MethodName>,
    pub k: Option<Spanned<f64>>,
    pub normalisation: Option<Spanned<trivium_ranking::fusion::Normalisation>>,
    pub weights: Option<Spanned<WeightsTable>>,
}

/// A method of fusion, by its name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    Rrf,
    Convex,
}

/// The weights of the legs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsTable {
    pub lexical: f64,
    pub semantic: f64,
}
