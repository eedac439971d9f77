//! The hits of several collections as one ranking.
//!
//! A collection fuses its own two legs. Fused scores are relative to the
//! candidates of one collection, so those of two collections cannot be compared:
//! the best hit of a collection that has nothing to say would stand beside the
//! best of one that has. The raw scores of a leg can. So the legs are put
//! together first, each over all collections, and then fused in the way that
//! the retriever fused them. Cosines of different embedders are no more
//! comparable than fused scores are, so each embedder is a leg of its own.

use trivium_proto::{
    model::v1::ModelRef,
    retriever::v1::{Fusion as FusionMessage, Hit, Leg, LegScore, SearchResponse},
    router::v1::Passage,
};
use trivium_ranking::fusion::{self, Fused, Fusion, Ranking, Scored, Weights};

use crate::request::fusion_method;

/// The best `k` hits of all collections, numbered from 1.
pub(super) fn merge(mut found: Vec<(String, SearchResponse)>, k: usize) -> Vec<Passage> {
    let hits = match found.as_mut_slice() {
        [(collection, response)] => {
            let hits = std::mem::take(&mut response.hits);
            hits.into_iter().map(|hit| (collection.clone(), hit)).collect()
        }
        _ => fuse(found),
    };
    let numbered = hits.into_iter().take(k).zip(1..);
    numbered.map(|((collection, hit), number)| Passage { number, collection, hit: Some(hit) }).collect()
}

/// A hit and where it comes from.
struct Candidate {
    collection: String,
    embedder: Option<ModelRef>,
    hit: Hit,
}

/// The part of a leg that can be compared: by words, or by the vectors of one embedder.
#[derive(Clone, Debug, PartialEq)]
enum CommonLeg {
    Lexical,
    Semantic(Option<ModelRef>),
}

fn fuse(found: Vec<(String, SearchResponse)>) -> Vec<(String, Hit)> {
    let method = found.iter().find_map(|(_, response)| response.fusion);
    let candidates: Vec<Candidate> = found
        .into_iter()
        .flat_map(|(collection, response)| {
            let embedder = response.embedder;
            response.hits.into_iter().map(move |hit| Candidate {
                collection: collection.clone(),
                embedder: embedder.clone(),
                hit,
            })
        })
        .collect();
    let names = common_legs(&candidates);
    let fused = fusion::fuse(&legs(&candidates, &names, method.as_ref()), &method_of(method.as_ref()));
    let mut candidates: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    // A single leg keeps its own score as the hit's score, as the contract says of a single collection.
    let is_fused = names.len() > 1;
    fused
        .into_iter()
        .filter_map(|place| {
            let candidate = candidates.get_mut(place.key)?.take()?;
            Some((candidate.collection, placed(candidate.hit, &place, &names, is_fused)))
        })
        .collect()
}

/// The legs that some hit has a score of, lexical first.
fn common_legs(candidates: &[Candidate]) -> Vec<CommonLeg> {
    let mut names: Vec<CommonLeg> = Vec::new();
    for candidate in candidates {
        let legs = candidate.hit.legs.iter();
        for name in legs.filter_map(|score| common_leg(score.leg(), candidate.embedder.as_ref())) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.sort_by_key(|name| *name != CommonLeg::Lexical);
    names
}

fn common_leg(leg: Leg, embedder: Option<&ModelRef>) -> Option<CommonLeg> {
    match leg {
        Leg::Lexical => Some(CommonLeg::Lexical),
        Leg::Semantic => Some(CommonLeg::Semantic(embedder.cloned())),
        Leg::Unspecified => None,
    }
}

/// Each leg over all collections, its items being indices into `candidates`.
fn legs(candidates: &[Candidate], names: &[CommonLeg], fusion: Option<&FusionMessage>) -> Vec<fusion::Leg<usize>> {
    let Some(weights) = weights(names, fusion) else { return Vec::new() };
    let ranking = |name: &CommonLeg| -> Ranking<usize> {
        let scores = candidates.iter().enumerate().filter_map(|(key, candidate)| {
            let of_leg =
                |score: &&LegScore| common_leg(score.leg(), candidate.embedder.as_ref()).as_ref() == Some(name);
            let score = candidate.hit.legs.iter().find(of_leg)?.score;
            Some(Scored { key, score })
        });
        scores.collect()
    };
    names.iter().zip(weights.as_slice()).map(|(name, weight)| fusion::Leg::new(ranking(name), *weight)).collect()
}

/// One weight for each leg: those of the fusion, or its defaults. `None` without a leg.
fn weights(names: &[CommonLeg], fusion: Option<&FusionMessage>) -> Option<Weights> {
    let [lexical, semantic] = match fusion.and_then(|fusion| fusion.weights) {
        Some(weights) => [weights.lexical, weights.semantic],
        None => Weights::hybrid_default().map(|weight| weight.get()),
    };
    let of = |name: &CommonLeg| if *name == CommonLeg::Lexical { lexical } else { semantic };
    // Where the only legs that found something weigh nothing, they count equally.
    Weights::new(names.iter().map(of)).or_else(|_| Weights::new(vec![1.0; names.len()])).ok()
}

fn method_of(fusion: Option<&FusionMessage>) -> Fusion {
    let method = fusion.and_then(|fusion| fusion.method.as_ref());
    method.and_then(|method| fusion_method(method).ok()).unwrap_or_default()
}

/// The hit with its ranks and scores among the hits of all collections.
fn placed(mut hit: Hit, place: &Fused<usize>, names: &[CommonLeg], is_fused: bool) -> Hit {
    for (name, part) in names.iter().zip(&place.parts) {
        let leg = if *name == CommonLeg::Lexical { Leg::Lexical } else { Leg::Semantic };
        let Some((part, score)) = part.zip(hit.legs.iter_mut().find(|score| score.leg() == leg)) else { continue };
        score.rank = part.rank;
        if is_fused {
            score.normalised_score = part.normalised;
            score.share = part.share;
        }
    }
    if is_fused {
        hit.score = place.score;
    }
    hit
}

#[cfg(test)]
mod tests {
    use trivium_proto::retriever::v1::{ConvexFusion, LegWeights, Normalisation, fusion::Method};

    use super::*;

    /// A hit with the legs' raw scores, as `(lexical, semantic)`.
    fn hit(id: &str, lexical: Option<f64>, semantic: Option<f64>) -> Hit {
        let leg = |leg: Leg, score: Option<f64>| {
            score.map(|score| LegScore {
                leg: leg.into(),
                rank: 1,
                score,
                normalised_score: 1.0,
                share: 0.5,
                ..LegScore::default()
            })
        };
        let legs = [leg(Leg::Lexical, lexical), leg(Leg::Semantic, semantic)].into_iter().flatten().collect();
        let score = lexical.or(semantic).unwrap_or_default();
        Hit { chunk_id: id.to_owned(), legs, score, ..Hit::default() }
    }

    fn found(collection: &str, embedder: &str, hits: Vec<Hit>) -> (String, SearchResponse) {
        let embedder = (!embedder.is_empty()).then(|| ModelRef { name: embedder.to_owned(), version: "1".to_owned() });
        let max = ConvexFusion { normalisation: Normalisation::Max.into() };
        let weights = Some(LegWeights { lexical: 1.0, semantic: 1.0 });
        let fusion = Some(FusionMessage { method: Some(Method::Convex(max)), weights });
        (collection.to_owned(), SearchResponse { hits, embedder, fusion, ..SearchResponse::default() })
    }

    fn ids(passages: &[Passage]) -> Vec<String> {
        let id = |passage: &Passage| {
            let hit = passage.hit.as_ref().expect("every passage has its hit");
            format!("{}:{}/{}", passage.number, passage.collection, hit.chunk_id)
        };
        passages.iter().map(id).collect()
    }

    #[test]
    fn one_collection_is_left_as_it_is() {
        let hits = vec![hit("x", Some(1.0), None), hit("y", Some(9.0), None), hit("z", None, Some(0.5))];
        let passages = merge(vec![found("docs", "minilm", hits.clone())], 2);
        assert_eq!(ids(&passages), ["1:docs/x", "2:docs/y"]);
        assert_eq!(passages[0].hit.as_ref(), Some(&hits[0]));
    }

    #[test]
    fn a_single_leg_is_ordered_by_its_raw_scores() {
        let a = found("a", "", vec![hit("x", Some(9.0), None), hit("y", Some(1.0), None)]);
        let b = found("b", "", vec![hit("z", Some(4.0), None)]);
        let passages = merge(vec![a, b], 10);
        assert_eq!(ids(&passages), ["1:a/x", "2:b/z", "3:a/y"]);
        let last = passages[2].hit.as_ref().expect("a hit");
        assert_eq!((last.score, last.legs[0].rank), (1.0, 3));
    }

    #[test]
    fn two_legs_are_fused_over_all_collections() {
        let a = found("a", "minilm", vec![hit("x", Some(8.0), Some(0.4)), hit("y", None, Some(0.2))]);
        let b = found("b", "minilm", vec![hit("z", Some(2.0), Some(0.8))]);
        let passages = merge(vec![a, b], 10);
        // x: 8/8 and 0.4/0.8; z: 2/8 and 0.8/0.8; y: 0.2/0.8 alone; each halved.
        assert_eq!(ids(&passages), ["1:a/x", "2:b/z", "3:a/y"]);
        let scores: Vec<f64> = passages.iter().map(|passage| passage.hit.as_ref().expect("a hit").score).collect();
        for (score, expected) in scores.iter().zip([0.75, 0.625, 0.125]) {
            assert!((score - expected).abs() < 1e-12, "{score} is not {expected}");
        }
        for passage in &passages {
            let hit = passage.hit.as_ref().expect("a hit");
            let shares: f64 = hit.legs.iter().map(|leg| leg.share).sum();
            assert!((shares - hit.score).abs() < 1e-12, "the shares add up to the score");
        }
        assert_eq!(passages[1].hit.as_ref().expect("a hit").legs[0].rank, 2);
    }

    #[test]
    fn cosines_of_different_embedders_are_never_compared() {
        let a = found("a", "minilm", vec![hit("x", None, Some(0.9)), hit("y", None, Some(0.8))]);
        let b = found("b", "other", vec![hit("z", None, Some(0.1))]);
        let passages = merge(vec![a, b], 10);
        // Each is the best of its own leg, whatever its cosine.
        let best: Vec<u32> = passages.iter().map(|passage| passage.hit.as_ref().expect("a hit").legs[0].rank).collect();
        assert_eq!(ids(&passages), ["1:a/x", "2:b/z", "3:a/y"]);
        assert_eq!(best, [1, 1, 2]);
    }

    #[test]
    fn nothing_found_is_no_passage() {
        assert!(merge(vec![found("a", "", vec![]), found("b", "", vec![])], 10).is_empty());
        assert!(merge(vec![], 10).is_empty());
    }

    #[test]
    fn a_leg_of_zero_weight_still_orders_what_it_alone_found() {
        let silent = |(name, mut response): (String, SearchResponse)| {
            let weights = LegWeights { lexical: 1.0, semantic: 0.0 };
            response.fusion = Some(FusionMessage { method: None, weights: Some(weights) });
            (name, response)
        };
        let a = silent(found("a", "minilm", vec![hit("x", None, Some(0.2))]));
        let b = silent(found("b", "minilm", vec![hit("z", None, Some(0.3))]));
        assert_eq!(ids(&merge(vec![a, b], 10)), ["1:b/z", "2:a/x"]);
    }
}
