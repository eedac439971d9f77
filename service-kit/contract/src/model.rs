//! The contract as data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The whole contract.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Version of the file's format.
    pub version: u32,
    /// Every attribute of a span or metric, by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// Every span, by the name that it has in the code.
    pub spans: BTreeMap<String, Span>,
    /// Bounds of histograms, by name.
    pub buckets: BTreeMap<String, Vec<f64>>,
    /// Every metric, by name.
    pub metrics: BTreeMap<String, Metric>,
    /// Every log event.
    pub logs: Vec<Log>,
}

/// What an attribute holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// What it says.
    pub brief: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// Whether it holds text of queries, passages or answers.
    #[serde(default)]
    pub content: bool,
    /// All its values, where they are a closed set.
    pub values: Option<Vec<String>>,
    /// What keeps its values few, where they are no closed set.
    pub bound: Option<String>,
}

/// A type of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Type {
    /// A text.
    #[serde(rename = "string")]
    Text,
    /// A whole number.
    #[serde(rename = "int")]
    Int,
    /// A number.
    #[serde(rename = "double")]
    Double,
    /// True or false.
    #[serde(rename = "bool")]
    Bool,
    /// Texts.
    #[serde(rename = "string[]")]
    Texts,
    /// Numbers.
    #[serde(rename = "double[]")]
    Doubles,
}

impl Type {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Bool => "bool",
            Self::Texts => "string[]",
            Self::Doubles => "double[]",
        }
    }
}

/// A span.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The forms of its exported name, with attributes in braces. The first whose attributes are all there is the name;
    /// where none has any, each is a name of its own.
    pub name: Vec<String>,
    /// `internal`, `server`, `client`, or several with `or` between them.
    pub kind: String,
    /// The services that make it.
    pub services: Vec<String>,
    /// The spans that it may be a child of; `none` for a root, or a parent that is not ours.
    pub parents: Vec<String>,
    /// Its kind in OpenInference's terms; `CHAIN` where the file does not say.
    #[serde(default = "chain")]
    pub openinference: String,
    /// What it stands for.
    pub brief: String,
    /// Why the contract's test cannot make one.
    pub undriven: Option<String>,
    /// When each attribute is there.
    pub attributes: BTreeMap<String, When>,
}

fn chain() -> String {
    "CHAIN".to_owned()
}

/// When an attribute is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Condition")]
pub enum When {
    /// On every span.
    Always,
    /// Under a condition, in words.
    If {
        /// The condition.
        when: String,
        /// Why the contract's test cannot bring it about.
        undriven: Option<String>,
    },
}

impl When {
    /// The condition in words.
    pub fn words(&self) -> &str {
        match self {
            Self::Always => "always",
            Self::If { when, .. } => when,
        }
    }

    /// Whether the contract's test can bring it about.
    pub fn is_driven(&self) -> bool {
        !matches!(self, Self::If { undriven: Some(_), .. })
    }
}

/// As the file has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Condition {
    Plain(String),
    Undriven { when: String, undriven: String },
}

impl From<Condition> for When {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Plain(words) if words == "always" => Self::Always,
            Condition::Plain(when) => Self::If { when, undriven: None },
            Condition::Undriven { when, undriven } => Self::If { when, undriven: Some(undriven) },
        }
    }
}

/// A metric.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit, as UCUM writes it.
    pub unit: String,
    /// The name of its bounds, for histograms.
    pub buckets: Option<String>,
    /// Whether it is read when metrics are, and not written when something happens.
    #[serde(default)]
    pub observed: bool,
    /// The services that have it.
    pub services: Vec<String>,
    /// Its labels.
    pub attributes: BTreeMap<String, Label>,
    /// Why the contract's test cannot make it count.
    pub undriven: Option<String>,
    /// What it counts.
    pub brief: String,
}

/// What keeps a label's values few.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// They are these.
    Closed(Vec<String>),
    /// The one value, or the set that they come from, in words.
    Bound(String),
    /// As [`Self::Bound`], for a label that the contract's test cannot bring about.
    Undriven {
        /// The set.
        bound: String,
        /// Why it cannot.
        undriven: String,
    },
}

/// A kind of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// It grows.
    Counter,
    /// It grows and shrinks.
    UpDownCounter,
    /// It is what it is now.
    Gauge,
    /// It sorts values into buckets.
    Histogram,
}

impl MetricKind {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A log event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Its message, which is a constant of the code.
    pub message: String,
    /// Its level.
    pub level: String,
    /// The service that writes it; `any` for what all of them share.
    pub service: String,
    /// Its fields, each with its type; each may be left out.
    pub fields: BTreeMap<String, Type>,
}

/// What is wrong with a contract.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// It is no TOML, or not of this form.
    #[error(transparent)]
    Form(#[from] toml::de::Error),
    /// It contradicts itself.
    #[error("{0}")]
    Inconsistent(String),
}

/// The contract's text.
const TEXT: &str = include_str!("../telemetry.toml");

impl Contract {
    /// The contract of this version of the project.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn current() -> Self {
        Self::parse(TEXT).expect("the contract is part of the binary, and a test reads it")
    }

    /// Reads a contract.
    ///
    /// # Errors
    /// When it has another form, or names what it does not define.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        let contract: Self = toml::from_str(text)?;
        match contract.contradiction() {
            Some(what) => Err(ContractError::Inconsistent(what)),
            None => Ok(contract),
        }
    }

    /// The bounds of a histogram; empty for other metrics.
    pub fn bounds(&self, metric: &Metric) -> &[f64] {
        metric.buckets.as_ref().and_then(|name| self.buckets.get(name)).map_or(&[], Vec::as_slice)
    }

    /// The definition of an attribute by its exported name, in which a number may stand for `{n}`; with the name in the
    /// contract.
    pub fn attribute(&self, exported: &str) -> Option<(&str, &Attribute)> {
        let name = numbered(exported);
        self.attributes.get_key_value(name.as_str()).map(|(name, attribute)| (name.as_str(), attribute))
    }

    fn contradiction(&self) -> Option<String> {
        let of_spans = self.spans.iter().flat_map(|(id, span)| span.attributes.keys().map(move |name| (id, name)));
        let of_metrics =
            self.metrics.iter().flat_map(|(id, metric)| metric.attributes.keys().map(move |name| (id, name)));
        let mut used = BTreeSet::new();
        for (id, name) in of_spans.chain(of_metrics) {
            if !self.attributes.contains_key(name) {
                return Some(format!("{id} has {name}, which is not defined"));
            }
            used.insert(name);
        }
        if let Some(unused) = self.attributes.keys().find(|name| !used.contains(name)) {
            return Some(format!("nothing has the attribute {unused}"));
        }
        for (id, span) in &self.spans {
            if let Some(parent) =
                span.parents.iter().find(|parent| *parent != "none" && !self.spans.contains_key(*parent))
            {
                return Some(format!("{id} has the parent {parent}, which is not defined"));
            }
        }
        for (name, metric) in &self.metrics {
            let has_bounds = metric.buckets.as_ref().map(|buckets| self.buckets.contains_key(buckets));
            if has_bounds != (metric.kind == MetricKind::Histogram).then_some(true) {
                return Some(format!("{name} has no bounds, unknown ones, or bounds without being a histogram"));
            }
            if let Some(content) = metric.attributes.keys().find(|name| self.attributes[*name].content) {
                return Some(format!("{name} has the label {content}, which holds content"));
            }
        }
        let mut messages: BTreeSet<(&str, &str)> = BTreeSet::new();
        let twice = self.logs.iter().find(|log| !messages.insert((&log.service, &log.message)));
        twice.map(|log| format!("the log event {:?} is listed twice", log.message))
    }
}

/// A name with `{n}` for each part that is a number.
fn numbered(name: &str) -> String {
    let part = |part| if is_number(part) { "{n}" } else { part };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_whole() {
        let contract = Contract::current();
        assert!(contract.spans.len() > 10 && contract.metrics.len() > 20 && contract.logs.len() > 40);
        assert!(contract.attribute("retrieval.documents.3.document.id").is_some());
        assert!(contract.attribute("retrieval.documents.x.document.id").is_none());
    }

    #[test]
    fn a_contract_that_contradicts_itself_is_refused() {
        let table = [
            (
                "[spans.fuse]\n",
                "[spans.melt]\nname = [\"melt\"]\nkind = \"internal\"\nservices = []\nparents = [\"ore\"]\nbrief = \"\"\nattributes = {}\n\n[spans.fuse]\n",
            ),
            ("[spans.fuse.attributes]\n", "[spans.fuse.attributes]\n\"trivium.colour\" = \"always\"\n"),
            ("[attributes]\n", "[attributes]\n\"trivium.colour\" = { type = \"string\", brief = \"\" }\n"),
            ("buckets = \"shares\"\n", ""),
            ("buckets = \"shares\"\n", "buckets = \"spades\"\n"),
            ("attributes = { \"cache\" =", "attributes = { \"input.value\" = \"\", \"cache\" ="),
            (
                "[[logs]]\n",
                "[[logs]]\nmessage = \"model loaded\"\nlevel = \"info\"\nservice = \"model-host\"\nfields = {}\n\n[[logs]]\n",
            ),
        ];
        for (from, to) in table {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from:?} is not in the contract");
            let refused = matches!(Contract::parse(&text), Err(ContractError::Inconsistent(_)));
            assert!(refused, "{to:?} is accepted");
        }
    }
}
