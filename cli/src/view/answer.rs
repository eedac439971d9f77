//! An answer, put together from the events of its stream.

use std::collections::BTreeMap;

use serde::Serialize;
use trivium_proto::{
    model::v1::{Citation, CitationSupport, FinishReason},
    router::v1::{Account, QueryStreamResponse, query_stream_response::Event as WireEvent},
};

use super::{DecisionView, Hit, Model, SnapshotView};

/// What `trivium ask --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Answer {
    /// Which road, and why.
    #[serde(flatten)]
    pub decision: DecisionView,
    /// The answer's text.
    pub answer: String,
    /// What supports it.
    pub citations: Vec<CitationView>,
    /// What was found, best first.
    pub passages: Vec<Hit>,
    /// What was left out, and why.
    pub degraded: Vec<DegradationView>,
    /// The models that took part, by role.
    pub models: BTreeMap<String, Model>,
    /// The states of the collections that were searched.
    pub snapshots: Vec<SnapshotView>,
    /// Milliseconds by hop.
    pub timings_ms: BTreeMap<String, f64>,
    /// The backend that wrote the answer; empty when none did.
    pub generator: String,
    /// Why the answer ended; empty when none was generated.
    pub finish_reason: &'static str,
    /// Numbers that a language model cited and no passage has.
    pub unknown_citations: Vec<u32>,
    /// Numbers of the passages that the generator's prompt had no room for.
    pub passages_left_out: Vec<u32>,
    /// Whether the answer came from the router's cache.
    pub cached: bool,
    /// Numbers of the passages of which the prompt held the beginning only.
    pub passages_cut: Vec<u32>,
    /// The trace.
    pub trace_id: String,
    /// The request.
    pub request_id: String,
}

/// What supports a part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CitationView {
    /// Number of the passage.
    pub passage: u32,
    /// The document it is from.
    pub document_id: String,
    /// Start of the supported text in the answer, in code points.
    pub answer_start: u32,
    /// One past its end.
    pub answer_end: u32,
    /// The words of the passage.
    pub quote: String,
    /// Whether the passage bears the text out: `HOLDS`, `DOUBTFUL`, or empty when it was not compared.
    pub support: &'static str,
}

/// What was left out of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DegradationView {
    /// The part.
    pub part: String,
    /// Why: a reason of the error catalogue.
    pub reason: String,
    /// What the answer does without it.
    pub detail: String,
    /// The collection that it was left out of; empty where it is no part of one.
    pub collection: String,
}

/// What an event of the stream brought, for showing it at once.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// The road is known.
    Decided(&'a DecisionView),
    /// The passages are known.
    Found(&'a [Hit]),
    /// A piece of the answer.
    Text(String),
    /// Something that shows at the end.
    Later,
}

impl Answer {
    /// Takes the next event in.
    pub fn take(&mut self, event: QueryStreamResponse) -> Event<'_> {
        match event.event {
            Some(WireEvent::Decision(decision)) => {
                self.decision = decision.into();
                Event::Decided(&self.decision)
            }
            Some(WireEvent::Passages(list)) => {
                self.passages = list.passages.into_iter().map(Hit::from).collect();
                Event::Found(&self.passages)
            }
            Some(WireEvent::Text(piece)) => {
                self.answer.push_str(&piece);
                Event::Text(piece)
            }
            Some(WireEvent::Citation(citation)) => {
                let citation = self.cite(citation);
                self.citations.push(citation);
                Event::Later
            }
            Some(WireEvent::Account(account)) => {
                self.close(account);
                Event::Later
            }
            None => Event::Later,
        }
    }

    fn cite(&self, citation: Citation) -> CitationView {
        let cited = self.passages.iter().find(|hit| hit.number == Some(citation.passage_number));
        CitationView {
            passage: citation.passage_number,
            document_id: cited.map(|hit| hit.document_id.clone()).unwrap_or_default(),
            answer_start: citation.answer_start,
            answer_end: citation.answer_end,
            support: match citation.support() {
                CitationSupport::Unspecified => "",
                CitationSupport::Holds => "HOLDS",
                CitationSupport::Doubtful => "DOUBTFUL",
            },
            quote: citation.quote,
        }
    }

    fn close(&mut self, account: Account) {
        self.finish_reason = match account.finish_reason() {
            FinishReason::Unspecified => "",
            FinishReason::Stop => "STOP",
            FinishReason::Length => "LENGTH",
            FinishReason::NotInPassages => "NOT_IN_PASSAGES",
            FinishReason::Filtered => "FILTERED",
        };
        self.degraded = account
            .degraded
            .into_iter()
            .map(|left_out| DegradationView {
                part: left_out.part,
                reason: left_out.reason,
                detail: left_out.detail,
                collection: left_out.collection,
            })
            .collect();
        self.models =
            account.models.into_iter().map(|used| (used.role, used.model.unwrap_or_default().into())).collect();
        self.snapshots = account.snapshots.into_iter().map(SnapshotView::from).collect();
        self.timings_ms = account.timings_ms.into_iter().collect();
        self.generator = account.generator;
        self.unknown_citations = account.unknown_citations;
        self.passages_left_out = account.passages_left_out;
        self.cached = account.cached;
        self.passages_cut = account.passages_cut;
        self.trace_id = account.trace_id;
        self.request_id = account.request_id;
    }

    /// Whether the answer cites the passage of that number.
    pub fn cites(&self, number: Option<u32>) -> bool {
        self.citations.iter().any(|citation| Some(citation.passage) == number)
    }
}

#[cfg(test)]
mod tests {
    use trivium_proto::{
        retriever::v1::Hit as WireHit,
        router::v1::{Decision, Passage, PassageList, Road},
    };

    use super::*;

    fn event(event: WireEvent) -> QueryStreamResponse {
        QueryStreamResponse { event: Some(event) }
    }

    #[test]
    fn the_stream_adds_up_to_one_document_with_the_names_of_the_contract() {
        let hit = WireHit { document_id: "d".into(), ..WireHit::default() };
        let passage = Passage { number: 1, collection: "docs".into(), hit: Some(hit), also_in: Vec::new() };
        let decision = Decision { road: Road::Hybrid.into(), intent: "how_to".into(), ..Decision::default() };
        let citation =
            Citation { passage_number: 1, answer_start: 0, answer_end: 5, quote: "Hello".into(), support: 1 };
        let account = Account { trace_id: "t".into(), request_id: "r".into(), ..Account::default() };
        let mut answer = Answer::default();
        for next in [
            WireEvent::Decision(decision),
            WireEvent::Passages(PassageList { passages: vec![passage] }),
            WireEvent::Text("Hello ".into()),
            WireEvent::Text("[1]".into()),
            WireEvent::Citation(citation),
            WireEvent::Account(account),
        ] {
            answer.take(event(next));
        }
        assert_eq!(answer.answer, "Hello [1]");
        assert_eq!(answer.citations[0].document_id, "d");
        assert!(answer.cites(Some(1)) && !answer.cites(Some(2)) && !answer.cites(None));

        let json = serde_json::to_value(&answer).expect("JSON");
        assert_eq!((&json["route"], &json["intent"]), (&"hybrid".into(), &"how_to".into()));
        for key in ["confidence", "reason", "answer", "citations", "passages", "degraded", "models", "snapshots"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        for key in ["timings_ms", "trace_id", "request_id"] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }
}
