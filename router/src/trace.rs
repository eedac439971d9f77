//! What the router writes into its spans.
//!
//! Names are those of OpenTelemetry's and OpenInference's conventions, and
//! `trivium.*` where neither has one. Text of queries and answers is written
//! only when content may be captured.

use std::time::Duration;

use opentelemetry::{
    StringValue, Value,
    trace::{SpanContext, TraceContextExt},
};
use tokio::time::Instant;
use tracing::{Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use trivium_proto::{
    model::v1::Intent,
    router::v1::{Decision, DecisionReason, Road},
};
use trivium_service_kit::{
    Error, Service,
    telemetry::{
        self,
        metrics::{self, Ended},
        names::attribute as key,
    },
};

use crate::{
    execute::AccountBuilder,
    policy::{Plan, Policy, Step},
    request::Question,
};

/// A span with every field that [`decided`] and [`finished`] fill in, and one for each rung of the ladder.
macro_rules! chain_span {
    ($name:literal) => {
        info_span!(
            $name,
            otel.kind = "internal",
            otel.status_code = field::Empty,
            { key::ERROR_TYPE } = field::Empty,
            { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
            { key::INPUT_VALUE } = field::Empty,
            { key::OUTPUT_VALUE } = field::Empty,
            { key::TRIVIUM_REQUEST_ID } = field::Empty,
            { key::TRIVIUM_ROUTE_NAME } = field::Empty,
            { key::TRIVIUM_ROUTE_REASON } = field::Empty,
            { key::TRIVIUM_ROUTE_THRESHOLD } = field::Empty,
            { key::TRIVIUM_ROUTE_GUARD } = field::Empty,
            { key::TRIVIUM_ROUTE_WEIGHT_LEXICAL } = field::Empty,
            { key::TRIVIUM_ROUTE_WEIGHT_SEMANTIC } = field::Empty,
            { key::TRIVIUM_ROUTE_WEIGHT_OWN } = field::Empty,
            { key::TRIVIUM_POLICY_VERSION } = field::Empty,
            { key::TRIVIUM_INTENT_LABEL } = field::Empty,
            { key::TRIVIUM_INTENT_CONFIDENCE } = field::Empty,
            { key::TRIVIUM_INTENT_MARGIN } = field::Empty,
            { key::TRIVIUM_INTENT_MODEL_NAME } = field::Empty,
            { key::TRIVIUM_INTENT_MODEL_VERSION } = field::Empty,
            { key::TRIVIUM_DEGRADED } = field::Empty,
            { key::TRIVIUM_CACHE_HIT } = field::Empty,
            { key::TRIVIUM_DEGRADED_INTENT } = field::Empty,
            { key::TRIVIUM_DEGRADED_EMBEDDING } = field::Empty,
            { key::TRIVIUM_DEGRADED_SEMANTIC_LEG } = field::Empty,
            { key::TRIVIUM_DEGRADED_LEXICAL_LEG } = field::Empty,
            { key::TRIVIUM_DEGRADED_RERANK } = field::Empty,
            { key::TRIVIUM_DEGRADED_COLLECTION } = field::Empty,
            { key::TRIVIUM_DEGRADED_RETRIEVER } = field::Empty,
            { key::TRIVIUM_DEGRADED_GENERATOR } = field::Empty
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
    span.record(key::TRIVIUM_REQUEST_ID, question.request_id.as_str());
    if telemetry::capture_content() {
        span.record(key::INPUT_VALUE, question.text.as_str());
    }
    span
}

/// Writes the decision, and counts it. `name` is that of the span.
pub(crate) fn decided(span: &Span, name: &str, policy: &Policy, plan: &Plan, intent: Option<&Intent>) {
    let (road, reason) = (plan.step.road(), plan.reason.name());
    let instruments = metrics::of(Service::Router);
    instruments.decided(road, reason);
    took(span, name, road);
    span.record(key::TRIVIUM_ROUTE_REASON, reason);
    span.record(key::TRIVIUM_POLICY_VERSION, policy.version());
    if let Some(guard) = plan.guards.iter().find(|guard| guard.matched) {
        span.record(key::TRIVIUM_ROUTE_GUARD, guard.name.as_str());
    }
    if let Step::Retrieve(retrieval) = &plan.step
        && let Some(weights) = retrieval.weights()
    {
        span.record(key::TRIVIUM_ROUTE_WEIGHT_LEXICAL, weights.lexical());
        span.record(key::TRIVIUM_ROUTE_WEIGHT_SEMANTIC, weights.semantic());
        span.record(key::TRIVIUM_ROUTE_WEIGHT_OWN, weights.own());
    }
    if let Some(intent) = intent {
        span.record(key::TRIVIUM_ROUTE_THRESHOLD, plan.threshold);
        instruments.understood(&intent.label, intent.confidence, reason);
    }
    understood(span, intent);
}

/// A list of spans shows the road without a look at any attribute.
fn took(span: &Span, name: &str, road: &str) {
    span.context().span().update_name(format!("{name} {road}"));
    span.record(key::TRIVIUM_ROUTE_NAME, road);
}

fn understood(span: &Span, intent: Option<&Intent>) {
    let Some(intent) = intent else { return };
    span.record(key::TRIVIUM_INTENT_LABEL, intent.label.as_str());
    span.record(key::TRIVIUM_INTENT_CONFIDENCE, intent.confidence);
    span.record(key::TRIVIUM_INTENT_MARGIN, intent.margin);
    if let Some(model) = &intent.model {
        span.record(key::TRIVIUM_INTENT_MODEL_NAME, model.name.as_str());
        span.record(key::TRIVIUM_INTENT_MODEL_VERSION, model.version.as_str());
    }
    let labels: Vec<StringValue> = intent.runners_up.iter().map(|other| other.label.clone().into()).collect();
    let confidences: Vec<f64> = intent.runners_up.iter().map(|other| other.probability).collect();
    span.set_attribute(key::TRIVIUM_INTENT_RUNNERS_UP_LABELS, Value::Array(labels.into()));
    span.set_attribute(key::TRIVIUM_INTENT_RUNNERS_UP_CONFIDENCES, Value::Array(confidences.into()));
}

/// Writes what an answer from the cache was decided by, links to the span that made it, and counts it.
pub(crate) fn cached(span: &Span, entry: &Remembered<'_>, elapsed: Duration) {
    span.record(key::TRIVIUM_CACHE_HIT, true);
    span.record(key::TRIVIUM_DEGRADED, false);
    if let Some(made_by) = entry.made_by {
        span.add_link(made_by.clone());
    }
    let road = entry.decision.map(|decision| road(decision.road()));
    if let (Some(decision), Some(road)) = (entry.decision, road) {
        took(span, "query", road);
        span.record(key::TRIVIUM_ROUTE_REASON, reason(decision.reason()));
        span.record(key::TRIVIUM_ROUTE_THRESHOLD, decision.threshold);
        span.record(key::TRIVIUM_POLICY_VERSION, decision.policy_version.as_str());
    }
    understood(span, entry.intent);
    metrics::of(Service::Router).ended(road, Ended::Whole, elapsed);
}

/// What is known of an answer that is given again.
pub(crate) struct Remembered<'a> {
    /// The span that made it, where it was traced.
    pub made_by: Option<&'a SpanContext>,
    /// Its decision.
    pub decision: Option<&'a Decision>,
    /// What the model host said.
    pub intent: Option<&'a Intent>,
}

/// The span that is current, as another may link to it.
pub(crate) fn current() -> Option<SpanContext> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

fn road(road: Road) -> &'static str {
    match road {
        Road::Lexical => "lexical",
        Road::Semantic => "semantic",
        Road::Hybrid => "hybrid",
        Road::Direct => "direct",
        Road::Reply => "reply",
        Road::Unspecified => "none",
    }
}

fn reason(reason: DecisionReason) -> String {
    reason.as_str_name().trim_start_matches("DECISION_REASON_").to_lowercase()
}

/// The measure of one query: it counts how the query ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Measured {
    began: Instant,
    /// The road, once there is a decision.
    pub road: Option<&'static str>,
    /// How it ended; abandoned until somebody says otherwise.
    pub ended: Ended,
}

impl Measured {
    /// A query that begins.
    pub fn begin() -> Self {
        Self { began: Instant::now(), road: None, ended: Ended::Abandoned }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::of(Service::Router).ended(self.road, self.ended, self.began.elapsed());
    }
}

/// Writes how an answer ended.
pub(crate) fn finished(span: &Span, account: &AccountBuilder, error: Option<&Error>) {
    span.record(key::TRIVIUM_DEGRADED, account.is_degraded());
    if !account.captured_answer.is_empty() {
        span.record(key::OUTPUT_VALUE, account.captured_answer.as_str());
    }
    if let Some(error) = error {
        failed(span, error);
    }
}

/// Marks a span as failed.
pub(crate) fn failed(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    span.record(key::ERROR_TYPE, error.reason().as_str());
}
