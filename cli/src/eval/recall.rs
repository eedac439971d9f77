//! How many of the nearest passages a search by meaning finds.

use std::time::Duration;

use serde::Serialize;
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{AsOf, Leg, SearchRequest, SearchResponse, as_of::State},
};
use trivium_service_kit::Error;

use super::WITHOUT_SECOND_STAGE;
use crate::{bench::latency::Latencies, clients::Retriever};

/// Similarities that differ by less than this are taken for equal: the table and the memory add up in different orders.
const ROUNDING: f64 = 1e-5;

/// What was found of the nearest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recall {
    /// Nearest passages that were looked for with each query.
    pub k: u32,
    /// Queries.
    pub queries: usize,
    /// Mean share of the nearest that were found, 0 to 1.
    pub recall: f64,
    /// The smallest share of one query.
    pub worst: f64,
    /// Queries for which some of the nearest were missed.
    pub incomplete: usize,
    /// Median time of a search as served, as the retriever gives it.
    pub served_p50_ms: f64,
    /// Median time of an exact search.
    pub exact_p50_ms: f64,
}

/// One query, asked both ways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    found: f64,
    served: Duration,
    exact: Duration,
}

impl Recall {
    /// Puts the outcomes of queries together.
    pub fn of(k: u32, asked: &[Asked]) -> Self {
        let p50 = |of: fn(&Asked) -> Duration| {
            let mut latencies = Latencies::default();
            asked.iter().for_each(|one| latencies.push(of(one)));
            latencies.percentile_ms(0.5)
        };
        Self {
            k,
            queries: asked.len(),
            recall: asked.iter().map(|one| one.found).sum::<f64>() / asked.len().max(1) as f64,
            worst: asked.iter().map(|one| one.found).fold(1.0, f64::min),
            incomplete: asked.iter().filter(|one| one.found < 1.0).count(),
            served_p50_ms: p50(|one| one.served),
            exact_p50_ms: p50(|one| one.exact),
        }
    }
}

/// Asks one query both ways, of the same state.
///
/// # Errors
/// Whatever a search gives; that the state is not kept any more among it, while much is written.
pub async fn ask(
    retriever: &Retriever,
    collection: &str,
    query: &str,
    vector: &QueryVector,
    k: u32,
) -> Result<Asked, Error> {
    let request = SearchRequest {
        collection: collection.to_owned(),
        query: query.to_owned(),
        vectors: vec![vector.clone()],
        legs: vec![Leg::Semantic.into()],
        k: Some(k),
        rerank: Some(WITHOUT_SECOND_STAGE),
        ..SearchRequest::default()
    };
    let served = retriever.search(request.clone()).await?;
    let state = served.snapshot.as_ref().map(|snapshot| AsOf { state: Some(State::Version(snapshot.version)) });
    let exact = retriever.search(SearchRequest { exact: true, as_of: state, ..request }).await?;
    Ok(Asked { found: found(&scores(&served), &scores(&exact)), served: elapsed(&served), exact: elapsed(&exact) })
}

/// The share of the nearest that were found. One that is as near as the last of the nearest counts as one of them.
fn found(served: &[f64], nearest: &[f64]) -> f64 {
    let Some(last) = nearest.iter().copied().reduce(f64::min) else { return 1.0 };
    let found = served.iter().filter(|score| **score >= last - ROUNDING).count();
    found.min(nearest.len()) as f64 / nearest.len() as f64
}

fn scores(answer: &SearchResponse) -> Vec<f64> {
    answer.hits.iter().map(|hit| hit.score).collect()
}

fn elapsed(answer: &SearchResponse) -> Duration {
    Duration::try_from_secs_f64(answer.elapsed_ms / 1_000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_near_as_the_last_counts() {
        let cases: [(&[f64], &[f64], f64); 6] = [
            (&[0.9, 0.8], &[0.9, 0.8], 1.0),
            (&[0.9, 0.7], &[0.9, 0.8], 0.5),
            (&[0.9, 0.799_999], &[0.9, 0.8], 1.0),
            (&[0.9], &[0.9, 0.8, 0.7, 0.6], 0.25),
            (&[], &[0.9], 0.0),
            (&[], &[], 1.0),
        ];
        for (served, nearest, expected) in cases {
            assert!((found(served, nearest) - expected).abs() < 1e-12, "{served:?} of {nearest:?}");
        }
    }

    #[test]
    fn queries_are_put_together() {
        let ms = Duration::from_millis;
        let asked = [(1.0, 2, 9), (0.5, 4, 7), (1.0, 3, 8)];
        let asked = asked.map(|(found, served, exact)| Asked { found, served: ms(served), exact: ms(exact) });
        let recall = Recall::of(10, &asked);
        assert_eq!((recall.queries, recall.incomplete), (3, 1));
        let figures = [recall.worst, recall.recall, recall.served_p50_ms, recall.exact_p50_ms];
        for (figure, expected) in figures.into_iter().zip([0.5, 2.5 / 3.0, 3.0, 8.0]) {
            assert!((figure - expected).abs() < 1e-9, "{recall:?}");
        }
    }
}
