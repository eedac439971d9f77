//! What a host has: every bundle on its disk, and what those in memory are doing.

use super::load::{IntentRuntime, Loaded};
use super::{Models, Serving, ShadowReport};
use crate::batcher::Counters;
use crate::bundle::{Bundle, BundleError, BundleSummary, GRAPH_FILE, HEAD_FILE, PROJECTION_FILE, Precision};
use crate::runtime::EncoderRuntime;

/// One version of a model on the disk.
pub struct Description {
    /// What the registry says.
    pub summary: BundleSummary,
    /// Whether it serves.
    pub serving: bool,
    /// What it does, if it is in memory.
    pub loaded: Option<Activity>,
    /// What it found, if it is the shadow.
    pub shadow: Option<ShadowReport>,
}

/// What a model in memory has done and is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Size of the weights, about.
    pub memory_bytes: u64,
    /// Texts that it computed.
    pub texts: u64,
    /// Texts that failed.
    pub errors: u64,
    /// Texts that wait.
    pub waiting: usize,
    /// Precision of the weights.
    pub precision: &'static str,
}

impl Models {
    /// Every bundle on the disk. Reads it: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the models folder cannot be read.
    pub fn describe(&self) -> Result<Vec<Description>, BundleError> {
        let serving = self.serving();
        let found = self.loader.registry().list()?;
        Ok(found.into_iter().map(|summary| describe(&serving, summary)).collect())
    }
}

fn describe(serving: &Serving, summary: BundleSummary) -> Description {
    let loaded = serving.loaded(&summary.model).map(|loaded| activity(loaded, summary.bundle.as_ref().ok()));
    let shadow = serving.shadow().filter(|shadow| *shadow.model() == summary.model);
    Description {
        serving: serving.production(&summary.model.name) == Some(&summary.model),
        loaded,
        shadow: shadow.map(|shadow| shadow.report()),
        summary,
    }
}

fn activity(loaded: &Loaded, bundle: Option<&Bundle>) -> Activity {
    match loaded {
        Loaded::Encoder(encoder) => of_encoder(encoder),
        Loaded::Intent(intent) => of_intent(intent, bundle),
        Loaded::Projection(_) => {
            Activity { memory_bytes: weights(bundle, PROJECTION_FILE), precision: "fp32", ..Activity::default() }
        }
        Loaded::CrossEncoder(model) => counted(model.counters(), model.waiting(), weights(bundle, GRAPH_FILE), "fp32"),
    }
}

fn of_encoder(encoder: &EncoderRuntime) -> Activity {
    let (passages, queries) = (encoder.encoder(), encoder.query_encoder());
    let twin_bytes = if std::ptr::eq(passages, queries) { 0 } else { queries.weights_bytes() };
    let precision = match (passages.precision(), queries.precision()) {
        (Precision::Fp32, Precision::Int8) => "fp32, queries int8",
        (precision, _) => precision.name(),
    };
    counted(encoder.counters(), encoder.waiting(), passages.weights_bytes() + twin_bytes, precision)
}

/// An intent model that reads another bundle's vectors has only its head to itself.
fn of_intent(intent: &IntentRuntime, bundle: Option<&Bundle>) -> Activity {
    let head_bytes = weights(bundle, HEAD_FILE);
    if intent.encoder.model() == intent.model.model() {
        let encoder = of_encoder(&intent.encoder);
        return Activity { memory_bytes: encoder.memory_bytes + head_bytes, ..encoder };
    }
    Activity { memory_bytes: head_bytes, precision: "fp32", ..Activity::default() }
}

fn counted(counters: &Counters, waiting: usize, memory_bytes: u64, precision: &'static str) -> Activity {
    Activity { memory_bytes, texts: counters.texts(), errors: counters.errors(), waiting, precision }
}

/// Weights are kept in memory in about the form of the file.
fn weights(bundle: Option<&Bundle>, file: &str) -> u64 {
    let files = bundle.map(|bundle| bundle.manifest().files.as_slice()).unwrap_or_default();
    files.iter().find(|entry| entry.name.as_str() == file).map_or(0, |entry| entry.bytes)
}
