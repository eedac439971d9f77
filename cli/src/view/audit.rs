//! What is on record of a request, and what its replay found.

use serde::Serialize;
use trivium_proto::{
    retriever::v1::{Fusion, Rerank, as_of::State, fusion::Method},
    router::v1::{
        AuditCall, AuditRecord, AuditedSearch, CacheMode, Feedback, NotRetained, PassageList, QueryOptions,
        QueryStreamResponse, ReplayQueryResponse, ReplayVerdict, Road, query_stream_response::Event,
    },
};

use crate::args::rerank_name;

use super::{Answer, DecisionView, Hit, Model, SnapshotView, road_name};

/// What `trivium audit show --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RecordView {
    /// When the call ended, RFC 3339.
    pub recorded_at: String,
    /// The call.
    pub call: &'static str,
    /// The query; empty when content was not captured.
    pub query: String,
    /// Its SHA-256.
    pub query_sha256: String,
    /// What the caller asked for.
    pub options: OptionsView,
    /// The model behind the intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent_model: Option<Model>,
    /// How the collections were searched.
    pub searches: Vec<SearchView>,
    /// What was decided, found and answered.
    #[serde(flatten)]
    pub answer: Answer,
    /// Why the call failed; empty when it did not.
    pub error: String,
    /// The field at fault.
    pub error_field: String,
    /// What people said of it.
    pub feedback: Vec<FeedbackView>,
}

/// What a caller asked for beyond the query.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OptionsView {
    /// The collections; empty for the policy's.
    pub collections: Vec<String>,
    /// The road; empty for the policy's choice.
    pub route: String,
    /// The number of passages.
    pub k: Option<u32>,
    /// The generator; empty for the policy's.
    pub generator: String,
    /// The filter; empty when there was none or content was not captured.
    pub filter: String,
    /// Its SHA-256; empty when there was none.
    pub filter_sha256: String,
    /// The earlier state that was asked for.
    pub as_of: Option<String>,
    /// Whether the cache was passed by.
    pub bypasses_cache: bool,
}

/// How one collection was searched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchView {
    /// The state that was read.
    pub snapshot: SnapshotView,
    /// How the legs were fused; absent for one leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<String>,
    /// The encoder of the semantic leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<Model>,
    /// The second stage, where one took effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<String>,
}

/// What somebody said.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FeedbackView {
    /// When, RFC 3339.
    pub recorded_at: String,
    /// Whether it helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helpful: Option<bool>,
    /// The right intent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub right_intent: String,
    /// The right road.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub right_road: String,
    /// The right documents, as COLLECTION/ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub right_documents: Vec<String>,
}

/// What `trivium audit replay --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayView {
    /// `SAME`, `SAME_BUT_ROUNDING`, `DIFFERENT` or `NOT_RETAINED`.
    pub verdict: &'static str,
    /// What differs, in words.
    pub differences: Vec<String>,
    /// What is not kept any more.
    pub not_retained: Vec<NotRetainedView>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// The decision of the replay.
    pub decision: Option<DecisionView>,
    /// The passages of the replay.
    pub passages: Vec<Hit>,
    /// The record.
    pub record: RecordView,
}

/// Something that is not kept any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRetainedView {
    /// `snapshot`, `policy` or `model`.
    pub part: String,
    /// Its name and version.
    pub what: String,
    /// The reason code.
    pub reason: String,
    /// What is known of it.
    pub detail: String,
}

impl From<AuditRecord> for RecordView {
    fn from(record: AuditRecord) -> Self {
        let mut answer = Answer { trace_id: record.trace_id, request_id: record.request_id, ..Answer::default() };
        let passages = PassageList { passages: record.passages };
        let events = [
            record.decision.map(Event::Decision),
            Some(Event::Passages(passages)),
            Some(Event::Text(record.answer)),
            record.account.map(Event::Account),
        ];
        for event in events.into_iter().flatten() {
            answer.take(QueryStreamResponse { event: Some(event) });
        }
        Self {
            recorded_at: record.recorded_at.map(|moment| moment.to_string()).unwrap_or_default(),
            call: match AuditCall::try_from(record.call) {
                Ok(AuditCall::Query) => "query",
                Ok(AuditCall::QueryStream) => "query_stream",
                Ok(AuditCall::Route) => "route",
                Ok(AuditCall::Unspecified) | Err(_) => "",
            },
            query: record.query,
            query_sha256: record.query_sha256,
            options: OptionsView::new(record.options.unwrap_or_default(), record.filter_sha256),
            intent_model: record.intent.and_then(|intent| intent.model).map(Model::from),
            searches: record.searches.into_iter().map(SearchView::from).collect(),
            answer,
            error: record.error_reason,
            error_field: record.error_field,
            feedback: record.feedback.into_iter().map(FeedbackView::from).collect(),
        }
    }
}

impl OptionsView {
    fn new(options: QueryOptions, filter_sha256: String) -> Self {
        Self {
            route: road_name(options.road()).to_owned(),
            bypasses_cache: options.cache() == CacheMode::Bypass,
            as_of: options.as_of.and_then(|as_of| as_of.state).map(|state| match state {
                State::Version(version) => version.to_string(),
                State::Tag(tag) => tag,
                State::Time(time) => time.to_string(),
            }),
            collections: options.collections,
            k: options.k,
            generator: options.generator,
            filter: options.filter,
            filter_sha256,
        }
    }
}

impl From<AuditedSearch> for SearchView {
    fn from(search: AuditedSearch) -> Self {
        Self {
            snapshot: search.snapshot.unwrap_or_default().into(),
            fusion: search.fusion.map(|fusion| fusion_words(&fusion)),
            embedder: search.embedder.map(Model::from),
            rerank: search.rerank.map(|rerank| rerank_words(&rerank)),
        }
    }
}

fn rerank_words(rerank: &Rerank) -> String {
    let (method, depth, weight) = (rerank_name(rerank.method()), rerank.depth(), rerank.weight());
    format!("{method}, the first {depth}, weight {weight}")
}

fn fusion_words(fusion: &Fusion) -> String {
    let method = match &fusion.method {
        None => "default".to_owned(),
        Some(Method::ReciprocalRank(rrf)) => format!("reciprocal rank, k {}", rrf.k),
        Some(Method::Convex(convex)) => {
            let scale = convex.normalisation().as_str_name().trim_start_matches("NORMALISATION_").to_lowercase();
            format!("convex, {scale}")
        }
    };
    match &fusion.weights {
        Some(weights) => format!("{method}, lexical {} to semantic {}", weights.lexical, weights.semantic),
        None => method,
    }
}

impl From<Feedback> for FeedbackView {
    fn from(feedback: Feedback) -> Self {
        let road = Road::try_from(feedback.right_road).unwrap_or_default();
        let documents = feedback.right_documents.into_iter();
        Self {
            recorded_at: feedback.recorded_at.map(|moment| moment.to_string()).unwrap_or_default(),
            helpful: feedback.helpful,
            right_intent: feedback.right_intent,
            right_road: road_name(road).to_owned(),
            right_documents: documents.map(|it| format!("{}/{}", it.collection, it.document_id)).collect(),
        }
    }
}

impl From<ReplayQueryResponse> for ReplayView {
    fn from(response: ReplayQueryResponse) -> Self {
        let verdict = match response.verdict() {
            ReplayVerdict::Unspecified => "",
            ReplayVerdict::Same => "SAME",
            ReplayVerdict::SameButRounding => "SAME_BUT_ROUNDING",
            ReplayVerdict::Different => "DIFFERENT",
            ReplayVerdict::NotRetained => "NOT_RETAINED",
        };
        Self {
            verdict,
            differences: response.differences,
            not_retained: response.not_retained.into_iter().map(NotRetainedView::from).collect(),
            notes: response.notes,
            decision: response.decision.map(DecisionView::from),
            passages: response.passages.into_iter().map(Hit::from).collect(),
            record: response.record.unwrap_or_default().into(),
        }
    }
}

impl From<NotRetained> for NotRetainedView {
    fn from(missing: NotRetained) -> Self {
        let NotRetained { part, what, reason, detail } = missing;
        Self { part, what, reason, detail }
    }
}

#[cfg(test)]
mod tests {
    use trivium_proto::router::v1::{Account, Decision};

    use super::*;

    #[test]
    fn a_record_has_the_names_of_an_answer_and_more() {
        let record = AuditRecord {
            request_id: "r".into(),
            call: AuditCall::QueryStream.into(),
            query_sha256: "ab".into(),
            decision: Some(Decision { road: Road::Hybrid.into(), ..Decision::default() }),
            account: Some(Account { request_id: "r".into(), trace_id: "t".into(), ..Account::default() }),
            feedback: vec![Feedback { helpful: Some(true), ..Feedback::default() }],
            ..AuditRecord::default()
        };
        let json = serde_json::to_value(RecordView::from(record)).expect("JSON");
        assert_eq!((&json["call"], &json["route"]), (&"query_stream".into(), &"hybrid".into()));
        assert_eq!((&json["request_id"], &json["trace_id"]), (&"r".into(), &"t".into()));
        assert_eq!(json["feedback"], serde_json::json!([{"recorded_at": "", "helpful": true}]));
        for key in ["passages", "snapshots", "models", "degraded", "timings_ms", "searches", "options", "error"] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_call_that_failed_keeps_its_name() {
        let record =
            AuditRecord { request_id: "r".into(), error_reason: "OVERLOADED".into(), ..AuditRecord::default() };
        let view = RecordView::from(record);
        assert_eq!((view.answer.request_id.as_str(), view.error.as_str()), ("r", "OVERLOADED"));
    }
}
