//! Each leg's scores of what the other one found.
//!
//! A leg gives its best candidates. What only one of them found is not therefore worth nothing to the other, whose score of
//! it may lie just below that of its own last candidate. Where both legs can tell the score of any row, each candidate is
//! scored by both before they are fused.

use super::legs::{LegOutcome, read_error};
use super::{Leg, SearchQuery};
use crate::collection::{Collection, CollectionError};
use crate::lexical::LexicalScores;
use crate::vector::ExactVectors;
use std::collections::HashSet;
use tokio_util::task::AbortOnDropHandle;
use trivium_ranking::fusion::{self, Ranking, Scored, Statistics};
use trivium_service_kit::Error;

/// What a leg knows of all rows of its collection.
pub(super) struct Everywhere {
    statistics: Option<Statistics>,
    scores: Scores,
}

enum Scores {
    Words(LexicalScores),
    Meanings { vectors: ExactVectors, query: Vec<f32> },
}

impl Everywhere {
    pub(super) fn of_words(scores: LexicalScores) -> Self {
        Self { statistics: scores.moments().statistics(), scores: Scores::Words(scores) }
    }

    /// Takes a while, as the search for the nearest does.
    pub(super) fn of_meanings(vectors: ExactVectors, query: Vec<f32>) -> Self {
        let statistics = vectors.moments(&query).and_then(|moments| moments.statistics());
        Self { statistics, scores: Scores::Meanings { vectors, query } }
    }

    /// The scores of these rows; rows that say nothing to the leg are left out, as they are among its candidates.
    fn scores(&self, rows: &[u64]) -> Vec<Scored<u64>> {
        let scored = |key: u64, score: f32| Scored { key, score: score.into() };
        match &self.scores {
            Scores::Words(scores) => {
                scores.of_rows(rows).into_iter().map(|hit| scored(hit.row_id, hit.score)).collect()
            }
            Scores::Meanings { vectors, query } => {
                let similarity = |row: &u64| vectors.similarity(*row, query).filter(|similarity| *similarity != 0.0);
                rows.iter().filter_map(|row| Some(scored(*row, similarity(row)?))).collect()
            }
        }
    }

    /// The score of a row that [`scores`](Self::scores) leaves out, where that is known: without a word of the query, it
    /// is 0.
    fn absent(&self) -> Option<f64> {
        matches!(self.scores, Scores::Words(_)).then_some(0.0)
    }
}

/// The legs as a fusion takes them.
///
/// # Errors
/// The process is ending.
pub(super) async fn weighted(
    collection: &Collection,
    outcomes: Vec<LegOutcome>,
    query: &SearchQuery,
) -> Result<Vec<fusion::Leg<u64>>, Error> {
    let [lexical, semantic] = query.weights;
    let weight = |leg: Leg| if leg == Leg::Lexical { lexical } else { semantic };
    let of = |outcome: LegOutcome| (fusion::Leg::new(outcome.ranking, weight(outcome.leg)), outcome.everywhere);
    let (legs, everywhere): (Vec<_>, Vec<_>) = outcomes.into_iter().map(of).unzip();
    let Some(everywhere) = everywhere.into_iter().collect::<Option<Vec<Everywhere>>>() else { return Ok(legs) };
    // Looking rows up in the lexical index may read files, which is nothing for an async thread.
    let work = tokio::task::spawn_blocking(move || complete(legs, &everywhere));
    AbortOnDropHandle::new(work).await.map_err(|error| read_error(collection, &CollectionError::from(error)))
}

/// Gives each leg its scores of what the others found.
fn complete(legs: Vec<fusion::Leg<u64>>, everywhere: &[Everywhere]) -> Vec<fusion::Leg<u64>> {
    let keys = |leg: &fusion::Leg<u64>| leg.ranking.items().iter().map(|item| item.key).collect::<HashSet<u64>>();
    let own: Vec<HashSet<u64>> = legs.iter().map(keys).collect();
    let found: HashSet<u64> = own.iter().flatten().copied().collect();
    let completed = legs.into_iter().zip(&own).zip(everywhere).map(|((leg, own), everywhere)| {
        let others: Vec<u64> = found.difference(own).copied().collect();
        let all = leg.ranking.items().iter().copied().chain(everywhere.scores(&others));
        let (ranking, statistics, absent) = (Ranking::new(all), everywhere.statistics, everywhere.absent());
        fusion::Leg { ranking, statistics, absent, ..leg }
    });
    completed.collect()
}
