//! Late interaction with the token vectors that the table keeps.

use super::{Matched, Parts, Score, Scores, SecondStage, projection};
use crate::collection::CollectionError;
use crate::search::read_error;
use crate::vector::{RowTokens, TokenColumn};
use std::collections::HashMap;
use trivium_ranking::beginning::{cosine, with_beginning};
use trivium_ranking::late_interaction::{LateInteraction, TokenVectors, mean_similarity};
use trivium_service_kit::{Error, Reason};

/// The query, as the encoder gave it.
struct Query {
    vector: Vec<f32>,
    tokens: Vec<i8>,
}

/// What was read of the candidates, by row id.
struct Candidates {
    token_vectors: HashMap<u64, RowTokens>,
    /// The vectors of their documents' first chunks.
    beginnings: HashMap<u64, Vec<f32>>,
}

impl SecondStage<'_> {
    pub(super) async fn late_interaction(&self, row_ids: Vec<u64>) -> Result<Scores, Error> {
        let name = &self.collection.spec().name;
        let Some(column) = self.published.table.layout().tokens.clone() else {
            let version = self.published.version();
            let message = format!("the collection {name:?} has no token vectors at version {version}");
            return Err(Error::new(Reason::NoModel, message));
        };
        let (vector, tokens) = self.encoded_query(&column).await?;
        let candidates = self.candidates(row_ids).await.map_err(|error| read_error(self.collection, &error))?;
        let model = projection(&column);
        let explain = self.query.explain;
        let query = Query { vector, tokens };
        let scored = tokio::task::spawn_blocking(move || score(&query, &candidates, &column, explain)).await;
        let scores = scored.map_err(|error| read_error(self.collection, &CollectionError::from(error)))?;
        let scores =
            scores.ok_or_else(|| Error::new(Reason::Internal, format!("token vectors of {name:?} are broken")))?;
        Ok(Scores { model, scores })
    }

    async fn candidates(&self, row_ids: Vec<u64>) -> Result<Candidates, CollectionError> {
        let tokens = async { Ok(self.published.table.take_token_vectors(&row_ids).await?) };
        let beginnings = self.published.beginning_vectors(row_ids.clone());
        let (token_vectors, beginnings) = tokio::try_join!(tokens, beginnings)?;
        Ok(Candidates { token_vectors, beginnings })
    }
}

/// A score for each passage with tokens; `None` when the query's numbers are no vectors.
fn score(query: &Query, candidates: &Candidates, column: &TokenColumn, explain: bool) -> Option<HashMap<u64, Score>> {
    let late = LateInteraction::new(TokenVectors::new(&query.tokens, column.dimension).ok()?);
    let of = |row_id: &u64, values: &[i8]| {
        let passage = TokenVectors::new(values, column.dimension).ok()?;
        let matches = late.matches(&passage)?;
        let beginning = candidates.beginnings.get(row_id).and_then(|vector| cosine(&query.vector, vector));
        let parts = Parts { passage: mean_similarity(&matches), beginning };
        let matched = explain.then(|| Matched { matches, passage_tokens: passage.tokens() });
        Some(Score { score: with_beginning(parts.passage, parts.beginning), parts: Some(parts), matched })
    };
    let passages = candidates.token_vectors.iter();
    Some(passages.filter_map(|(row_id, values)| Some((*row_id, of(row_id, values)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column() -> TokenColumn {
        TokenColumn { projection: "p".into(), version: "1".into(), dimension: 2 }
    }

    fn query(tokens: &[i8]) -> Query {
        Query { vector: vec![1.0, 0.0], tokens: tokens.to_vec() }
    }

    #[test]
    fn passages_without_tokens_have_no_score() {
        let rows: [(u64, RowTokens); 3] = [(1, [0, 5].into()), (2, [].into()), (3, [7, 0, 0, 7].into())];
        let token_vectors = HashMap::from(rows);
        let candidates = Candidates { token_vectors, beginnings: HashMap::new() };
        let scores = score(&query(&[1, 0]), &candidates, &column(), true).unwrap();
        let best = scores[&3].matched.as_ref().unwrap().matches.iter().map(|found| found.passage_token);
        assert_eq!(best.collect::<Vec<_>>(), [0]);
        let mut rows: Vec<_> = scores.into_iter().map(|(row, score)| (row, (score.score * 1e3).round())).collect();
        rows.sort_by_key(|(row, _)| *row);
        assert_eq!(rows, [(1, 0.0), (3, 1_000.0)]);
        assert_eq!(score(&query(&[1, 0, 0]), &candidates, &column(), false), None);
    }

    #[test]
    fn of_equal_passages_the_one_whose_document_begins_better_comes_first() {
        let token_vectors = HashMap::from([1, 2, 3].map(|row| (row, [7, 0].into())));
        let beginnings = HashMap::from([(1, vec![0.0, 1.0]), (2, vec![1.0, 0.0])]);
        let scores = score(&query(&[1, 0]), &Candidates { token_vectors, beginnings }, &column(), false).unwrap();
        let parts = |row: u64| scores[&row].parts.map(|parts| (parts.passage.round(), parts.beginning));
        assert_eq!(parts(1), Some((1.0, Some(0.0))));
        assert_eq!(parts(2), Some((1.0, Some(1.0))));
        assert_eq!(parts(3), Some((1.0, None)));
        assert!(scores[&2].score > scores[&1].score);
    }
}
