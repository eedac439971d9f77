//! The measures by which retrieval is judged.
//!
//! They follow trec_eval and BEIR, so that figures can be compared with
//! published ones: the gain is the grade itself, an item without a judgement
//! counts as not relevant, and precision divides by the cutoff even where fewer
//! items were returned. A key that appears twice in a ranking counts at its
//! first place only. A cutoff of 0 looks at nothing, and gives 0.

mod bootstrap;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

pub use bootstrap::{Bootstrap, BootstrapError, Interval, paired_bootstrap};

/// The judgements of one query: which items are relevant, and how much.
///
/// At least one item is relevant. A query without any says nothing about a
/// ranking, and has no place in a mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgements<K: Eq + Hash> {
    /// Grades above 0 only.
    grades: HashMap<K, u32>,
}

impl<K: Eq + Hash> Judgements<K> {
    /// Takes the grades of one query's items; 0 means judged as not relevant.
    /// A later grade of the same item replaces an earlier one.
    ///
    /// # Errors
    /// When no item has a grade above 0.
    pub fn new(grades: impl IntoIterator<Item = (K, u32)>) -> Result<Self, NothingRelevant> {
        let mut grades: HashMap<K, u32> = grades.into_iter().collect();
        grades.retain(|_, grade| *grade > 0);
        if grades.is_empty() { Err(NothingRelevant) } else { Ok(Self { grades }) }
    }

    /// How many items are relevant; at least 1.
    pub fn relevant_count(&self) -> usize {
        self.grades.len()
    }

    /// The relevant items, in no order.
    pub fn relevant(&self) -> impl Iterator<Item = &K> {
        self.grades.keys()
    }

    /// The gains of the first `cutoff` distinct items of a ranking.
    fn gains<'a>(&'a self, ranking: &'a [K], cutoff: usize) -> impl Iterator<Item = u32> + 'a {
        let mut seen = HashSet::new();
        let distinct = ranking.iter().filter(move |key| seen.insert(*key));
        distinct.take(cutoff).map(|key| self.grades.get(key).copied().unwrap_or(0))
    }

    /// How many relevant items are among the first `cutoff`.
    fn hits(&self, ranking: &[K], cutoff: usize) -> usize {
        self.gains(ranking, cutoff).filter(|gain| *gain > 0).count()
    }
}

/// A query without a relevant item cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query has no relevant item")]
pub struct NothingRelevant;

/// Normalised discounted cumulative gain, between 0 and 1.
///
/// `DCG@k = sum over ranks i = 1..k of gain(i) / log2(i + 1)`, divided by the DCG
/// of the best possible order of the judged items. Järvelin and Kekäläinen,
/// "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002, in
/// the form that trec_eval computes: linear gain, every rank discounted.
pub fn ndcg_at<K: Eq + Hash>(ranking: &[K], judgements: &Judgements<K>, cutoff: usize) -> f64 {
    if cutoff == 0 {
        return 0.0;
    }
    let mut ideal: Vec<u32> = judgements.grades.values().copied().collect();
    ideal.sort_unstable_by(|left, right| right.cmp(left));
    let gained = discounted_gain(judgements.gains(ranking, cutoff));
    gained / discounted_gain(ideal.into_iter().take(cutoff))
}

/// The share of the relevant items that are among the first `cutoff`, between 0 and 1.
pub fn recall_at<K: Eq + Hash>(ranking: &[K], judgements: &Judgements<K>, cutoff: usize) -> f64 {
    judgements.hits(ranking, cutoff) as f64 / judgements.relevant_count() as f64
}

/// The share of the first `cutoff` places that hold a relevant item, between 0 and 1.
pub fn precision_at<K: Eq + Hash>(ranking: &[K], judgements: &Judgements<K>, cutoff: usize) -> f64 {
    match cutoff {
        0 => 0.0,
        _ => judgements.hits(ranking, cutoff) as f64 / cutoff as f64,
    }
}

/// One over the rank of the first relevant item, or 0 when it is not among the
/// first `cutoff`. Its mean over queries is the mean reciprocal rank (MRR).
pub fn reciprocal_rank_at<K: Eq + Hash>(ranking: &[K], judgements: &Judgements<K>, cutoff: usize) -> f64 {
    let first = judgements.gains(ranking, cutoff).position(|gain| gain > 0);
    first.map_or(0.0, |position| 1.0 / (position + 1) as f64)
}

/// The mean over queries; `None` when there are none.
pub fn mean(values: &[f64]) -> Option<f64> {
    match values {
        [] => None,
        _ => Some(values.iter().sum::<f64>() / values.len() as f64),
    }
}

fn discounted_gain(gains: impl Iterator<Item = u32>) -> f64 {
    let discounted = gains.enumerate().map(|(index, gain)| {
        let rank = (index + 1) as f64;
        f64::from(gain) / (rank + 1.0).log2()
    });
    discounted.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgements() -> Judgements<&'static str> {
        Judgements::new([("a", 3), ("b", 2), ("c", 1), ("x", 0)]).unwrap()
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn ndcg_matches_values_computed_by_hand() {
        // log2 of 2, 3, 4, 5 is 1, 1.5849625, 2, 2.3219281;
        // the ideal order a, b, c gains 3 + 2 / 1.5849625 + 1 / 2 = 4.7618595.
        let cases: [(&[&str], usize, f64); 7] = [
            (&["a", "b", "c"], 10, 1.0),
            (&["b", "a", "c"], 10, (2.0 + 1.8927893 + 0.5) / 4.7618595),
            (&["x", "a", "y", "c"], 10, (1.8927893 + 0.4306766) / 4.7618595),
            (&["x", "a", "y", "c"], 2, 1.8927893 / (3.0 + 1.2618595)),
            (&["c"], 1, 1.0 / 3.0),
            (&["x", "y"], 10, 0.0),
            (&["a", "b", "c"], 0, 0.0),
        ];
        for (ranking, cutoff, expected) in cases {
            close(ndcg_at(ranking, &judgements(), cutoff), expected);
        }
    }

    #[test]
    fn recall_precision_and_reciprocal_rank_match_values_computed_by_hand() {
        let cases: [(&[&str], usize, [f64; 3]); 6] = [
            (&["x", "b", "a", "y"], 4, [2.0 / 3.0, 0.5, 0.5]),
            (&["x", "b", "a", "y"], 2, [1.0 / 3.0, 0.5, 0.5]),
            (&["x", "b", "a", "y"], 1, [0.0, 0.0, 0.0]),
            (&["c", "b", "a"], 10, [1.0, 0.3, 1.0]),
            (&["x", "y", "z", "a"], 10, [1.0 / 3.0, 0.1, 0.25]),
            (&["a"], 0, [0.0, 0.0, 0.0]),
        ];
        for (ranking, cutoff, [recall, precision, reciprocal_rank]) in cases {
            close(recall_at(ranking, &judgements(), cutoff), recall);
            close(precision_at(ranking, &judgements(), cutoff), precision);
            close(reciprocal_rank_at(ranking, &judgements(), cutoff), reciprocal_rank);
        }
    }

    #[test]
    fn a_repeated_item_counts_once() {
        let ranking = ["a", "a", "a", "b"];
        close(recall_at(&ranking, &judgements(), 2), 2.0 / 3.0);
        close(ndcg_at(&ranking, &judgements(), 2), 1.0);
    }

    #[test]
    fn a_query_without_relevant_items_is_refused() {
        assert_eq!(Judgements::new([("a", 0)]), Err(NothingRelevant));
        assert_eq!(Judgements::<u8>::new([]), Err(NothingRelevant));
    }

    #[test]
    fn the_mean_of_nothing_is_none() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[0.0, 0.5, 1.0]), Some(0.5));
    }
}
