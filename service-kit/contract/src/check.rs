//! Telemetry as it was captured, against the contract.

mod logs;
mod metrics;
mod spans;

use std::collections::BTreeMap;

use crate::{Contract, Type};

/// What was captured of a system.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// Its spans.
    pub spans: Vec<SeenSpan>,
    /// Its metrics, each as often as it was exported.
    pub metrics: Vec<SeenMetric>,
    /// Its log lines.
    pub logs: Vec<SeenLog>,
}

/// An exported span.
#[derive(Clone, Debug)]
pub struct SeenSpan {
    /// The service, for instance `router`.
    pub service: String,
    /// The exported name.
    pub name: String,
    /// `internal`, `server` or `client`.
    pub kind: String,
    /// The trace.
    pub trace_id: String,
    /// Its own id.
    pub id: String,
    /// Its parent's id; empty for a root.
    pub parent: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Its events: the log events within it.
    pub events: Vec<SeenLog>,
    /// The ids of the spans that it links to.
    pub links: Vec<String>,
}

/// An exported metric.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenMetric {
    /// The service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its kind, as the contract names kinds.
    pub kind: String,
    /// The labels of each of its series.
    pub series: Vec<BTreeMap<String, Value>>,
}

/// A log line, or an event of a span.
#[derive(Clone, Debug)]
pub struct SeenLog {
    /// The service.
    pub service: String,
    /// Its message.
    pub message: String,
    /// Its level, in small letters.
    pub level: String,
    /// Its fields.
    pub fields: BTreeMap<String, Value>,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Texts.
    Texts(Vec<String>),
    /// Numbers.
    Doubles(Vec<f64>),
    /// What no attribute of the contract may be.
    Other,
}

impl Value {
    fn is_of(&self, kind: Type) -> bool {
        matches!(
            (self, kind),
            (Self::Text(_), Type::Text)
                | (Self::Int(_), Type::Int)
                | (Self::Double(_), Type::Double)
                | (Self::Bool(_), Type::Bool)
                | (Self::Texts(_), Type::Texts)
                | (Self::Doubles(_), Type::Doubles)
        )
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own.contains(text),
            Self::Texts(own) => own.iter().any(|own| own.contains(text)),
            _ => false,
        }
    }
}

/// How captured telemetry is judged.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    contract: &'a Contract,
    capture_content: bool,
    marker: &'a str,
}

impl<'a> Judge<'a> {
    /// A judge of telemetry that was captured with or without content. `marker` is a text that stands in every query and
    /// passage, and may be nowhere while content is not captured.
    pub fn new(contract: &'a Contract, capture_content: bool, marker: &'a str) -> Self {
        Self { contract, capture_content, marker }
    }

    /// Everything that is not as the contract says: what is unlisted, misnamed, of another type, in a wrong place, missing
    /// where it must be, or content that should not be there. Empty when all is well. Whether everything that is listed was
    /// there at all is told by [`Self::unseen`].
    pub fn violations(&self, captured: &Captured) -> Vec<String> {
        let mut found = spans::violations(self, &captured.spans);
        found.extend(metrics::violations(self, &captured.metrics));
        found.extend(logs::violations(self, &captured.logs));
        found.sort();
        found.dedup();
        found
    }

    /// Everything that the contract lists and that was never seen: spans, their attributes, metrics and their labels. What
    /// cannot be driven is left out, and content where it is not captured.
    pub fn unseen(&self, captured: &Captured) -> Vec<String> {
        let mut unseen = spans::unseen(self, &captured.spans);
        unseen.extend(metrics::unseen(self, &captured.metrics));
        unseen
    }

    /// How much was seen.
    pub fn counts(&self, captured: &Captured) -> Counts {
        let attributes = captured.spans.iter().map(|span| span.attributes.len()).sum();
        let series = captured.metrics.iter().map(|metric| metric.series.len()).sum();
        Counts {
            spans: captured.spans.len(),
            attributes,
            metrics: captured.metrics.len(),
            series,
            logs: captured.logs.len(),
        }
    }

    /// The contract's name of a span; `None` for one that it does not have.
    pub fn identify(&self, span: &SeenSpan) -> Option<&'a str> {
        spans::identify(self.contract, span)
    }

    fn content(&self, place: &str, value: &Value) -> Option<String> {
        let is_leak = !self.capture_content && value.holds(self.marker);
        is_leak.then(|| format!("{place} holds content: {value:?}"))
    }
}

/// How much was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Spans.
    pub spans: usize,
    /// Attributes of spans.
    pub attributes: usize,
    /// Metrics, service by service.
    pub metrics: usize,
    /// Their series.
    pub series: usize,
    /// Log lines.
    pub logs: usize,
}
