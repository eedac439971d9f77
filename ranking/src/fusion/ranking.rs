//! What one leg returned: items with finite scores, best first, each once.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::Hash;

/// An item and the score that a leg gave it. Higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<K> {
    /// The item, for instance a chunk id.
    pub key: K,
    /// The raw score: BM25, a cosine, or whatever the leg computes.
    pub score: f64,
}

/// The candidates of one leg, best first.
///
/// However it is made, a ranking holds each key once, with its best score, and
/// no score that is not finite: such candidates are dropped. Scores beyond the
/// range of `f32` count as not finite too, because every engine scores in `f32`
/// and the arithmetic that follows then cannot overflow. Equal scores are
/// ordered by key.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking<K> {
    items: Vec<Scored<K>>,
}

impl<K: Clone + Eq + Hash + Ord> Ranking<K> {
    /// Makes a ranking of candidates in any order.
    pub fn new(candidates: impl IntoIterator<Item = Scored<K>>) -> Self {
        let mut items: Vec<Scored<K>> = candidates.into_iter().filter(|item| in_range(item.score)).collect();
        items.sort_by(best_first);
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| seen.insert(item.key.clone()));
        Self { items }
    }
}

impl<K> Ranking<K> {
    /// A ranking without candidates.
    pub fn empty() -> Self {
        Self { items: Vec::new() }
    }

    /// The candidates, best first.
    pub fn items(&self) -> &[Scored<K>] {
        &self.items
    }

    /// How many candidates there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the leg returned nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<K: Clone + Eq + Hash + Ord> FromIterator<Scored<K>> for Ranking<K> {
    fn from_iter<I: IntoIterator<Item = Scored<K>>>(candidates: I) -> Self {
        Self::new(candidates)
    }
}

fn in_range(score: f64) -> bool {
    // A comparison with NaN is false, so NaN is dropped here as well.
    score.abs() <= f64::from(f32::MAX)
}

fn best_first<K: Ord>(left: &Scored<K>, right: &Scored<K>) -> Ordering {
    // Adding zero turns -0.0 into 0.0, which `total_cmp` would tell apart.
    let by_score = (right.score + 0.0).total_cmp(&(left.score + 0.0));
    by_score.then_with(|| left.key.cmp(&right.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(candidates: &[(&'static str, f64)], expected: &[(&str, f64)]) {
        let ranking: Ranking<_> = candidates.iter().map(|&(key, score)| Scored { key, score }).collect();
        let found: Vec<_> = ranking.items().iter().map(|item| (item.key, item.score)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn candidates_are_sorted_by_score_then_key() {
        check(&[("b", 1.0), ("c", 2.0), ("a", 1.0)], &[("c", 2.0), ("a", 1.0), ("b", 1.0)]);
        check(&[("b", 0.0), ("a", -0.0)], &[("a", -0.0), ("b", 0.0)]);
    }

    #[test]
    fn a_repeated_key_keeps_its_best_score() {
        check(&[("a", 1.0), ("b", 2.0), ("a", 3.0)], &[("a", 3.0), ("b", 2.0)]);
    }

    #[test]
    fn scores_that_are_not_finite_are_dropped() {
        let candidates = [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY), ("d", 1e39), ("e", 1.0)];
        check(&candidates, &[("e", 1.0)]);
    }
}
