//! The second stage over the hits of several collections.

use trivium_proto::retriever::v1::{Hit, RerankReport, SearchResponse};
use trivium_ranking::second_stage::{Candidate, SecondStageWeight, reorder};

/// The weight of a second stage that took effect in every collection with hits, by the same model; `None` where there was
/// none, or where its scores cannot be compared.
pub(super) fn common<'a>(found: impl Iterator<Item = &'a SearchResponse>) -> Option<SecondStageWeight> {
    let mut with_hits = found.filter(|response| !response.hits.is_empty());
    let first: &RerankReport = with_hits.next()?.rerank.as_ref().filter(|report| report.model.is_some())?;
    let same = |response: &SearchResponse| {
        response.rerank.as_ref().is_some_and(|report| report.method == first.method && report.model == first.model)
    };
    if with_hits.all(same) { SecondStageWeight::new(first.weight).ok() } else { None }
}

/// Puts the hits that a second stage looked at in the order that both stages come to together; the others follow as they
/// are.
pub(super) fn reordered(hits: Vec<(String, Hit)>, weight: SecondStageWeight) -> Vec<(String, Hit)> {
    let (first, rest): (Vec<_>, Vec<_>) = hits.into_iter().partition(|(_, hit)| hit.rerank.is_some());
    let candidate = |(_, hit): &(String, Hit)| Candidate {
        first: hit.score,
        second: hit.rerank.as_ref().and_then(|rerank| rerank.score),
    };
    let candidates: Vec<Candidate> = first.iter().map(candidate).collect();
    let mut first: Vec<Option<(String, Hit)>> = first.into_iter().map(Some).collect();
    let mut all = Vec::with_capacity(first.len() + rest.len());
    for (placed, rank) in reorder(&candidates, weight).into_iter().zip(1..) {
        let Some((collection, mut hit)) = first.get_mut(placed.index).and_then(Option::take) else { continue };
        if let Some(rerank) = &mut hit.rerank {
            rerank.rank_before = u32::try_from(placed.index).unwrap_or(u32::MAX).saturating_add(1);
            rerank.rank_after = rank;
            rerank.blended = placed.score;
        }
        all.push((collection, hit));
    }
    all.extend(rest);
    all
}

#[cfg(test)]
mod tests {
    use trivium_proto::{model::v1::ModelRef, retriever::v1::RerankScore};

    use super::*;

    fn hit(id: &str, score: f64, second: Option<f64>) -> Hit {
        let rerank = second.map(|score| RerankScore { score: Some(score), ..RerankScore::default() });
        Hit { chunk_id: id.into(), score, rerank, ..Hit::default() }
    }

    fn response(hits: &[Hit], version: Option<&str>) -> SearchResponse {
        let model = version.map(|version| ModelRef { name: "minilm-tokens".into(), version: version.into() });
        let rerank = Some(RerankReport { model, weight: 1.0, ..RerankReport::default() });
        SearchResponse { hits: hits.to_vec(), rerank, ..SearchResponse::default() }
    }

    #[test]
    fn hits_of_all_collections_come_in_one_order() {
        let hits = [hit("a", 3.0, Some(0.1)), hit("b", 2.0, Some(0.9)), hit("c", 9.0, None)];
        let weight = SecondStageWeight::new(1.0).expect("a weight");
        let merged = reordered(hits.map(|hit| ("docs".to_owned(), hit)).to_vec(), weight);
        let ids: Vec<&str> = merged.iter().map(|(_, hit)| hit.chunk_id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c"]);
        let moved = merged[0].1.rerank.expect("it was looked at");
        assert_eq!((moved.rank_before, moved.rank_after), (2, 1));
    }

    #[test]
    fn scores_of_different_models_are_not_compared() {
        let hits = [hit("a", 1.0, Some(0.5))];
        let (one, two, none) = (response(&hits, Some("1")), response(&hits, Some("2")), response(&hits, None));
        let empty = response(&[], None);
        assert!(common([&one, &empty, &one].into_iter()).is_some());
        for mixed in [[&one, &two], [&one, &none], [&none, &one]] {
            assert_eq!(common(mixed.into_iter()), None);
        }
        assert_eq!(common([&SearchResponse::default()].into_iter()), None);
    }
}
