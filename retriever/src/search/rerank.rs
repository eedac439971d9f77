//! The second stage: the first candidates in a new order, by a score that looks at each of them closely.
//!
//! It never fails a search. Whatever keeps it from its scores, the fused order stands, and the report says why.

mod explain;
mod late;
mod query_tokens;

pub use explain::TokenAnswer;
pub(super) use explain::explain;
pub(super) use query_tokens::{encode_both, given_tokens};

use super::{Leg, Missing, Ranked, SearchQuery, telemetry};
use crate::collection::{Collection, EmbedderRef, Published};
use crate::embedder::Embedder;
use crate::given_vector::GivenTokens;
use crate::second_stage::{Method, Wanted};
use crate::vector::TokenColumn;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;
use trivium_ranking::late_interaction::TokenMatch;
use trivium_ranking::second_stage::{Candidate, SecondStageWeight, reorder};
use trivium_service_kit::{Deadline, Error, Reason};

/// What a search asks of the second stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// How; `None` for what the collection says, and the default where it says nothing.
    pub method: Option<Wanted>,
    /// How many of the first candidates.
    pub depth: usize,
    /// Share of the second stage's score; `None` for the method's default.
    pub weight: Option<SecondStageWeight>,
}

/// What the second stage said of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescored {
    /// Rank before, from 1.
    pub rank_before: u32,
    /// Rank after.
    pub rank_after: u32,
    /// The method's own score; `None` when it could say nothing.
    pub score: Option<f64>,
    /// What it is placed by.
    pub blended: f64,
    /// The parts of late interaction's score.
    pub parts: Option<Parts>,
    /// The passage's best token for each token of the query, where late interaction scored it and the query asks to explain.
    pub matched: Option<Matched>,
}

/// What late interaction's score is made of (`trivium_ranking::beginning`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parts {
    /// The mean similarity of the query's tokens to the passage's, -1 to 1.
    pub passage: f64,
    /// The similarity of the query to the document's first chunk, -1 to 1; `None` when nothing is known of it.
    pub beginning: Option<f64>,
}

/// The passage's best token for each token of the query.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// In the order of the query's tokens.
    pub matches: Vec<TokenMatch>,
    /// How many tokens the passage has.
    pub passage_tokens: usize,
}

/// How the second stage went.
#[derive(Debug, Clone)]
pub struct Report {
    /// The method.
    pub method: Method,
    /// Candidates that went in.
    pub candidates: usize,
    /// Share of its score.
    pub weight: SecondStageWeight,
    /// Time that it took.
    pub elapsed: Duration,
    /// What made the scores and how many there were, or why the fused order stands.
    pub outcome: Result<(EmbedderRef, usize), Error>,
}

/// Candidates of a search that asks for no other number.
pub const DEFAULT_DEPTH: usize = 20;
/// Shares of the second stage's score. Late interaction's was chosen on judged sets; a cross-encoder's order is its own.
const LATE_INTERACTION_WEIGHT: f64 = 0.4;
const CROSS_ENCODER_WEIGHT: f64 = 1.0;

impl Default for Wish {
    fn default() -> Self {
        Self { method: None, depth: DEFAULT_DEPTH, weight: None }
    }
}

impl Wish {
    /// The method that a search of this state comes to, if any: by default late interaction, where there are token vectors
    /// and the query is encoded anyway.
    pub(super) fn method(&self, query: &SearchQuery, published: &Published) -> Option<Method> {
        match self.method {
            Some(wanted) => wanted.method(),
            None => {
                let ready = published.table.layout().tokens.is_some() && query.legs.has(Leg::Semantic);
                ready.then_some(Method::LateInteraction)
            }
        }
    }

    /// The same with what the collection says where this says nothing. What a collection says is as good as what a request
    /// says: it is done, or the answer tells why it is not.
    pub(super) fn or(self, own: Option<Wanted>) -> Self {
        Self { method: self.method.or(own), ..self }
    }

    fn weight(&self, method: Method) -> SecondStageWeight {
        let default = match method {
            Method::LateInteraction => LATE_INTERACTION_WEIGHT,
            Method::CrossEncoder => CROSS_ENCODER_WEIGHT,
        };
        self.weight.unwrap_or_else(|| SecondStageWeight::saturating(default))
    }
}

/// What the second stage works with.
pub(super) struct SecondStage<'a> {
    pub(super) collection: &'a Collection,
    pub(super) published: &'a Arc<Published>,
    pub(super) embedder: &'a dyn Embedder,
    pub(super) query: &'a SearchQuery,
    /// The query's vector, where it is there already, and the token vectors that came with it.
    pub(super) encoded: Option<(Vec<f32>, Option<GivenTokens>)>,
    /// Why the semantic leg is missing: where the encoder gave no vector, it is not asked for token vectors either.
    pub(super) encoder_away: Option<&'a Missing>,
    /// The second stage's own share of the time.
    pub(super) deadline: Deadline,
}

/// What a method reads of the query's tokens in a state, if it reads them.
pub(super) fn token_column(method: Method, published: &Published) -> Option<TokenColumn> {
    published.table.layout().tokens.clone().filter(|_| method == Method::LateInteraction)
}

/// A score for each candidate that has one, and what made them.
struct Scores {
    model: EmbedderRef,
    scores: HashMap<u64, Score>,
}

/// What the second stage says of one candidate.
#[derive(Debug, Clone, PartialEq)]
struct Score {
    score: f64,
    parts: Option<Parts>,
    matched: Option<Matched>,
}

impl SecondStage<'_> {
    /// Puts the first rows in a new order, and says how that went.
    pub(super) async fn run(self, method: Method, ranked: &mut Ranked) -> Report {
        let started = Instant::now();
        let row_ids: Vec<u64> = ranked.rows.iter().take(self.query.rerank.depth).map(|row| row.key).collect();
        let (weight, candidates) = (self.query.rerank.weight(method), row_ids.len());
        let span = telemetry::rerank(method, candidates);
        let work = async {
            match method {
                Method::LateInteraction => self.late_interaction(row_ids).await,
                Method::CrossEncoder => self.cross_encoder(row_ids).await,
            }
        };
        let scores =
            self.deadline.limit("the second stage", work.instrument(span.clone())).await.and_then(|scores| scores);
        let outcome = scores.map(|scores| {
            let scored = scores.scores.len();
            place(ranked, candidates, scores.scores, weight);
            (scores.model, scored)
        });
        telemetry::record_rerank(&span, &outcome);
        if let Err(error) = &outcome {
            tracing::debug!(reason = error.reason().as_str(), %error, "the fused order stands");
        }
        Report { method, candidates, weight, elapsed: started.elapsed(), outcome }
    }

    async fn cross_encoder(&self, row_ids: Vec<u64>) -> Result<Scores, Error> {
        let passages = self.published.passages(row_ids).await;
        let passages = passages.map_err(|error| super::read_error(self.collection, &error))?;
        let worded = passages.into_iter().filter(|passage| !passage.text.trim().is_empty());
        let (row_ids, texts): (Vec<u64>, Vec<String>) = worded.map(|passage| (passage.row_id, passage.text)).unzip();
        if texts.is_empty() {
            return Err(Error::new(Reason::FieldInvalid, "no candidate has a word to read"));
        }
        let found = self.embedder.cross_encode(&self.query.text, texts, self.deadline).await?;
        let scores = found.scores.into_iter().map(|score| Score { score, parts: None, matched: None });
        Ok(Scores { model: found.model, scores: row_ids.into_iter().zip(scores).collect() })
    }
}

/// Moves the first `candidates` rows to their new places, and notes what each was given.
fn place(ranked: &mut Ranked, candidates: usize, mut scores: HashMap<u64, Score>, weight: SecondStageWeight) {
    let first = &ranked.rows[..candidates.min(ranked.rows.len())];
    let second = |row: u64| scores.get(&row).map(|score| score.score);
    let both: Vec<Candidate> =
        first.iter().map(|row| Candidate { first: row.score, second: second(row.key) }).collect();
    let placed = reorder(&both, weight);
    let rows: Vec<_> = placed.iter().filter_map(|place| first.get(place.index).cloned()).collect();
    for ((row, place), rank_after) in rows.iter().zip(&placed).zip(1..) {
        let rank_before = u32::try_from(place.index).unwrap_or(u32::MAX).saturating_add(1);
        let found = scores.remove(&row.key);
        let score = found.as_ref().map(|found| found.score);
        let parts = found.as_ref().and_then(|found| found.parts);
        let matched = found.and_then(|found| found.matched);
        let rescored = Rescored { rank_before, rank_after, score, blended: place.score, parts, matched };
        ranked.rescored.insert(row.key, rescored);
    }
    ranked.rows.splice(..rows.len(), rows);
}

fn projection(column: &TokenColumn) -> EmbedderRef {
    EmbedderRef { name: column.projection.clone(), version: column.version.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trivium_ranking::fusion::Fused;

    #[test]
    fn the_first_rows_move_and_the_others_stay() {
        let row = |key: u64| Fused { key, score: 10.0 - key as f64, parts: Vec::new() };
        let mut ranked = Ranked { legs: Vec::new(), rows: (0..5).map(row).collect(), rescored: HashMap::new() };
        let scores = [(0, 0.1), (1, 0.2), (2, 0.9), (4, 5.0)];
        let scores = scores.map(|(row, score)| (row, Score { score, parts: None, matched: None })).into();
        place(&mut ranked, 3, scores, SecondStageWeight::new(1.0).unwrap());
        assert_eq!(ranked.rows.iter().map(|row| row.key).collect::<Vec<_>>(), [2, 1, 0, 3, 4]);
        let moved = &ranked.rescored[&2];
        assert_eq!((moved.rank_before, moved.rank_after, moved.score), (3, 1, Some(0.9)));
        assert!(!ranked.rescored.contains_key(&4), "the fourth row was no candidate");
    }
}
