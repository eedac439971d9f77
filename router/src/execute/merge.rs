//! The hits of several collections as one ranking.
//!
//! A collection fuses its own two legs. Fused scores are relative to the
//! candidates of one collection, so those of two collections cannot be compared:
//! the best hit of a collection that has nothing to say would stand beside the
//! best of one that has. The raw scores of a leg can. So the legs are put
//! together first, each over all collections, and then fused in the way that
//! the retriever fused them. Cosines of different embedders are no more
//! comparable than fused scores are, so each embedder is a leg of its own.
//! A second stage scored hits of each collection by the same measure, so it has
//! its say over the hits of all.
//!
//! Each collection may weigh its legs in its own way. One ranking needs one pair of weights, and takes their mean.

mod second_stage;
mod twins;

use trivium_proto::{
    model::v1::ModelRef,
    retriever::v1::{Fusion as FusionMessage, Hit, Leg, LegScore, LegWeights, SearchResponse},
    router::v1::Passage,
};
use trivium_ranking::fusion::{self, Fused, Fusion, Ranking, Scored, Weights};

use self::twins::Kept;
use crate::request::fusion_method;

/// The best `k` hits of all collections, numbered from 1. Of those that say the same the best one is kept.
pub(super) fn merge(mut found: Vec<(String, SearchResponse)>, k: usize) -> Vec<Passage> {
    let kept = match found.as_mut_slice() {
        [(collection, response)] => {
            let whole = |hit| Kept { collection: collection.clone(), hit, also_in: Vec::new() };
            std::mem::take(&mut response.hits).into_iter().map(whole).collect()
        }
        _ => twins::collapse(fuse(found)),
    };
    let numbered = kept.into_iter().take(k).zip(1..);
    let passage = |(Kept { collection, hit, also_in }, number)| Passage { number, collection, hit: Some(hit), also_in };
    numbered.map(passage).collect()
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
    let method = common_fusion(&found);
    let second_stage = second_stage::common(found.iter().map(|(_, response)| response));
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
    let hits = fused
        .into_iter()
        .filter_map(|place| {
            let candidate = candidates.get_mut(place.key)?.take()?;
            Some((candidate.collection, placed(candidate.hit, &place, &names, is_fused)))
        })
        .collect();
    match second_stage {
        Some(weight) => second_stage::reordered(hits, weight),
        None => hits,
    }
}

/// The fusion of all collections together: the method of the first, and the mean of their weights.
fn common_fusion(found: &[(String, SearchResponse)]) -> Option<FusionMessage> {
    let fusions = || found.iter().filter_map(|(_, response)| response.fusion);
    let shares = || {
        fusions().filter_map(|fusion| fusion.weights).filter_map(|weights| {
            let total = weights.lexical + weights.semantic;
            (total > 0.0).then(|| weights.lexical / total)
        })
    };
    let (sum, count) = shares().fold((0.0, 0_u32), |(sum, count), share| (sum + share, count + 1));
    let weights = (count > 0).then(|| {
        let lexical = sum / f64::from(count);
        LegWeights { lexical, semantic: 1.0 - lexical, own: 0.0 }
    });
    fusions().next().map(|first| FusionMessage { weights, ..first })
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
    use proptest::prelude::*;
    use trivium_proto::retriever::v1::{ConvexFusion, Normalisation, fusion::Method};

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
        let weights = Some(LegWeights { lexical: 1.0, semantic: 1.0, own: 0.0 });
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
            let weights = LegWeights { lexical: 1.0, semantic: 0.0, own: 0.0 };
            response.fusion = Some(FusionMessage { method: None, weights: Some(weights) });
            (name, response)
        };
        let a = silent(found("a", "minilm", vec![hit("x", None, Some(0.2))]));
        let b = silent(found("b", "minilm", vec![hit("z", None, Some(0.3))]));
        assert_eq!(ids(&merge(vec![a, b], 10)), ["1:b/z", "2:a/x"]);
    }

    #[test]
    fn collections_that_weigh_their_legs_differently_meet_in_the_middle() {
        let weighing = |lexical: f64, (name, mut response): (String, SearchResponse)| {
            let weights = LegWeights { lexical, semantic: 1.0 - lexical, own: 0.0 };
            response.fusion = response.fusion.map(|fusion| FusionMessage { weights: Some(weights), ..fusion });
            (name, response)
        };
        let a = weighing(0.25, found("a", "minilm", vec![hit("x", Some(8.0), Some(0.4))]));
        let b = weighing(0.75, found("b", "minilm", vec![hit("z", Some(2.0), Some(0.8))]));
        let passages = merge(vec![a, b], 10);
        // x: 8/8 and 0.4/0.8; z: 2/8 and 0.8/0.8; each halved.
        let scores: Vec<f64> = passages.iter().map(|passage| passage.hit.as_ref().expect("a hit").score).collect();
        assert_eq!(scores, [0.75, 0.625]);
    }

    #[test]
    fn a_copy_gives_its_place_to_the_next_one() {
        let text = |text: &str, hit: Hit| Hit { text: text.to_owned(), ..hit };
        let a = found("a", "", vec![text("same", hit("x", Some(9.0), None)), text("third", hit("w", Some(1.0), None))]);
        let b = found("b", "", vec![text("same", hit("y", Some(4.0), None)), text("next", hit("z", Some(2.0), None))]);
        let passages = merge(vec![a, b], 2);
        assert_eq!(ids(&passages), ["1:a/x", "2:b/z"]);
        let twins: Vec<_> =
            passages[0].also_in.iter().map(|twin| (twin.collection.as_str(), twin.chunk_id.as_str())).collect();
        assert_eq!(twins, [("b", "y")]);
        assert!(passages[1].also_in.is_empty());
    }

    proptest! {
        #[test]
        fn the_order_of_the_collections_does_not_matter(
            scores in prop::collection::hash_set((0_u32..10_000, 0_u32..10_000), 2..20),
            cut in 1_usize..19,
        ) {
            let hits: Vec<Hit> = scores
                .iter()
                .enumerate()
                .map(|(number, (lexical, semantic))| {
                    let hit = hit(&number.to_string(), Some(f64::from(*lexical)), Some(f64::from(*semantic) / 1e4));
                    Hit { text: format!("text {number}"), ..hit }
                })
                .collect();
            let (left, right) = hits.split_at(cut.min(hits.len()));
            let (a, b) = (found("a", "minilm", left.to_vec()), found("b", "minilm", right.to_vec()));
            let score = |passage: &Passage| passage.hit.as_ref().expect("every passage has its hit").score;
            let there = merge(vec![a.clone(), b.clone()], hits.len());
            let back = merge(vec![b, a], hits.len());
            prop_assert_eq!(there.len(), hits.len());
            prop_assert!(there.windows(2).all(|pair| score(&pair[0]) >= score(&pair[1])));
            let scores = |passages: &[Passage]| passages.iter().map(score).collect::<Vec<_>>();
            prop_assert_eq!(scores(&there), scores(&back));
        }
    }
}
