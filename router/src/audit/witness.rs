//! What a run tells the audit log besides its events, and what it is told of an earlier run.

use std::sync::{Mutex, OnceLock, PoisonError};

use opentelemetry::trace::SpanContext;
use trivium_proto::{
    model::v1::Intent,
    retriever::v1::{Rerank, RerankReport, SearchResponse, Snapshot},
    router::v1::AuditedSearch,
};

use crate::trace;

/// What a run saw on its way. Written while it runs, read when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    trace_id: OnceLock<String>,
    span: OnceLock<SpanContext>,
    intent: OnceLock<Intent>,
    searches: Mutex<Vec<AuditedSearch>>,
}

impl Witness {
    /// Notes the trace, and the span that is current.
    pub fn traced(&self, trace_id: &str) {
        // A run is in one trace.
        let _ = self.trace_id.set(trace_id.to_owned());
        if let Some(span) = trace::current() {
            let _ = self.span.set(span);
        }
    }

    /// The span of the run; `None` before it began.
    pub fn span(&self) -> Option<&SpanContext> {
        self.span.get()
    }

    /// The trace, 32 hexadecimal digits; empty before the run began.
    pub fn trace_id(&self) -> &str {
        self.trace_id.get().map_or("", String::as_str)
    }

    /// Notes what the intent model said.
    pub fn understood(&self, intent: &Intent) {
        // The model is asked once in a run.
        let _ = self.intent.set(intent.clone());
    }

    /// Notes how a collection was searched.
    pub fn searched(&self, response: &SearchResponse) {
        let search = AuditedSearch {
            snapshot: response.snapshot.clone(),
            fusion: response.fusion,
            embedder: response.embedder.clone(),
            rerank: response.rerank.as_ref().and_then(took_effect),
        };
        self.searches.lock().unwrap_or_else(PoisonError::into_inner).push(search);
    }

    /// Notes what an earlier run saw, whose answer is given again.
    pub fn recalled(&self, intent: Option<&Intent>, searches: &[AuditedSearch]) {
        intent.into_iter().for_each(|intent| self.understood(intent));
        self.searches.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(searches);
    }

    /// What the intent model said, if it was asked.
    pub fn intent(&self) -> Option<&Intent> {
        self.intent.get()
    }

    /// How the collections were searched.
    pub fn searches(&self) -> Vec<AuditedSearch> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The second stage as a replay asks for it.
fn took_effect(second: &RerankReport) -> Option<Rerank> {
    let asked = Rerank { method: second.method, depth: Some(second.candidates), weight: Some(second.weight) };
    second.left_out_reason.is_empty().then_some(asked)
}

/// What a replay takes from the record of the run that it repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Past {
    /// What the intent model said; `None` when it was not asked.
    pub intent: Option<Intent>,
    /// How each collection was searched.
    pub searches: Vec<AuditedSearch>,
}

impl Past {
    /// How a collection was searched.
    pub fn search(&self, collection: &str) -> Option<(&AuditedSearch, &Snapshot)> {
        let mut found = self.searches.iter().filter_map(|search| Some((search, search.snapshot.as_ref()?)));
        found.find(|(_, snapshot)| snapshot.collection == collection)
    }
}
