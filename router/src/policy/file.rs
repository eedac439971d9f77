//! The form of `routes.toml`, before its values are checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{RerankMethod, RetrieverAway};

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
    pub rerank: Option<Spanned<RerankTable>>,
    pub generator: Option<Spanned<String>>,
    pub prompt: Option<Spanned<String>>,
    pub reply: Option<Spanned<String>>,
    pub on_retriever_away: Option<Spanned<RetrieverAway>>,
}

/// Declares a section that has keys of its own besides those of a rule, and how it comes apart again. They are spelt out
/// for both, because flattening a rule into another section loses the places of its keys, which errors point at.
macro_rules! rule_with_keys {
    (
        $(#[$section_doc:meta])* $section:ident,
        $(#[$head_doc:meta])* $head:ident { $($key:ident: $value:ty,)* }
    ) => {
        $(#[$section_doc])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $section {
            $(pub $key: Option<Spanned<$value>>,)*
            pub route: Option<Spanned<RoadName>>,
            pub collections: Option<Spanned<Vec<String>>>,
            pub k: Option<Spanned<i64>>,
            pub filter: Option<Spanned<String>>,
            pub fusion: Option<Spanned<FusionTable>>,
            pub rerank: Option<Spanned<RerankTable>>,
            pub generator: Option<Spanned<String>>,
            pub prompt: Option<Spanned<String>>,
            pub reply: Option<Spanned<String>>,
        }

        $(#[$head_doc])*
        pub struct $head {
            $(pub $key: Option<Spanned<$value>>,)*
        }

        impl $section {
            /// The keys of its own, and the rest as a rule.
            pub fn split(self) -> ($head, Section) {
                let Self { $($key,)* route, collections, k, filter, fusion, rerank, generator, prompt, reply } = self;
                let rest = Section::default();
                let section = Section { route, collections, k, filter, fusion, rerank, generator, prompt, reply, ..rest };
                ($head { $($key),* }, section)
            }
        }
    };
}

rule_with_keys! {
    /// What happens to a query whose intents are equally likely.
    Ambiguous,
    /// When they are.
    AmbiguousHead {
        margin: f64,
    }
}

rule_with_keys! {
    /// A rule that looks at the query itself.
    Guard,
    /// The keys of a guard that say when it matches.
    GuardHead {
        name: String,
        regex: String,
        quoted: bool,
        identifier: bool,
        language: Vec<String>,
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

/// A second stage.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankTable {
    pub method: Option<RerankMethod>,
    pub depth: Option<Spanned<i64>>,
    pub weight: Option<Spanned<f64>>,
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
