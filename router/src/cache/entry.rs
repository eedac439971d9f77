//! A kept answer, and what it depends on.

use opentelemetry::trace::SpanContext;
use prost::Message;
use tokio::time::Instant;
use trivium_proto::{
    model::v1::{AnalyzeResponse, Intent, ModelRef},
    retriever::v1::Collection,
    router::v1::{Account, AuditedSearch, Decision, DecisionReason, Road},
};

use crate::execute::Event;

/// The generator that is a function of its passages and an encoder.
const EXTRACTIVE: &str = "extractive";

/// The collections as they were before an answer was computed.
pub(super) type Collections = Vec<Collection>;

/// A kept answer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The query that it answers, to the letter.
    pub text: String,
    /// Its events, the account last.
    pub events: Vec<Event>,
    /// What the intent model said.
    pub intent: Option<Intent>,
    /// How the collections were searched.
    pub searches: Vec<AuditedSearch>,
    /// The collections that were searched, as they were.
    pub collections: Collections,
    /// When it was computed.
    pub made: Instant,
    /// The span in which it was computed.
    pub made_by: Option<SpanContext>,
}

impl Entry {
    /// Its closing event.
    pub fn account(&self) -> Option<&Account> {
        match self.events.last() {
            Some(Event::Account(account)) => Some(account),
            _ => None,
        }
    }

    /// Its decision.
    pub fn decision(&self) -> Option<&Decision> {
        self.events.iter().find_map(|event| match event {
            Event::Decision(decision) => Some(decision),
            _ => None,
        })
    }

    /// Memory that it takes, in bytes, about.
    pub fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(bytes).sum();
        let collections: usize = self.collections.iter().map(Message::encoded_len).sum();
        // Strings and vectors beside their contents.
        1_024 + 2 * (events + collections) + self.text.len()
    }

    /// What the model host must be asked for to learn whether the same models serve: the intent, the vector.
    pub fn wants(&self) -> (bool, bool) {
        (self.intent.is_some(), self.encoders().next().is_some())
    }

    /// The encoders that took part, the one behind quoted answers among them.
    fn encoders(&self) -> impl Iterator<Item = &ModelRef> {
        let account = self.account();
        let is_quoted = account.is_some_and(|account| account.generator == EXTRACTIVE);
        let used = account.into_iter().flat_map(|account| &account.models);
        used.filter(move |used| match used.role.as_str() {
            "intent" => false,
            "generator" => is_quoted,
            _ => true,
        })
        .filter_map(|used| used.model.as_ref())
    }

    /// Whether it would be computed in the same way now, from the same states and by the same models.
    /// `now` are the collections, `analysis` what the model host gives for [`Self::wants`].
    pub fn holds(&self, now: &Collections, analysis: &AnalyzeResponse) -> bool {
        let of_intent = |intent: &Intent| intent.model.clone();
        let serving = |encoder: &ModelRef| {
            let of = |collection: &Collection| {
                [&collection.embedder, &collection.token_projection].contains(&&Some(encoder.clone()))
            };
            analysis.vectors.iter().any(|vector| vector.embedder.as_ref() == Some(encoder)) || now.iter().any(of)
        };
        self.collections.iter().all(|then| now.contains(then))
            && self.intent.as_ref().map(of_intent) == analysis.intent.as_ref().map(of_intent)
            && self.encoders().all(serving)
    }

    /// Whether an answer may be kept at all: it is whole, and nothing but what [`Self::holds`] looks at went into it.
    pub fn may_be_kept(&self, language_models: bool) -> bool {
        let Some(account) = self.account() else { return false };
        let is_function = language_models || is_quoted_or_none(account);
        let read_these = |snapshot| self.collections.iter().any(|now| now.snapshot.as_ref() == Some(snapshot));
        account.degraded.is_empty() && is_function && account.snapshots.iter().all(read_these)
    }

    /// Whether it answers every query that differs in white space alone: no prompt held the query, and no rule
    /// that looks at its letters decided.
    pub fn is_for_normalised(&self) -> bool {
        let Some((account, decision)) = self.account().zip(self.decision()) else { return false };
        let retrieved = matches!(decision.road(), Road::Lexical | Road::Semantic | Road::Hybrid);
        let by_model = matches!(
            decision.reason(),
            DecisionReason::Intent
                | DecisionReason::LowConfidence
                | DecisionReason::OutOfScope
                | DecisionReason::UnmappedIntent
                | DecisionReason::Caller
        );
        retrieved && by_model && is_quoted_or_none(account)
    }
}

fn is_quoted_or_none(account: &Account) -> bool {
    account.generator.is_empty() || account.generator == EXTRACTIVE
}

/// Bytes of an event, about.
pub(super) fn bytes(event: &Event) -> usize {
    match event {
        Event::Decision(decision) => decision.encoded_len(),
        Event::Passages(list) => list.encoded_len(),
        Event::Text(text) => text.len(),
        Event::Citation(citation) => citation.encoded_len(),
        Event::Account(account) => account.encoded_len(),
    }
}
