//! What the router writes into its spans.
//!
//! Names are those of OpenTelemetry's and OpenInference's conventions, and
//! `trivium.*` where neither has one. Text of queries and answers is written
//! only when content may be captured.

use tracing::{Span, field, info_span};
use trivium_proto::{model::v1::Intent, router::v1::Decision};
use trivium_service_kit::{
    Error, Service,
    telemetry::{self, metrics},
};

use crate::{
    execute::AccountBuilder,
    policy::{Plan, Step},
    request::Question,
};

/// A span with every field that [`decided`] and [`finished`] fill in, and one for each rung of the ladder.
macro_rules! chain_span {
    ($name:literal) => {
        info_span!(
            $name,
            otel.kind = "internal",
            otel.status_code = field::Empty,
            "error.type" = field::Empty,
            "openinference.span.kind" = "CHAIN",
            "input.value" = field::Empty,
            "output.value" = field::Empty,
            "trivium.request.id" = field::Empty,
            "trivium.route.name" = field::Empty,
            "trivium.route.reason" = field::Empty,
            "trivium.route.threshold" = field::Empty,
            "trivium.route.guard" = field::Empty,
            "trivium.route.weight.lexical" = field::Empty,
            "trivium.route.weight.semantic" = field::Empty,
            "trivium.route.weight.own" = field::Empty,
            "trivium.intent.label" = field::Empty,
            "trivium.intent.confidence" = field::Empty,
            "trivium.intent.margin" = field::Empty,
            "trivium.intent.model.name" = field::Empty,
            "trivium.intent.model.version" = field::Empty,
            "trivium.degraded" = field::Empty,
            "trivium.cache.hit" = field::Empty,
            "trivium.degraded.intent" = field::Empty,
            "trivium.degraded.embedding" = field::Empty,
            "trivium.degraded.semantic_leg" = field::Empty,
            "trivium.degraded.lexical_leg" = field::Empty,
            "trivium.degraded.rerank" = field::Empty,
            "trivium.degraded.collection" = field::Empty,
            "trivium.degraded.retriever" = field::Empty,
            "trivium.degraded.generator" = field::Empty
        )
    };
}

/// The span of one answer.
pub(crate) fn query(question: &Question) -> Span {
    asked(chain_span!("query"), question)
}

/// The span of one decision.
pub(crate) fn route(question: &Question) -> Span {
    asked(chain_span!("route"), question)
}

fn asked(span: Span, question: &Question) -> Span {
    span.record("trivium.request.id", question.request_id.as_str());
    if telemetry::capture_content() {
        span.record("input.value", question.text.as_str());
    }
    span
}

/// Writes the decision, and counts it.
pub(crate) fn decided(span: &Span, plan: &Plan, intent: Option<&Intent>) {
    metrics::of(Service::Router).decided(plan.step.road(), plan.reason.name());
    span.record("trivium.route.name", plan.step.road());
    span.record("trivium.route.reason", plan.reason.name());
    if let Some(guard) = plan.guards.iter().find(|guard| guard.matched) {
        span.record("trivium.route.guard", guard.name.as_str());
    }
    if let Step::Retrieve(retrieval) = &plan.step
        && let Some(weights) = retrieval.weights()
    {
        span.record("trivium.route.weight.lexical", weights.lexical());
        span.record("trivium.route.weight.semantic", weights.semantic());
        span.record("trivium.route.weight.own", weights.own());
    }
    if intent.is_some() {
        span.record("trivium.route.threshold", plan.threshold);
    }
    understood(span, intent);
}

fn understood(span: &Span, intent: Option<&Intent>) {
    let Some(intent) = intent else { return };
    span.record("trivium.intent.label", intent.label.as_str());
    span.record("trivium.intent.confidence", intent.confidence);
    span.record("trivium.intent.margin", intent.margin);
    if let Some(model) = &intent.model {
        span.record("trivium.intent.model.name", model.name.as_str());
        span.record("trivium.intent.model.version", model.version.as_str());
    }
}

/// Writes what an answer from the cache was decided by.
pub(crate) fn cached(span: &Span, decision: Option<&Decision>, intent: Option<&Intent>) {
    span.record("trivium.cache.hit", true);
    span.record("trivium.degraded", false);
    if let Some(decision) = decision {
        let name = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
        span.record("trivium.route.name", name(decision.road().as_str_name(), "ROAD_"));
        span.record("trivium.route.reason", name(decision.reason().as_str_name(), "DECISION_REASON_"));
        span.record("trivium.route.threshold", decision.threshold);
    }
    understood(span, intent);
}

/// Writes how an answer ended.
pub(crate) fn finished(span: &Span, account: &AccountBuilder, error: Option<&Error>) {
    span.record("trivium.degraded", account.is_degraded());
    if !account.captured_answer.is_empty() {
        span.record("output.value", account.captured_answer.as_str());
    }
    if let Some(error) = error {
        failed(span, error);
    }
}

/// Marks a span as failed.
pub(crate) fn failed(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.reason().as_str());
}
