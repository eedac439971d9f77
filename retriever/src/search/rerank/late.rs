//! Late interaction with the token vectors that the table keeps.

use super::{Matched, Score, Scores, SecondStage, projection};
use crate::collection::CollectionError;
use crate::search::read_error;
use crate::vector::TokenColumn;
use std::collections::HashMap;
use trivium_ranking::late_interaction::{LateInteraction, TokenVectors, mean_similarity};
use trivium_service_kit::{Error, Reason};

impl SecondStage<'_> {
    pub(super) async fn late_interaction(&self, row_ids: Vec<u64>) -> Result<Scores, Error> {
        let name = &self.collection.spec().name;
        let Some(column) = self.published.table.layout().tokens.clone() else {
            let version = self.published.version();
            let message = format!("the collection {name:?} has no token vectors at version {version}");
            return Err(Error::new(Reason::NoModel, message));
        };
        let query = self.query_tokens(&column).await?;
        let passages = self.published.table.take_token_vectors(&row_ids).await;
        let passages = passages.map_err(|error| read_error(self.collection, &error.into()))?;
        let model = projection(&column);
        let explain = self.query.explain;
        let scored = tokio::task::spawn_blocking(move || score(&query, &passages, &column, explain)).await;
        let scores = scored.map_err(|error| read_error(self.collection, &CollectionError::from(error)))?;
        let scores =
            scores.ok_or_else(|| Error::new(Reason::Internal, format!("token vectors of {name:?} are broken")))?;
        Ok(Scores { model, scores })
    }
}

/// A score for each passage with tokens; `None` when the query's numbers are no vectors.
fn score(
    query: &[i8],
    passages: &HashMap<u64, Vec<i8>>,
    column: &TokenColumn,
    explain: bool,
) -> Option<HashMap<u64, Score>> {
    let late = LateInteraction::new(TokenVectors::new(query, column.dimension).ok()?);
    let of = |values: &[i8]| {
        let passage = TokenVectors::new(values, column.dimension).ok()?;
        let matches = late.matches(&passage)?;
        let score = mean_similarity(&matches);
        Some(Score { score, matched: explain.then(|| Matched { matches, passage_tokens: passage.tokens() }) })
    };
    Some(passages.iter().filter_map(|(row_id, values)| Some((*row_id, of(values)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_without_tokens_have_no_score() {
        let column = TokenColumn { projection: "p".into(), version: "1".into(), dimension: 2 };
        let passages = HashMap::from([(1, vec![0, 5]), (2, Vec::new()), (3, vec![7, 0, 0, 7])]);
        let scores = score(&[1, 0], &passages, &column, true).unwrap();
        assert_eq!(
            scores[&3].matched.as_ref().unwrap().matches.iter().map(|found| found.passage_token).collect::<Vec<_>>(),
            [0]
        );
        let mut rows: Vec<_> = scores.into_iter().map(|(row, score)| (row, (score.score * 1e3).round())).collect();
        rows.sort_by_key(|(row, _)| *row);
        assert_eq!(rows, [(1, 0.0), (3, 1_000.0)]);
        assert_eq!(score(&[1, 0, 0], &passages, &column, false), None);
    }
}
