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
use trivium_ranking::fusion::{self, Ranking, ScoreMoments, Scored, Statistics};
use trivium_service_kit::Error;

/// What a leg knows of all rows of its collection.
pub(super) struct Everywhere {
    moments: Option<ScoreMoments>,
    scores: Scores,
}

enum Scores {
    Words(LexicalScores),
    Meanings { vectors: ExactVectors, query: Vec<f32> },
}

impl Everywhere {
    pub(super) fn of_words(scores: LexicalScores) -> Self {
        Self { moments: Some(scores.moments()), scores: Scores::Words(scores) }
    }

    /// Takes a while, as the search for the nearest does.
    pub(super) fn of_meanings(vectors: ExactVectors, query: Vec<f32>) -> Self {
        Self { moments: vectors.moments(&query), scores: Scores::Meanings { vectors, query } }
    }

    fn statistics(&self) -> Option<Statistics> {
        self.moments.and_then(|moments| moments.statistics())
    }

    /// The scores of these rows; rows that say nothing to the leg are left out, as they are among its candidates.
    fn scores(&self, rows: &[u64]) -> Result<Vec<Scored<u64>>, CollectionError> {
        let scored = |key: u64, score: f32| Scored { key, score: score.into() };
        Ok(match &self.scores {
            Scores::Words(scores) => {
                scores.of_rows(rows)?.into_iter().map(|hit| scored(hit.row_id, hit.score)).collect()
            }
            Scores::Meanings { vectors, query } => {
                let similarity = |row: &u64| vectors.similarity(*row, query).filter(|similarity| *similarity != 0.0);
                rows.iter().filter_map(|row| Some(scored(*row, similarity(row)?))).collect()
            }
        })
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
/// What keeps the lexical index from being read.
pub(super) async fn weighted(
    collection: &Collection,
    outcomes: Vec<LegOutcome>,
    query: &SearchQuery,
) -> Result<Vec<fusion::Leg<u64>>, Error> {
    let [lexical, semantic] = query.weights;
    let weight = |leg: Leg| if leg == Leg::Lexical { lexical } else { semantic };
    let legs = outcomes.into_iter().map(|outcome| (weight(outcome.leg), outcome.ranking, outcome.everywhere));
    let legs: Vec<_> = legs.collect();
    if legs.iter().any(|(_, _, everywhere)| everywhere.is_none()) {
        return Ok(legs.into_iter().map(|(weight, ranking, _)| fusion::Leg::new(ranking, weight)).collect());
    }
    // Looking rows up in the lexical index reads files, which is nothing for an async thread.
    let work = tokio::task::spawn_blocking(move || {
        let found: HashSet<u64> =
            legs.iter().flat_map(|(_, ranking, _)| ranking.items()).map(|item| item.key).collect();
        let completed = legs.into_iter().map(|(weight, ranking, everywhere)| {
            let leg = fusion::Leg::new(ranking, weight);
            match everywhere {
                Some(everywhere) => complete(leg, &everywhere, &found),
                None => Ok(leg),
            }
        });
        completed.collect::<Result<Vec<_>, _>>()
    });
    let legs = AbortOnDropHandle::new(work).await.map_err(CollectionError::from).and_then(|legs| legs);
    legs.map_err(|error| read_error(collection, &error))
}

/// Gives a leg the scores of what others found.
fn complete(
    leg: fusion::Leg<u64>,
    everywhere: &Everywhere,
    found: &HashSet<u64>,
) -> Result<fusion::Leg<u64>, CollectionError> {
    let own: HashSet<u64> = leg.ranking.items().iter().map(|item| item.key).collect();
    let others: Vec<u64> = found.difference(&own).copied().collect();
    let all = leg.ranking.items().iter().copied().chain(everywhere.scores(&others)?);
    let (ranking, statistics) = (Ranking::new(all), everywhere.statistics());
    Ok(fusion::Leg { ranking, statistics, absent: everywhere.absent(), ..leg })
}
