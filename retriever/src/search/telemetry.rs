//! Spans of a search. Names and attributes follow OpenTelemetry's generative AI and database conventions, and carry
//! OpenInference kinds, so that tracing tools of either school show them natively.

use std::time::Instant;

use super::{Found, Leg, SearchQuery};
use crate::collection::EmbedderRef;
use crate::second_stage::Method;
use tracing::{Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use trivium_ranking::fusion::Fusion;
use trivium_service_kit::{
    Error, Reason, Service,
    telemetry::{capture_content, count, metrics, names::attribute as key},
};

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
        { key::OPENINFERENCE_SPAN_KIND } = "RETRIEVER",
        { key::GEN_AI_OPERATION_NAME } = "retrieval",
        { key::GEN_AI_DATA_SOURCE_ID } = collection,
        { key::GEN_AI_RETRIEVAL_TOP_K } = count(query.k),
        { key::GEN_AI_RETRIEVAL_QUERY_TEXT } = field::Empty,
        { key::INPUT_VALUE } = field::Empty,
        { key::TRIVIUM_FILTER_USED } = query.filter.is_some(),
        { key::TRIVIUM_FILTER_TEXT } = field::Empty,
        { key::TRIVIUM_INDEX_VERSION } = field::Empty,
        { key::TRIVIUM_HITS } = field::Empty,
        { key::TRIVIUM_DEGRADED } = field::Empty,
        { key::TRIVIUM_DEGRADED_LEXICAL_LEG } = field::Empty,
        { key::TRIVIUM_DEGRADED_SEMANTIC_LEG } = field::Empty,
        { key::ERROR_TYPE } = field::Empty,
        otel.status_code = field::Empty,
    );
    if capture_content() {
        span.record(key::GEN_AI_RETRIEVAL_QUERY_TEXT, query.text.as_str());
        span.record(key::INPUT_VALUE, query.text.as_str());
        span.record(key::TRIVIUM_FILTER_TEXT, query.filter.as_deref());
    }
    span
}

/// Writes what was found into the span of its search: ids and scores always, text only where capture is on.
pub(super) fn record_found(span: &Span, found: &Found) {
    span.record(key::TRIVIUM_INDEX_VERSION, count(found.published.version()));
    span.record(key::TRIVIUM_HITS, count(found.hits.len()));
    span.record(key::TRIVIUM_DEGRADED, found.legs.iter().any(|leg| leg.missing.is_some()));
    for (leg, missing) in found.legs.iter().filter_map(|report| Some((report.leg, report.missing.as_ref()?))) {
        let reason = missing.reason.as_str();
        tracing::warn!(parent: span, leg = leg.name(), reason, "a leg is missing: the other answers alone");
        match leg {
            Leg::Lexical => span.record(key::TRIVIUM_DEGRADED_LEXICAL_LEG, reason),
            Leg::Semantic => span.record(key::TRIVIUM_DEGRADED_SEMANTIC_LEG, reason),
        };
    }
    for (place, hit) in found.hits.iter().take(LISTED_HITS).enumerate() {
        let named = |name: &str| format!("retrieval.documents.{place}.document.{name}");
        span.set_attribute(named("id"), hit.chunk.chunk_id.clone());
        span.set_attribute(named("score"), hit.score);
        if capture_content() {
            span.set_attribute(named("content"), hit.chunk.text.clone());
        }
    }
}

/// The span of one leg.
pub(super) fn leg(leg: Leg, collection: &str, version: u64) -> Span {
    info_span!(
        "leg",
        otel.name = format!("search {collection}"),
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "RETRIEVER",
        { key::DB_SYSTEM_NAME } = leg.engine(),
        { key::DB_COLLECTION_NAME } = collection,
        { key::DB_OPERATION_NAME } = "search",
        { key::DB_QUERY_SUMMARY } = format!("search {collection}"),
        { key::DB_RESPONSE_RETURNED_ROWS } = field::Empty,
        { key::TRIVIUM_RETRIEVAL_LEG } = leg.name(),
        { key::TRIVIUM_INDEX_VERSION } = count(version),
    )
}

/// Marks the span of a search that failed.
pub(super) fn record_failed(span: &Span, error: &Error) {
    span.record(key::ERROR_TYPE, error.reason().as_str());
    span.record("otel.status_code", "ERROR");
}

/// The measure of one leg: it counts what became of it when it is dropped.
pub(super) struct Measured {
    leg: Leg,
    began: Instant,
    failed: Option<Reason>,
}

impl Measured {
    /// A leg that begins. Until [`Self::ended`] it counts as given up.
    pub(super) fn begin(leg: Leg) -> Self {
        Self { leg, began: Instant::now(), failed: Some(Reason::Cancelled) }
    }

    /// The leg's outcome.
    pub(super) fn ended<T>(mut self, outcome: &Result<T, Error>) {
        self.failed = outcome.as_ref().err().map(Error::reason);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::of(Service::Retriever).searched(self.leg.engine(), self.failed, self.began.elapsed());
    }
}

/// Writes the number of candidates into the span of their leg.
pub(super) fn record_rows(span: &Span, rows: usize) {
    span.record(key::DB_RESPONSE_RETURNED_ROWS, count(rows));
}

/// The span of the second stage over that many candidates.
pub(super) fn rerank(method: Method, candidates: usize) -> Span {
    info_span!(
        "rerank",
        otel.name = format!("rerank {}", method.name()),
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "RERANKER",
        { key::RERANKER_TOP_K } = count(candidates),
        { key::RERANKER_MODEL_NAME } = field::Empty,
        { key::TRIVIUM_MODEL_VERSION } = field::Empty,
        { key::TRIVIUM_RERANK_METHOD } = method.name(),
        { key::TRIVIUM_RERANK_CANDIDATES } = count(candidates),
        { key::TRIVIUM_RERANK_SCORED } = field::Empty,
        otel.status_code = field::Empty,
        { key::ERROR_TYPE } = field::Empty,
    )
}

/// Writes into the span of the second stage what made the scores, or why there are none.
pub(super) fn record_rerank(span: &Span, outcome: &Result<(EmbedderRef, usize), Error>) {
    match outcome {
        Ok((model, scored)) => {
            span.record(key::RERANKER_MODEL_NAME, model.name.as_str());
            span.record(key::TRIVIUM_MODEL_VERSION, model.version.as_str());
            span.record(key::TRIVIUM_RERANK_SCORED, count(*scored));
        }
        Err(error) => {
            span.record("otel.status_code", "ERROR");
            span.record(key::ERROR_TYPE, error.reason().as_str());
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
        { key::OPENINFERENCE_SPAN_KIND } = "RERANKER",
        { key::RERANKER_TOP_K } = count(query.k),
        { key::TRIVIUM_FUSION_METHOD } = method,
        { key::TRIVIUM_FUSION_K } = k,
    )
}
