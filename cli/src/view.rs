//! What `--json` prints. These names are a contract: keys may be added, never renamed or removed.

mod answer;
mod audit;
mod hit;

use serde::Serialize;
use trivium_proto::{
    model::v1::ModelRef,
    retriever::v1::{Blend, Collection, LegWeights, MetadataField, MetadataType, RerankMethod, Snapshot},
    router::v1::{Decision, DecisionReason, GuardCheck, Road, RouteResponse},
};

use crate::args::rerank_name;

pub use answer::{Answer, Event};
#[cfg(test)]
pub use answer::{CitationView, DegradationView};
#[cfg(test)]
pub use audit::NotRetainedView;
pub use audit::{FeedbackView, RecordView, ReplayView};
#[cfg(test)]
pub use hit::TwinView;
pub use hit::{Hit, LegView, Legs, RerankView, TermView, TokenView};

/// One version of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl From<ModelRef> for Model {
    fn from(model: ModelRef) -> Self {
        Self { name: model.name, version: model.version }
    }
}

/// One state of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotView {
    /// The collection.
    pub collection: String,
    /// The version.
    pub version: u64,
    /// When it was committed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<String>,
}

impl From<Snapshot> for SnapshotView {
    fn from(snapshot: Snapshot) -> Self {
        let committed_at = snapshot.committed_at.map(|moment| moment.to_string());
        Self { collection: snapshot.collection, version: snapshot.version, committed_at }
    }
}

/// One collection.
#[derive(Debug, Clone, Serialize)]
pub struct CollectionView {
    /// Its name.
    pub name: String,
    /// Documents in its published snapshot.
    pub documents: u64,
    /// Chunks in that snapshot.
    pub chunks: u64,
    /// That snapshot's version.
    pub version: u64,
    /// The encoder of its vectors.
    pub embedder: Model,
    /// Length of its vectors.
    pub dimension: u32,
    /// The metadata that filters can name.
    pub metadata_fields: Vec<FieldView>,
    /// How its legs are weighed where a search does not say.
    pub blend: BlendView,
    /// The second stage of searches that do not say; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<&'static str>,
}

fn own_rerank(method: RerankMethod) -> Option<&'static str> {
    (method != RerankMethod::Unspecified).then(|| rerank_name(method))
}

/// How a collection weighs its legs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BlendView {
    /// The weight of the semantic leg, 0 to 1.
    pub semantic_weight: f64,
    /// Whether it is the collection's own, and not the default.
    pub own: bool,
    /// Labelled queries that it was fitted to; 0 when it was not.
    pub queries: u32,
    /// When it was set, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_at: Option<String>,
}

impl From<Blend> for BlendView {
    fn from(blend: Blend) -> Self {
        Self {
            semantic_weight: blend.semantic_weight,
            own: blend.own,
            queries: blend.queries,
            set_at: blend.set_at.map(|moment| moment.to_string()),
        }
    }
}

/// A declared metadata field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldView {
    /// Its name.
    pub name: String,
    /// Its type, as `trivium collections create --field NAME:TYPE` takes it.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl From<MetadataField> for FieldView {
    fn from(field: MetadataField) -> Self {
        let kind = match field.r#type() {
            MetadataType::Unspecified => "",
            MetadataType::String => "string",
            MetadataType::Integer => "integer",
            MetadataType::Float => "float",
            MetadataType::Boolean => "boolean",
            MetadataType::Timestamp => "timestamp",
            MetadataType::StringList => "string-list",
        };
        Self { name: field.name, kind }
    }
}

impl From<Collection> for CollectionView {
    fn from(collection: Collection) -> Self {
        let rerank = own_rerank(collection.rerank());
        Self {
            name: collection.name,
            documents: collection.documents,
            chunks: collection.chunks,
            version: collection.snapshot.map_or(0, |snapshot| snapshot.version),
            embedder: collection.embedder.unwrap_or_default().into(),
            dimension: collection.dimension,
            metadata_fields: collection.metadata_fields.into_iter().map(FieldView::from).collect(),
            blend: collection.blend.unwrap_or_default().into(),
            rerank,
        }
    }
}

/// An intent and its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runner {
    /// The intent.
    pub intent: String,
    /// Its calibrated probability, 0 to 1.
    pub probability: f64,
}

/// Which road, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DecisionView {
    /// The road.
    pub route: String,
    /// The most probable intent; empty when the model was not asked.
    pub intent: String,
    /// Its calibrated probability, 0 to 1.
    pub confidence: f64,
    /// The rule that chose.
    pub reason: String,
    /// That rule in words.
    pub explanation: String,
    /// Confidence less the runner-up's probability.
    pub margin: f64,
    /// The confidence that was asked for.
    pub threshold: f64,
    /// The other intents, most probable first.
    pub runners_up: Vec<Runner>,
    /// Where was searched.
    pub collections: Vec<String>,
    /// How many passages were asked for.
    pub k: u32,
    /// Digest of the policy.
    pub policy_version: String,
    /// The guards that were looked at, in the policy's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardView>,
    /// What the legs count in the fusion; `None` for the collection's own blend, and for a single leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsView>,
    /// Intents closer than this count as equally likely.
    pub ambiguity_margin: f64,
    /// Wishes that the road has no use for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How one guard went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardView {
    /// Its name in the policy.
    pub name: String,
    /// Whether all its conditions held.
    pub matched: bool,
    /// The conditions that held, or the first that did not.
    pub because: String,
}

/// What each leg counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WeightsView {
    /// The lexical leg.
    pub lexical: f64,
    /// The semantic leg.
    pub semantic: f64,
    /// The collection's own blend of both.
    pub own: f64,
}

impl From<GuardCheck> for GuardView {
    fn from(check: GuardCheck) -> Self {
        Self { name: check.name, matched: check.matched, because: check.because }
    }
}

impl From<LegWeights> for WeightsView {
    fn from(weights: LegWeights) -> Self {
        Self { lexical: weights.lexical, semantic: weights.semantic, own: weights.own }
    }
}

impl From<Decision> for DecisionView {
    fn from(decision: Decision) -> Self {
        Self {
            route: road_name(decision.road()).to_owned(),
            reason: reason_name(decision.reason()).to_owned(),
            intent: decision.intent,
            confidence: decision.confidence,
            explanation: decision.explanation,
            margin: decision.margin,
            threshold: decision.threshold,
            runners_up: decision
                .runners_up
                .into_iter()
                .map(|runner| Runner { intent: runner.label, probability: runner.probability })
                .collect(),
            collections: decision.collections,
            k: decision.k,
            policy_version: decision.policy_version,
            guards: decision.guards.into_iter().map(GuardView::from).collect(),
            weights: decision.weights.map(WeightsView::from),
            ambiguity_margin: decision.ambiguity_margin,
            notes: decision.notes,
        }
    }
}

/// What `trivium route --json` prints.
#[derive(Debug, Serialize)]
pub struct RouteView {
    /// The decision.
    #[serde(flatten)]
    pub decision: DecisionView,
    /// Milliseconds by hop.
    pub timings_ms: std::collections::BTreeMap<String, f64>,
    /// The trace.
    pub trace_id: String,
    /// The request.
    pub request_id: String,
}

impl From<RouteResponse> for RouteView {
    fn from(response: RouteResponse) -> Self {
        Self {
            decision: response.decision.unwrap_or_default().into(),
            timings_ms: response.timings_ms.into_iter().collect(),
            trace_id: response.trace_id,
            request_id: response.request_id,
        }
    }
}

/// A road's name on the command line, in routes files and in JSON.
pub fn road_name(road: Road) -> &'static str {
    match road {
        Road::Unspecified => "",
        Road::Lexical => "lexical",
        Road::Semantic => "semantic",
        Road::Hybrid => "hybrid",
        Road::Direct => "direct",
        Road::Reply => "reply",
    }
}

fn reason_name(reason: DecisionReason) -> &'static str {
    match reason {
        DecisionReason::Unspecified => "",
        DecisionReason::Intent => "INTENT",
        DecisionReason::LowConfidence => "LOW_CONFIDENCE",
        DecisionReason::OutOfScope => "OUT_OF_SCOPE",
        DecisionReason::UnmappedIntent => "UNMAPPED_INTENT",
        DecisionReason::Caller => "CALLER",
        DecisionReason::Guard => "GUARD",
        DecisionReason::Ambiguous => "AMBIGUOUS",
        DecisionReason::IntentUnavailable => "INTENT_UNAVAILABLE",
    }
}
