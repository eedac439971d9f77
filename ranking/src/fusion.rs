//! Fusing the rankings of several legs into one.
//!
//! A leg hands over its best candidates with raw scores. Each candidate's score
//! (or its rank) becomes a number that can be compared across legs, is
//! multiplied by the leg's weight, and the products are added up. Every fused
//! item keeps how each leg saw it, so that an answer can explain its order.
//!
//! The rules that hold for every method:
//!
//! - An item that a leg did not return receives nothing from that leg, so the
//!   shares of an item add up to its score, and no score is negative. Whoever
//!   can tell a leg's scores of what the other legs returned adds them to its
//!   ranking, so that no candidate is judged by one leg alone.
//! - A leg without candidates changes nothing: its weight goes to the others in
//!   proportion to theirs.
//! - Ties are broken by the best rank in any single leg, then by key.
//! - The order in which the legs are given has no influence on the result.

mod moments;
mod normalise;
mod rank_constant;
mod ranking;
mod weights;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

pub use moments::ScoreMoments;
pub use normalise::{Normalisation, Statistics, StatisticsError};
pub use rank_constant::{RankConstant, RankConstantError};
pub use ranking::{Ranking, Scored};
pub use weights::{Weight, Weights, WeightsError};

/// How the legs' rankings become one.
///
/// In configuration: `{ method = "rrf", k = 60 }` or
/// `{ method = "convex", normalisation = "z_score" }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Fusion {
    /// Reciprocal rank fusion: a leg of weight w gives `w / (k + rank)` to the
    /// item at `rank` (1-based). Cormack, Clarke and Buettcher, "Reciprocal rank
    /// fusion outperforms Condorcet and individual rank learning methods",
    /// SIGIR 2009.
    #[serde(rename = "rrf")]
    ReciprocalRank {
        /// How slowly the gain falls with the rank.
        #[serde(default)]
        k: RankConstant,
    },
    /// A convex combination of normalised scores: a leg of weight w gives
    /// `w * normalised(score)`. Bruch, Gai and Ingber, "An analysis of fusion
    /// functions for hybrid retrieval", ACM TOIS 42(1), 2023.
    Convex {
        /// How raw scores are made comparable.
        #[serde(default)]
        normalisation: Normalisation,
    },
}

impl Default for Fusion {
    /// A convex combination of z-scores: unlike ranks, it keeps how far a leg's
    /// first candidates stand out from the rest of the collection.
    fn default() -> Self {
        Self::Convex { normalisation: Normalisation::ZScore }
    }
}

/// What one leg brings to a fusion.
#[derive(Debug, Clone, PartialEq)]
pub struct Leg<K> {
    /// The leg's candidates, best first.
    pub ranking: Ranking<K>,
    /// The leg's weight. Only the ratio to the other legs' weights counts.
    pub weight: Weight,
    /// The distribution of the leg's scores over the whole collection, where it
    /// is known; [`Normalisation::ZScore`] uses it in place of the candidates'.
    pub statistics: Option<Statistics>,
    /// The score of every item that the ranking does not hold, where it is known;
    /// [`Normalisation::ZScore`] measures from it beside such statistics.
    pub absent: Option<f64>,
}

impl<K> Leg<K> {
    /// A leg that knows no more than its candidates.
    pub fn new(ranking: Ranking<K>, weight: Weight) -> Self {
        Self { ranking, weight, statistics: None, absent: None }
    }
}

/// One item of the fused ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<K> {
    /// The item.
    pub key: K,
    /// The fused score: the sum of the shares, never negative. Comparable within
    /// one fusion only.
    pub score: f64,
    /// How each leg saw the item, in the order of the legs; `None` where the leg
    /// did not return it.
    pub parts: Vec<Option<Part>>,
}

impl<K> Fused<K> {
    /// The best rank that any leg gave the item, 1-based.
    pub fn best_rank(&self) -> Option<u32> {
        self.parts.iter().flatten().map(|part| part.rank).min()
    }
}

/// How one leg saw one item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// The item's rank in the leg, 1-based.
    pub rank: u32,
    /// The score as the leg gave it.
    pub score: f64,
    /// The score as it entered the fusion, before the weight.
    pub normalised: f64,
    /// What the leg contributed to the fused score.
    pub share: f64,
}

/// Fuses the legs into one ranking, best first.
///
/// When no leg with candidates has a weight above zero, those legs count
/// equally: the caller still gets what was found, in a meaningful order.
pub fn fuse<K>(legs: &[Leg<K>], fusion: &Fusion) -> Vec<Fused<K>>
where
    K: Clone + Eq + Hash + Ord,
{
    let mut parts_by_key: HashMap<&K, Vec<Option<Part>>> = HashMap::new();
    for ((position, leg), weight) in legs.iter().enumerate().zip(effective_weights(legs)) {
        for (item, part) in leg.ranking.items().iter().zip(leg_parts(leg, weight, fusion)) {
            let parts = parts_by_key.entry(&item.key).or_insert_with(|| vec![None; legs.len()]);
            parts[position] = Some(part);
        }
    }
    let mut fused: Vec<Fused<K>> = parts_by_key
        .into_iter()
        .map(|(key, parts)| Fused { key: key.clone(), score: total_share(&parts), parts })
        .collect();
    fused.sort_by(best_first);
    fused
}

/// The weight of each leg after those without candidates have given theirs up;
/// the weights of the legs with candidates add up to 1.
fn effective_weights<K>(legs: &[Leg<K>]) -> Vec<f64> {
    let live = |leg: &&Leg<K>| !leg.ranking.is_empty();
    let total = order_free_sum(legs.iter().filter(live).map(|leg| leg.weight.get()));
    let live_count = legs.iter().filter(live).count();
    legs.iter()
        .map(|leg| match leg.ranking.is_empty() {
            true => 0.0,
            false if total > 0.0 => leg.weight.get() / total,
            false => 1.0 / live_count as f64,
        })
        .collect()
}

/// The parts of one leg's candidates, in rank order.
fn leg_parts<K>(leg: &Leg<K>, weight: f64, fusion: &Fusion) -> Vec<Part> {
    let scores: Vec<f64> = leg.ranking.items().iter().map(|item| item.score).collect();
    let normalised: Vec<f64> = match fusion {
        Fusion::ReciprocalRank { k } => (1..=scores.len()).map(|rank| 1.0 / (k.get() + rank as f64)).collect(),
        Fusion::Convex { normalisation } => normalisation.apply(&scores, leg.statistics.as_ref(), leg.absent),
    };
    let rows = scores.into_iter().zip(normalised).zip(1_u32..);
    rows.map(|((score, normalised), rank)| Part { rank, score, normalised, share: weight * normalised }).collect()
}

fn total_share(parts: &[Option<Part>]) -> f64 {
    order_free_sum(parts.iter().flatten().map(|part| part.share))
}

/// A sum that does not depend on the order of its terms, not even in the last
/// bit: floating-point addition is not associative, so the terms are sorted first.
fn order_free_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut terms: Vec<f64> = terms.collect();
    terms.sort_by(f64::total_cmp);
    terms.into_iter().sum()
}

fn best_first<K: Ord>(left: &Fused<K>, right: &Fused<K>) -> Ordering {
    let by_score = right.score.total_cmp(&left.score);
    by_score.then_with(|| left.best_rank().cmp(&right.best_rank())).then_with(|| left.key.cmp(&right.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(weight: f64, items: &[(&'static str, f64)]) -> Leg<&'static str> {
        let weights = Weights::new([weight, 1.0]).unwrap();
        let ranking = items.iter().map(|&(key, score)| Scored { key, score }).collect();
        Leg::new(ranking, weights.as_slice()[0])
    }

    fn equal_legs(legs: &[&[(&'static str, f64)]]) -> Vec<Leg<&'static str>> {
        legs.iter().map(|items| leg(1.0, items)).collect()
    }

    fn convex(normalisation: Normalisation) -> Fusion {
        Fusion::Convex { normalisation }
    }

    #[track_caller]
    fn check(legs: &[Leg<&'static str>], fusion: &Fusion, expected: &[(&str, f64)]) {
        let fused = fuse(legs, fusion);
        let found: Vec<_> = fused.iter().map(|item| item.key).collect();
        let keys: Vec<_> = expected.iter().map(|(key, _)| *key).collect();
        assert_eq!(found, keys);
        for (item, (key, score)) in fused.iter().zip(expected) {
            assert!((item.score - score).abs() < 1e-12, "{key}: {} is not {score}", item.score);
        }
    }

    #[test]
    fn reciprocal_rank_adds_weighted_reciprocals() {
        let legs = equal_legs(&[&[("a", 9.0), ("b", 8.0)], &[("b", 0.7), ("c", 0.6)]]);
        let fusion = Fusion::ReciprocalRank { k: RankConstant::default() };
        let expected = [("b", 0.5 / 62.0 + 0.5 / 61.0), ("a", 0.5 / 61.0), ("c", 0.5 / 62.0)];
        check(&legs, &fusion, &expected);
    }

    #[test]
    fn max_normalised_scores_are_combined() {
        let legs = equal_legs(&[&[("a", 8.0), ("b", 4.0)], &[("b", 0.5), ("c", 0.4)]]);
        check(&legs, &convex(Normalisation::Max), &[("b", 0.75), ("a", 0.5), ("c", 0.4)]);
    }

    #[test]
    fn min_max_normalised_scores_are_combined() {
        let legs = equal_legs(&[&[("a", 8.0), ("b", 6.0), ("c", 4.0)], &[("c", 0.9), ("b", 0.4)]]);
        let expected = [("a", 0.5), ("c", 0.5), ("b", 0.25)];
        check(&legs, &convex(Normalisation::MinMax), &expected);
    }

    #[test]
    fn z_scores_count_deviations_above_the_last_candidate() {
        // The lexical scores 1, 3, 5 have a standard deviation of sqrt(8/3).
        let legs = equal_legs(&[&[("a", 5.0), ("b", 3.0), ("c", 1.0)], &[("d", 0.3), ("b", 0.1)]]);
        let deviation = (8.0_f64 / 3.0).sqrt();
        let expected = [("a", 0.5 * 4.0 / deviation), ("d", 0.5 * 2.0), ("b", 0.5 * 2.0 / deviation), ("c", 0.0)];
        check(&legs, &convex(Normalisation::ZScore), &expected);
    }

    #[test]
    fn the_weight_of_an_empty_leg_goes_to_the_others() {
        let alone = fuse(&[leg(0.2, &[("a", 2.0), ("b", 1.0)])], &Fusion::default());
        let beside = fuse(&[leg(0.2, &[("a", 2.0), ("b", 1.0)]), leg(0.9, &[])], &Fusion::default());
        for (left, right) in alone.iter().zip(&beside) {
            assert_eq!((left.key, left.score), (right.key, right.score));
            assert_eq!(right.parts[1], None);
        }
        assert_eq!(alone.len(), beside.len());
    }

    #[test]
    fn legs_of_zero_weight_count_equally_when_nothing_else_was_found() {
        let legs = [leg(0.0, &[("a", 2.0), ("b", 1.0)]), leg(1.0, &[])];
        check(&legs, &convex(Normalisation::Max), &[("a", 1.0), ("b", 0.5)]);
    }

    #[test]
    fn ties_are_broken_by_best_rank_then_key() {
        let legs = equal_legs(&[&[("z", 1.0), ("y", 0.5)], &[("a", 1.0), ("b", 0.5)]]);
        let fusion = Fusion::ReciprocalRank { k: RankConstant::default() };
        let keys: Vec<_> = fuse(&legs, &fusion).into_iter().map(|item| item.key).collect();
        assert_eq!(keys, ["a", "z", "b", "y"]);
        // "m" reaches the first items' score with two second ranks, and comes after them.
        let k = RankConstant::new(0.0).unwrap();
        let legs = equal_legs(&[&[("x", 2.0), ("m", 1.0)], &[("y", 2.0), ("m", 1.0)]]);
        check(&legs, &Fusion::ReciprocalRank { k }, &[("x", 0.5), ("y", 0.5), ("m", 0.5)]);
    }

    #[test]
    fn parts_tell_how_each_leg_saw_the_item() {
        let legs = [leg(0.25, &[("a", 4.0), ("b", 2.0)]), leg(0.75, &[("b", 0.8)])];
        let fused = fuse(&legs, &convex(Normalisation::Max));
        // The helper normalises each weight against 1: 0.25 becomes 1/5, 0.75 becomes 3/7.
        let weight = (1.0 / 5.0) / (1.0 / 5.0 + 3.0 / 7.0);
        let part = fused[0].parts[0].unwrap();
        assert_eq!((fused[0].key, part.rank, part.score, part.normalised), ("b", 2, 2.0, 0.5));
        assert!((part.share - weight * 0.5).abs() < 1e-12);
        assert_eq!(fused[1].parts[1], None);
    }

    #[test]
    fn no_leg_and_empty_legs_give_nothing() {
        assert!(fuse::<u64>(&[], &Fusion::default()).is_empty());
        assert!(fuse(&[leg(1.0, &[])], &Fusion::default()).is_empty());
    }
}
