//! What one labelled query says of every weight.

use crate::metrics::{Judgements, ndcg_at};
use std::cmp::Ordering;
use std::hash::Hash;

/// How many weights are tried: 0, 0.05, 0.1 and so on to 1. Between two of them nDCG@10 changes by less than labels can
/// tell apart.
pub const WEIGHTS: usize = 21;

/// The rank down to which a ranking is judged.
const CUTOFF: usize = 10;

/// The weight of the semantic leg at a place from 0 to [`WEIGHTS`] - 1.
pub fn weight(place: usize) -> f64 {
    place as f64 / (WEIGHTS - 1) as f64
}

/// The place of the weight nearest to this one.
pub fn nearest_place(wanted: f64) -> usize {
    let distance = |place: &usize| (weight(*place) - wanted).abs();
    (0..WEIGHTS).min_by(|left, right| distance(left).total_cmp(&distance(right))).unwrap_or_default()
}

/// How one leg saw a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Its rank, from 1.
    pub rank: u32,
    /// Its score as it enters the fusion, before the weight; 0 or more.
    pub normalised: f64,
}

/// A chunk that at least one leg found.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<K> {
    /// The chunk's document.
    pub document: K,
    /// How the lexical leg saw it; `None` when it did not.
    pub lexical: Option<Placed>,
    /// How the semantic leg saw it; `None` when it did not.
    pub semantic: Option<Placed>,
}

impl<K> Candidate<K> {
    fn best_rank(&self) -> u32 {
        [self.lexical, self.semantic].iter().flatten().map(|placed| placed.rank).min().unwrap_or(u32::MAX)
    }

    fn score(&self, semantic_weight: f64) -> f64 {
        let of = |placed: Option<Placed>| placed.map_or(0.0, |placed| placed.normalised);
        (1.0 - semantic_weight) * of(self.lexical) + semantic_weight * of(self.semantic)
    }
}

/// The nDCG@10 of one query at each weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve([f64; WEIGHTS]);

impl Curve {
    /// Ranks the candidates with each weight as [`crate::fusion::fuse`] would, each document by its best chunk, and
    /// judges the rankings.
    pub fn of<K: Clone + Eq + Hash + Ord>(candidates: &[Candidate<K>], judgements: &Judgements<K>) -> Self {
        // A leg without candidates gives its weight to the other, so that every weight ranks alike.
        let found =
            |leg: fn(&Candidate<K>) -> Option<Placed>| candidates.iter().any(|candidate| leg(candidate).is_some());
        let (lexical, semantic) = (found(|candidate| candidate.lexical), found(|candidate| candidate.semantic));
        let effective = |place: usize| match (lexical, semantic) {
            (true, false) => 0.0,
            (false, true) => 1.0,
            _ => weight(place),
        };
        Self(std::array::from_fn(|place| ndcg_at(&ranked(candidates, effective(place)), judgements, CUTOFF)))
    }

    /// The nDCG@10 at a place from 0 to [`WEIGHTS`] - 1.
    pub fn at(&self, place: usize) -> f64 {
        self.0[place]
    }

    /// An order of all curves that depends on their values alone.
    pub(super) fn total_cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(left, right)| left.total_cmp(right)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    #[cfg(test)]
    pub(super) fn from_values(values: [f64; WEIGHTS]) -> Self {
        Self(values)
    }
}

/// The documents, best first; one with several chunks stands there several times, of which its first place counts.
fn ranked<K: Clone + Ord>(candidates: &[Candidate<K>], semantic_weight: f64) -> Vec<K> {
    let mut scored: Vec<(f64, &Candidate<K>)> =
        candidates.iter().map(|candidate| (candidate.score(semantic_weight), candidate)).collect();
    scored.sort_by(|(left_score, left), (right_score, right)| {
        let by_score = right_score.total_cmp(left_score);
        by_score.then_with(|| left.best_rank().cmp(&right.best_rank())).then_with(|| left.document.cmp(&right.document))
    });
    scored.into_iter().map(|(_, candidate)| candidate.document.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fusion::{Fusion, Leg, Ranking, Scored, Weights, fuse};
    use crate::group::best_per_group;

    fn placed(rank: u32, normalised: f64) -> Option<Placed> {
        Some(Placed { rank, normalised })
    }

    fn relevant(document: &'static str) -> Judgements<&'static str> {
        Judgements::new([(document, 1)]).unwrap()
    }

    #[test]
    fn the_weight_decides_between_the_legs() {
        let candidates = [
            Candidate { document: "words", lexical: placed(1, 3.0), semantic: None },
            Candidate { document: "meaning", lexical: None, semantic: placed(1, 2.0) },
        ];
        let curve = Curve::of(&candidates, &relevant("meaning"));
        // 2 w exceeds 3 (1 - w) beyond w = 0.6, where rounding leaves either first.
        let second = 1.0 / 3.0_f64.log2();
        assert!((0..12).all(|place| (curve.at(place) - second).abs() < 1e-12), "{curve:?}");
        assert!((13..WEIGHTS).all(|place| curve.at(place) == 1.0), "{curve:?}");
    }

    #[test]
    fn a_leg_that_found_nothing_leaves_every_weight_alike() {
        let alone = |lexical: bool| {
            let of = |rank, normalised| match lexical {
                true => Candidate { document: rank, lexical: placed(rank, normalised), semantic: None },
                false => Candidate { document: rank, lexical: None, semantic: placed(rank, normalised) },
            };
            Curve::of(&[of(1, 3.0), of(2, 2.0)], &Judgements::new([(2, 1)]).unwrap())
        };
        for curve in [alone(true), alone(false)] {
            assert!((0..WEIGHTS).all(|place| curve.at(place) == curve.at(0) && curve.at(0) < 1.0), "{curve:?}");
        }
    }

    #[test]
    fn the_ranking_is_that_of_the_fusion() {
        let chunk = |key: u32, score: f64| Scored { key, score };
        let lexical: Ranking<u32> = [chunk(1, 9.0), chunk(2, 7.0), chunk(11, 4.0), chunk(3, 1.0)].into_iter().collect();
        let semantic: Ranking<u32> =
            [chunk(12, 0.9), chunk(3, 0.7), chunk(2, 0.5), chunk(4, 0.1)].into_iter().collect();
        let document = |key: &u32| key % 10;
        let fused = |semantic_weight: f64| {
            let weights = Weights::new([1.0 - semantic_weight, semantic_weight]).unwrap();
            let legs = [&lexical, &semantic].into_iter().zip(weights.as_slice());
            let legs: Vec<Leg<u32>> = legs.map(|(ranking, weight)| Leg::new(ranking.clone(), *weight)).collect();
            fuse(&legs, &Fusion::default())
        };
        let candidates: Vec<Candidate<u32>> = fused(0.5)
            .iter()
            .map(|item| {
                let placed =
                    |leg: usize| item.parts[leg].map(|part| Placed { rank: part.rank, normalised: part.normalised });
                Candidate { document: document(&item.key), lexical: placed(0), semantic: placed(1) }
            })
            .collect();
        for place in [1, 7, 14, 19] {
            let expected = fused(weight(place));
            let expected = best_per_group(expected, |item| document(&item.key)).map(|item| document(&item.key));
            let mut found = ranked(&candidates, weight(place));
            let mut seen = std::collections::HashSet::new();
            found.retain(|document| seen.insert(*document));
            assert_eq!(found, expected.collect::<Vec<_>>(), "at {}", weight(place));
        }
    }
}
