//! The spans of one request's way through tokenizer, queue and engine.
//!
//! Names and attributes follow OpenTelemetry's GenAI conventions (as frozen in semantic
//! conventions 1.41.1) and carry OpenInference kinds as well, so that dashboards of
//! either family show them. `gen_ai.request.model` is on embedding and chat spans alone:
//! dashboards count every span that bears it as a language model call.

use std::sync::{Mutex, PoisonError};

use opentelemetry::trace::TraceContextExt;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::bundle::ModelRef;
use crate::generate::{EXTRACTIVE, GeneratorModel};

/// The span around a classification.
pub fn classify_span(model: &ModelRef) -> Span {
    tracing::info_span!(
        "classify",
        otel.name = format!("classify {}", model.name),
        otel.kind = "internal",
        openinference.span.kind = "CHAIN",
        trivium.intent.model.name = model.name.as_str(),
        trivium.intent.model.version = model.version.as_str(),
        trivium.intent.label = field::Empty,
        trivium.intent.confidence = field::Empty,
        trivium.intent.margin = field::Empty,
        otel.status_code = field::Empty,
        error.type = field::Empty,
        input.value = field::Empty,
    )
}

/// Says on the call's own span whether its answer was remembered.
pub fn mark_cached(cached: bool) {
    Span::current().set_attribute("trivium.cached", cached);
}

/// The span around an embedding. `texts` is how many are embedded together.
pub fn embeddings_span(model: &ModelRef, dimension: usize, texts: usize) -> Span {
    tracing::info_span!(
        "embeddings",
        otel.name = format!("embeddings {}", model.name),
        otel.kind = "internal",
        openinference.span.kind = "EMBEDDING",
        embedding.model_name = model.name.as_str(),
        gen_ai.operation.name = "embeddings",
        gen_ai.provider.name = "trivium",
        gen_ai.request.model = model.name.as_str(),
        gen_ai.embeddings.dimension.count = dimension,
        gen_ai.usage.input_tokens = field::Empty,
        trivium.model.version = model.version.as_str(),
        trivium.embeddings.texts = texts,
        otel.status_code = field::Empty,
        error.type = field::Empty,
        input.value = field::Empty,
    )
}

/// The span around a reranking of `documents` documents.
pub fn rerank_span(model: &ModelRef, documents: usize) -> Span {
    tracing::info_span!(
        "rerank",
        otel.name = format!("rerank {}", model.name),
        otel.kind = "internal",
        openinference.span.kind = "RERANKER",
        reranker.model_name = model.name.as_str(),
        trivium.model.version = model.version.as_str(),
        trivium.rerank.documents = documents,
        otel.status_code = field::Empty,
        error.type = field::Empty,
        input.value = field::Empty,
    )
}

/// The span around the tokenizer, inside `parent`.
pub fn tokenize_span(parent: &Span) -> Span {
    tracing::info_span!(
        parent: parent,
        "tokenize",
        otel.kind = "internal",
        openinference.span.kind = "CHAIN",
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
            openinference.span.kind = "CHAIN",
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
                openinference.span.kind = "CHAIN",
                trivium.batch.id = batch_id,
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
        openinference.span.kind = "CHAIN",
        trivium.batch.id = batch_id,
        trivium.batch.texts = rows,
        trivium.batch.padded_tokens = rows * columns,
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
        error.type = field::Empty,
        openinference.span.kind = "LLM",
        llm.model_name = model.name,
        llm.token_count.prompt = field::Empty,
        llm.token_count.completion = field::Empty,
        llm.token_count.total = field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = model.provider,
        gen_ai.request.model = model.name,
        gen_ai.request.stream = true,
        gen_ai.request.max_tokens = max_output_tokens,
        gen_ai.response.finish_reasons = field::Empty,
        gen_ai.response.time_to_first_chunk = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        trivium.generator = generator,
        input.value = field::Empty,
        output.value = field::Empty,
    )
}
