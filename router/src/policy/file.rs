//! The form of `routes.toml`, before its values are checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::RetrieverAway;

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
    pub low_confidence: Option<Spanned<Section>>,
    pub out_of_scope: Option<Spanned<Section>>,
    pub ambiguous: Option<Ambiguous>,
    #[serde(default)]
    pub guards: Vec<Spanned<Guard>>,
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
    pub filter: Option<Spanned<String>>,
    pub fusion: Option<Spanned<FusionTable>>,
    pub generator: Option<Spanned<String>>,
    pub prompt: Option<Spanned<String>>,
    pub reply: Option<Spanned<String>>,
    pub on_retriever_away: Option<Spanned<RetrieverAway>>,
}

/// What happens to a query whose intents are equally likely. The keys of a rule are spelt out here and in [`Guard`],
/// because flattening a section into another loses the places of its keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ambiguous {
    pub margin: Option<Spanned<f64>>,
    pub route: Option<Spanned<RoadName>>,
    pub collections: Option<Spanned<Vec<String>>>,
    pub k: Option<Spanned<i64>>,
    pub filter: Option<Spanned<String>>,
    pub fusion: Option<Spanned<FusionTable>>,
    pub generator: Option<Spanned<String>>,
    pub prompt: Option<Spanned<String>>,
    pub reply: Option<Spanned<String>>,
}

impl Ambiguous {
    /// The margin, and the rest as a rule.
    pub fn split(self) -> (Option<Spanned<f64>>, Section) {
        let Self { margin, route, collections, k, filter, fusion, generator, prompt, reply } = self;
        let section = Section { route, collections, k, filter, fusion, generator, prompt, reply, ..Section::default() };
        (margin, section)
    }
}

/// A rule that looks at the query itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    pub name: Option<Spanned<String>>,
    pub regex: Option<Spanned<String>>,
    pub quoted: Option<Spanned<bool>>,
    pub identifier: Option<Spanned<bool>>,
    pub language: Option<Spanned<Vec<String>>>,
    pub route: Option<Spanned<RoadName>>,
    pub collections: Option<Spanned<Vec<String>>>,
    pub k: Option<Spanned<i64>>,
    pub filter: Option<Spanned<String>>,
    pub fusion: Option<Spanned<FusionTable>>,
    pub generator: Option<Spanned<String>>,
    pub prompt: Option<Spanned<String>>,
    pub reply: Option<Spanned<String>>,
}

/// The keys of a guard that say when it matches.
pub struct GuardHead {
    pub name: Option<Spanned<String>>,
    pub regex: Option<Spanned<String>>,
    pub quoted: Option<Spanned<bool>>,
    pub identifier: Option<Spanned<bool>>,
    pub language: Option<Spanned<Vec<String>>>,
}

impl Guard {
    /// When it matches, and what is done then.
    pub fn split(self) -> (GuardHead, Section) {
        let Self { name, regex, quoted, identifier, language, .. } = self;
        let Self { route, collections, k, filter, fusion, generator, prompt, reply, .. } = self;
        let section = Section { route, collections, k, filter, fusion, generator, prompt, reply, ..Section::default() };
        (GuardHead { name, regex, quoted, identifier, language }, section)
    }
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
    /// The collection's own blend of both.
    #[serde(default)]
    pub own: f64,
}
