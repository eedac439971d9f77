//! The spans of one request's way through tokenizer, queue and engine.
//!
//! Names and attributes follow OpenTelemetry's GenAI conventions (as frozen in semantic
//! conventions 1.41.1) and carry OpenInference kinds as well, so that dashboards of
//! either family show them. `gen_ai.request.model` is on embedding and chat spans alone:
//! dashboards count every span that bears it as a language model call.

use std::sync::{Mutex, PoisonError};

use opentelemetry::{StringValue, Value, trace::TraceContextExt};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use trivium_service_kit::telemetry::{count, names::attribute as key};

use crate::bundle::ModelRef;
use crate::generate::{EXTRACTIVE, GeneratorModel};

/// The span around a classification.
pub fn classify_span(model: &ModelRef) -> Span {
    tracing::info_span!(
        "classify",
        otel.name = format!("classify {}", model.name),
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
        { key::TRIVIUM_INTENT_MODEL_NAME } = model.name.as_str(),
        { key::TRIVIUM_INTENT_MODEL_VERSION } = model.version.as_str(),
        { key::TRIVIUM_INTENT_LABEL } = field::Empty,
        { key::TRIVIUM_INTENT_CONFIDENCE } = field::Empty,
        { key::TRIVIUM_INTENT_MARGIN } = field::Empty,
        otel.status_code = field::Empty,
        { key::ERROR_TYPE } = field::Empty,
        { key::INPUT_VALUE } = field::Empty,
    )
}

/// Says on the call's own span whether its answer was remembered.
pub fn mark_cached(cached: bool) {
    Span::current().set_attribute(key::TRIVIUM_CACHED, cached);
}

/// The span around an embedding. `texts` is how many are embedded together.
pub fn embeddings_span(model: &ModelRef, dimension: usize, texts: usize) -> Span {
    tracing::info_span!(
        "embeddings",
        otel.name = format!("embeddings {}", model.name),
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "EMBEDDING",
        { key::EMBEDDING_MODEL_NAME } = model.name.as_str(),
        { key::GEN_AI_OPERATION_NAME } = "embeddings",
        { key::GEN_AI_PROVIDER_NAME } = "trivium",
        { key::GEN_AI_REQUEST_MODEL } = model.name.as_str(),
        { key::GEN_AI_EMBEDDINGS_DIMENSION_COUNT } = count(dimension),
        { key::GEN_AI_USAGE_INPUT_TOKENS } = field::Empty,
        { key::TRIVIUM_MODEL_VERSION } = model.version.as_str(),
        { key::TRIVIUM_EMBEDDINGS_TEXTS } = count(texts),
        otel.status_code = field::Empty,
        { key::ERROR_TYPE } = field::Empty,
        { key::INPUT_VALUE } = field::Empty,
    )
}

/// The span around a reranking of `documents` documents.
pub fn rerank_span(model: &ModelRef, documents: usize) -> Span {
    tracing::info_span!(
        "rerank",
        otel.name = format!("rerank {}", model.name),
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "RERANKER",
        { key::RERANKER_MODEL_NAME } = model.name.as_str(),
        { key::TRIVIUM_MODEL_VERSION } = model.version.as_str(),
        { key::TRIVIUM_RERANK_DOCUMENTS } = count(documents),
        otel.status_code = field::Empty,
        { key::ERROR_TYPE } = field::Empty,
        { key::INPUT_VALUE } = field::Empty,
    )
}

/// The span around the tokenizer, inside `parent`.
pub fn tokenize_span(parent: &Span) -> Span {
    tracing::info_span!(
        parent: parent,
        "tokenize",
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
    )
}

/// The spans of one request inside the batcher: `queue` from submission until its first
/// text runs, then `forward` until its last text is done.
pub struct RequestTrace {
    parent: Span,
    stage: Mutex<Stage>,
}

enum Stage {
    Queued(Option<Span>),
    Running(Span),
}

impl RequestTrace {
    /// Starts the `queue` span inside `parent`.
    pub fn new(parent: Span) -> Self {
        let queue = tracing::info_span!(
            parent: &parent,
            "queue",
            otel.kind = "internal",
            { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
        );
        Self { parent, stage: Mutex::new(Stage::Queued(Some(queue))) }
    }

    /// For work that belongs to no request.
    pub fn none() -> Self {
        Self { parent: Span::none(), stage: Mutex::new(Stage::Queued(None)) }
    }

    /// Ends `queue`, starts `forward` unless an earlier batch did, and gives the latter.
    fn running(&self, batch_id: &str) -> Span {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Queued(queue) = &mut *stage {
            drop(queue.take());
            let forward = tracing::info_span!(
                parent: &self.parent,
                "forward",
                otel.kind = "internal",
                { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
                { key::TRIVIUM_BATCH_ID } = batch_id,
            );
            *stage = Stage::Running(forward);
        }
        match &*stage {
            Stage::Running(forward) => forward.clone(),
            Stage::Queued(_) => Span::none(),
        }
    }
}

/// Tells the requests of a batch that it runs, and starts the batch's own span if they
/// are several: it belongs to none of their traces, and links to each. Dashboards that
/// drop links find the members by `trivium.batch.id`.
///
/// `members` has one item for each text; texts of one request share theirs.
pub fn start_batch(members: &[&RequestTrace], rows: usize, columns: usize) -> Span {
    let batch_id = uuid::Uuid::now_v7().to_string();
    let mut requests: Vec<&RequestTrace> = Vec::new();
    for member in members {
        if !requests.iter().any(|known| std::ptr::eq(*known, *member)) {
            requests.push(member);
        }
    }
    let forwards: Vec<Span> =
        requests.iter().map(|request| request.running(&batch_id)).filter(|span| !span.is_none()).collect();
    if forwards.len() < 2 {
        return Span::none();
    }
    let span = tracing::info_span!(
        parent: None,
        "batch",
        otel.kind = "internal",
        { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
        { key::TRIVIUM_BATCH_ID } = batch_id,
        { key::TRIVIUM_BATCH_TEXTS } = count(rows),
        { key::TRIVIUM_BATCH_PADDED_TOKENS } = count(rows * columns),
    );
    for forward in &forwards {
        let context = forward.context().span().span_context().clone();
        span.add_link(context);
    }
    span
}

/// The span around a generation. It is a CLIENT span when another process runs the model.
pub fn chat_span(model: &GeneratorModel, generator: &str, max_output_tokens: Option<u32>) -> Span {
    tracing::info_span!(
        "chat",
        otel.name = format!("chat {}", model.name),
        otel.kind = if generator == EXTRACTIVE { "internal" } else { "client" },
        otel.status_code = field::Empty,
        { key::ERROR_TYPE } = field::Empty,
        { key::OPENINFERENCE_SPAN_KIND } = "LLM",
        { key::LLM_MODEL_NAME } = model.name,
        { key::LLM_TOKEN_COUNT_PROMPT } = field::Empty,
        { key::LLM_TOKEN_COUNT_COMPLETION } = field::Empty,
        { key::LLM_TOKEN_COUNT_TOTAL } = field::Empty,
        { key::GEN_AI_OPERATION_NAME } = "chat",
        { key::GEN_AI_PROVIDER_NAME } = model.provider,
        { key::GEN_AI_REQUEST_MODEL } = model.name,
        { key::GEN_AI_REQUEST_STREAM } = true,
        { key::GEN_AI_REQUEST_MAX_TOKENS } = max_output_tokens.map(count),
        { key::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK } = field::Empty,
        { key::GEN_AI_USAGE_INPUT_TOKENS } = field::Empty,
        { key::GEN_AI_USAGE_OUTPUT_TOKENS } = field::Empty,
        { key::TRIVIUM_GENERATOR } = generator,
        { key::INPUT_VALUE } = field::Empty,
        { key::OUTPUT_VALUE } = field::Empty,
    )
}

/// Writes why an answer ended. It is a list by the conventions, for models that give several answers.
pub fn record_finish(span: &Span, reason: &'static str) {
    span.set_attribute(key::GEN_AI_RESPONSE_FINISH_REASONS, Value::Array(vec![StringValue::from(reason)].into()));
}
