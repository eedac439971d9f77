//! How an answer came about, gathered hop by hop.

use std::collections::HashMap;

use tokio::time::Instant;
use trivium_proto::{
    model::v1::{ComputeTimings, FinishReason, ModelRef, TokenUsage},
    retriever::v1::{Leg, SearchResponse, Snapshot},
    router::v1::{Account, Degradation, ModelUse},
};
use trivium_service_kit::telemetry;

use super::ms_since;

/// An account that is being written.
pub(crate) struct AccountBuilder {
    started: Instant,
    trace_id: String,
    request_id: String,
    snapshots: Vec<Snapshot>,
    models: Vec<ModelUse>,
    degraded: Vec<Degradation>,
    timings_ms: HashMap<String, f64>,
    /// The backend that answered; empty when none did.
    pub generator: String,
    /// Why the generation ended.
    pub finish_reason: FinishReason,
    /// Tokens of the generation.
    pub usage: Option<TokenUsage>,
    /// Numbers that the answer cited and no passage has.
    pub unknown_citations: Vec<u32>,
    /// Numbers of the passages that the prompt had no room for.
    pub passages_left_out: Vec<u32>,
    /// Numbers of the passages of which the prompt holds the beginning only.
    pub passages_cut: Vec<u32>,
    /// Code points of the answer that were sent.
    pub answer_chars: usize,
    /// The answer, for the trace. Empty unless content may be captured.
    pub captured_answer: String,
}

impl AccountBuilder {
    /// Begins now, in the current span.
    pub fn new(request_id: String) -> Self {
        Self {
            started: Instant::now(),
            trace_id: telemetry::current_trace_id(),
            request_id,
            snapshots: Vec::new(),
            models: Vec::new(),
            degraded: Vec::new(),
            timings_ms: HashMap::new(),
            generator: String::new(),
            finish_reason: FinishReason::Unspecified,
            usage: None,
            unknown_citations: Vec::new(),
            passages_left_out: Vec::new(),
            passages_cut: Vec::new(),
            answer_chars: 0,
            captured_answer: String::new(),
        }
    }

    /// The trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// Notes a model's part, once.
    pub fn used(&mut self, role: &str, model: Option<ModelRef>) {
        let Some(model) = model else { return };
        let part = ModelUse { role: role.to_owned(), model: Some(model) };
        if !self.models.contains(&part) {
            self.models.push(part);
        }
    }

    /// Notes how long a hop took, in milliseconds. Of hops that ran side by side the longest counts.
    pub fn took(&mut self, hop: &str, ms: f64) {
        let longest = self.timings_ms.entry(hop.to_owned()).or_default();
        *longest = longest.max(ms);
    }

    /// Notes where the model host's time went.
    pub fn computed(&mut self, timings: &ComputeTimings) {
        self.took("queue", timings.queue_ms);
        self.took("tokenize", timings.tokenize_ms);
        self.took("forward", timings.forward_ms);
    }

    /// Notes what a search read, and how long its legs took.
    pub fn searched(&mut self, response: &mut SearchResponse) {
        self.snapshots.extend(response.snapshot.take());
        self.used("embedder", response.embedder.clone());
        for leg in response.legs.iter().filter(|leg| !leg.missing) {
            match leg.leg() {
                Leg::Lexical => self.took("lexical", leg.elapsed_ms),
                Leg::Semantic => self.took("semantic", leg.elapsed_ms),
                Leg::Unspecified => {}
            }
        }
        if let Some(second) = &response.rerank {
            self.took("rerank", second.elapsed_ms);
            self.used("reranker", second.model.clone());
        }
    }

    /// Notes a part that the answer does without.
    pub fn degraded(&mut self, part: Degradation) {
        self.degraded.push(part);
    }

    /// Whether some part was left out.
    pub fn is_degraded(&self) -> bool {
        !self.degraded.is_empty()
    }

    /// Notes a piece of the answer.
    pub fn answered(&mut self, text: &str) {
        self.answer_chars += text.chars().count();
        if telemetry::capture_content() {
            self.captured_answer.push_str(text);
        }
    }

    /// Closes the account.
    pub fn finish(mut self) -> Account {
        self.took("total", ms_since(self.started));
        Account {
            snapshots: self.snapshots,
            models: self.models,
            degraded: self.degraded,
            timings_ms: self.timings_ms,
            trace_id: self.trace_id,
            request_id: self.request_id,
            generator: self.generator,
            finish_reason: self.finish_reason.into(),
            usage: self.usage,
            unknown_citations: self.unknown_citations,
            passages_left_out: self.passages_left_out,
            passages_cut: self.passages_cut,
            ..Account::default()
        }
    }
}
