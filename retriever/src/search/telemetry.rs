//! Spans of a search. Names and attributes follow OpenTelemetry's generative AI and database conventions, and carry
//! OpenInference kinds, so that tracing tools of either school show them natively.

use super::{Found, Leg, Method, SearchQuery};
use crate::collection::EmbedderRef;
use tracing::{Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use trivium_ranking::fusion::Fusion;
use trivium_service_kit::Error;
use trivium_service_kit::telemetry::capture_content;

/// Hits that a span lists.
const LISTED_HITS: usize = 10;

impl Leg {
    /// The leg's name, as the command line and the traces give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Semantic => "semantic",
        }
    }

    fn engine(self) -> &'static str {
        match self {
            Self::Lexical => "tantivy",
            Self::Semantic => "lance",
        }
    }
}

/// The span of a whole search.
pub(super) fn retrieval(collection: &str, query: &SearchQuery) -> Span {
    let span = info_span!(
        "retrieval",
        otel.name = format!("retrieval {collection}"),
        otel.kind = "internal",
        openinference.span.kind = "RETRIEVER",
        gen_ai.operation.name = "retrieval",
        gen_ai.data_source.id = collection,
        gen_ai.retrieval.top_k = query.k,
        gen_ai.retrieval.query.text = field::Empty,
        input.value = field::Empty,
        trivium.filter.used = query.filter.is_some(),
        trivium.filter.text = field::Empty,
        trivium.index.version = field::Empty,
        trivium.hits = field::Empty,
        trivium.degraded = field::Empty,
        trivium.degraded.lexical_leg = field::Empty,
        trivium.degraded.semantic_leg = field::Empty,
    );
    if capture_content() {
        span.record("gen_ai.retrieval.query.text", query.text.as_str());
        span.record("input.value", query.text.as_str());
        span.record("trivium.filter.text", query.filter.as_deref());
    }
    span
}

/// Writes what was found into the span of its search: ids and scores always, text only where capture is on.
pub(super) fn record_found(span: &Span, found: &Found) {
    span.record("trivium.index.version", found.published.version());
    span.record("trivium.hits", found.hits.len());
    span.record("trivium.degraded", found.legs.iter().any(|leg| leg.missing.is_some()));
    for (leg, missing) in found.legs.iter().filter_map(|report| Some((report.leg, report.missing.as_ref()?))) {
        let reason = missing.reason.as_str();
        tracing::warn!(parent: span, leg = leg.name(), reason, "a leg is missing: the other answers alone");
        match leg {
            Leg::Lexical => span.record("trivium.degraded.lexical_leg", reason),
            Leg::Semantic => span.record("trivium.degraded.semantic_leg", reason),
        };
    }
    for (place, hit) in found.hits.iter().take(LISTED_HITS).enumerate() {
        let key = |name: &str| format!("retrieval.documents.{place}.document.{name}");
        span.set_attribute(key("id"), hit.chunk.chunk_id.clone());
        span.set_attribute(key("score"), hit.score);
        if capture_content() {
            span.set_attribute(key("content"), hit.chunk.text.clone());
        }
    }
}

/// The span of one leg.
pub(super) fn leg(leg: Leg, collection: &str, version: u64) -> Span {
    info_span!(
        "leg",
        otel.name = format!("search {collection}"),
        otel.kind = "internal",
        openinference.span.kind = "RETRIEVER",
        db.system.name = leg.engine(),
        db.collection.name = collection,
        db.operation.name = "search",
        db.query.summary = format!("search {collection}"),
        db.response.returned_rows = field::Empty,
        trivium.retrieval.leg = leg.name(),
        trivium.index.version = version,
    )
}

/// Writes the number of candidates into the span of their leg.
pub(super) fn record_rows(span: &Span, rows: usize) {
    span.record("db.response.returned_rows", rows);
}

/// The span of the second stage over that many candidates.
pub(super) fn rerank(method: Method, candidates: usize) -> Span {
    info_span!(
        "rerank",
        otel.name = format!("rerank {}", method.name()),
        otel.kind = "internal",
        openinference.span.kind = "RERANKER",
        reranker.top_k = candidates,
        reranker.model_name = field::Empty,
        trivium.model.version = field::Empty,
        trivium.rerank.method = method.name(),
        trivium.rerank.candidates = candidates,
        trivium.rerank.scored = field::Empty,
        otel.status_code = field::Empty,
        error.type = field::Empty,
    )
}

/// Writes into the span of the second stage what made the scores, or why there are none.
pub(super) fn record_rerank(span: &Span, outcome: &Result<(EmbedderRef, usize), Error>) {
    match outcome {
        Ok((model, scored)) => {
            span.record("reranker.model_name", model.name.as_str());
            span.record("trivium.model.version", model.version.as_str());
            span.record("trivium.rerank.scored", scored);
        }
        Err(error) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error.reason().as_str());
        }
    }
}

/// The span of the fusion.
pub(super) fn fuse(query: &SearchQuery) -> Span {
    let (method, k) = match query.fusion {
        Fusion::ReciprocalRank { k } => ("rrf", Some(k.get())),
        Fusion::Convex { .. } => ("convex", None),
    };
    info_span!(
        "fuse",
        otel.name = format!("fuse {method}"),
        otel.kind = "internal",
        openinference.span.kind = "RERANKER",
        reranker.top_k = query.k,
        trivium.fusion.method = method,
        trivium.fusion.k = k,
    )
}
