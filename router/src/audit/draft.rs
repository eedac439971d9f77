//! A record in the making: it watches a call from the outside.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use futures::Stream;
use sha2::{Digest, Sha256};
use trivium_proto::{
    retriever::v1::Hit,
    router::v1::{Account, AuditCall, AuditRecord, Passage, QueryOptions, RouteResponse},
};
use trivium_service_kit::{Error, Reason, telemetry};

use super::{Audit, witness::Witness};
use crate::{execute::Event, policy::Policy};

/// What is known of a call before it runs.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Which call.
    pub call: AuditCall,
    /// The query.
    pub query: String,
    /// Its name.
    pub request_id: String,
    /// The caller's options.
    pub options: QueryOptions,
}

/// The record of a call that has begun. It is handed in when this is dropped, so that a call
/// whose caller goes away is recorded as well.
pub(crate) struct Draft {
    audit: Audit,
    policy: Arc<Policy>,
    witness: Arc<Witness>,
    record: AuditRecord,
    is_ended: bool,
}

impl Draft {
    /// Begins a record.
    pub fn new(audit: Audit, call: Call, policy: Arc<Policy>, witness: Arc<Witness>) -> Self {
        let content = telemetry::capture_content();
        let Call { call, query, request_id, mut options } = call;
        let filter_sha256 = match options.filter.as_str() {
            "" => String::new(),
            filter => sha256(filter),
        };
        if !content {
            options.filter.clear();
        }
        let record = AuditRecord {
            request_id,
            call: call.into(),
            query_sha256: sha256(&query),
            query: if content { query } else { String::new() },
            filter_sha256,
            options: Some(options),
            default_collections: audit.default_collections().to_vec(),
            ..AuditRecord::default()
        };
        Self { audit, policy, witness, record, is_ended: false }
    }

    /// Notes an event of the answer.
    pub fn saw(&mut self, event: &Event) {
        match event {
            Event::Decision(decision) => self.record.decision = Some(decision.clone()),
            Event::Passages(list) => self.record.passages = list.passages.iter().map(kept).collect(),
            Event::Text(text) if telemetry::capture_content() => self.record.answer.push_str(text),
            Event::Text(_) | Event::Citation(_) => {}
            Event::Account(account) => {
                self.record.account = Some(account.clone());
                self.is_ended = true;
            }
        }
    }

    /// Notes how the call failed.
    pub fn failed(&mut self, error: &Error) {
        self.record.error_reason = error.reason().as_str().to_owned();
        self.record.error_field = error.field().unwrap_or_default().to_owned();
        self.is_ended = true;
    }

    /// Notes the decision of a call that asked for nothing else.
    pub fn routed(&mut self, response: &RouteResponse) {
        self.record.decision.clone_from(&response.decision);
        self.record.account = Some(Account {
            models: response.models.clone(),
            timings_ms: response.timings_ms.clone(),
            trace_id: response.trace_id.clone(),
            request_id: response.request_id.clone(),
            ..Account::default()
        });
        self.is_ended = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let mut record = std::mem::take(&mut self.record);
        if !self.is_ended {
            record.error_reason = Reason::Cancelled.as_str().to_owned();
        }
        record.recorded_at = Some(SystemTime::now().into());
        record.trace_id = self.witness.trace_id().to_owned();
        record.intent = self.witness.intent().cloned();
        record.searches = self.witness.searches();
        self.audit.record(record, Arc::clone(&self.policy));
    }
}

/// The events of an answer, with a draft that watches them go by.
pub(crate) struct Watched<S> {
    events: S,
    draft: Option<Draft>,
}

impl<S> Watched<S> {
    /// Watches `events`; without a draft they only pass.
    pub fn new(events: S, draft: Option<Draft>) -> Self {
        Self { events, draft }
    }
}

impl<S: Stream<Item = Result<Event, Error>> + Unpin> Stream for Watched<S> {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.events).poll_next(context);
        if let (Poll::Ready(Some(item)), Some(draft)) = (&next, &mut self.draft) {
            match item {
                Ok(event) => draft.saw(event),
                Err(error) => draft.failed(error),
            }
        }
        next
    }
}

/// SHA-256 of a text, lower-case hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A passage as it is kept: where it is and how it scored, and what it says only if content may be captured.
fn kept(passage: &Passage) -> Passage {
    if telemetry::capture_content() {
        return passage.clone();
    }
    let Some(hit) = &passage.hit else { return passage.clone() };
    let legs = hit.legs.iter().cloned().map(|mut leg| {
        leg.terms.clear();
        leg
    });
    let hit = Hit {
        document_id: hit.document_id.clone(),
        chunk_id: hit.chunk_id.clone(),
        chunk_no: hit.chunk_no,
        char_start: hit.char_start,
        char_end: hit.char_end,
        score: hit.score,
        legs: legs.collect(),
        ..Hit::default()
    };
    Passage { hit: Some(hit), ..passage.clone() }
}
