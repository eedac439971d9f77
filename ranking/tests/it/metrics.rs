use std::collections::BTreeMap;

use proptest::prelude::*;
use trivium_ranking::metrics::{
    Bootstrap, Judgements, ndcg_at, paired_bootstrap, precision_at, recall_at, reciprocal_rank_at,
};

fn grades() -> impl Strategy<Value = BTreeMap<u8, u32>> {
    prop::collection::btree_map(0_u8..20, 0_u32..4, 1..12)
        .prop_filter("something is relevant", |grades| grades.values().any(|grade| *grade > 0))
}

fn ranked() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..20, 0..25)
}

/// A ranking of at least two items, each once.
fn distinct() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::subsequence((0_u8..20).collect::<Vec<_>>(), 2..20).prop_shuffle()
}

fn best_order(grades: &BTreeMap<u8, u32>) -> Vec<u8> {
    let mut keys: Vec<u8> = grades.keys().copied().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(grades[key]));
    keys
}

proptest! {
    #[test]
    fn every_measure_lies_between_zero_and_one(
        grades in grades(),
        ranked in ranked(),
        cutoff in 0_usize..30,
    ) {
        let judgements = Judgements::new(grades).unwrap();
        for measure in [ndcg_at, recall_at, precision_at, reciprocal_rank_at] {
            let value = measure(&ranked, &judgements, cutoff);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{value}");
        }
    }

    #[test]
    fn the_best_order_scores_one_and_any_other_no_more(
        grades in grades(),
        ranked in ranked(),
        cutoff in 1_usize..30,
    ) {
        let best = best_order(&grades);
        let judgements = Judgements::new(grades).unwrap();
        let perfect = ndcg_at(&best, &judgements, cutoff);
        prop_assert!((perfect - 1.0).abs() < 1e-12);
        prop_assert_eq!(reciprocal_rank_at(&best, &judgements, cutoff), 1.0);
        prop_assert_eq!(recall_at(&best, &judgements, best.len()), 1.0);
        prop_assert!(ndcg_at(&ranked, &judgements, cutoff) <= perfect + 1e-12);
    }

    #[test]
    fn a_swap_that_moves_the_better_item_up_never_lowers_ndcg(
        grades in grades(),
        ranked in distinct(),
        at in any::<prop::sample::Index>(),
        cutoff in 1_usize..30,
    ) {
        let at = at.index(ranked.len() - 1);
        let grade = |key: &u8| grades.get(key).copied().unwrap_or(0);
        let mut swapped = ranked.clone();
        if grade(&swapped[at]) < grade(&swapped[at + 1]) {
            swapped.swap(at, at + 1);
        }
        let judgements = Judgements::new(grades.clone()).unwrap();
        let (before, after) =
            (ndcg_at(&ranked, &judgements, cutoff), ndcg_at(&swapped, &judgements, cutoff));
        prop_assert!(after >= before - 1e-12);
    }

    #[test]
    fn recall_grows_with_the_cutoff(grades in grades(), ranked in ranked(), cutoff in 0_usize..30) {
        let judgements = Judgements::new(grades).unwrap();
        let at = |cutoff| recall_at(&ranked, &judgements, cutoff);
        prop_assert!(at(cutoff) <= at(cutoff + 1));
    }

    #[test]
    fn the_interval_is_ordered_and_mirrors_when_the_systems_change_places(
        pairs in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..20),
        seed in any::<u64>(),
    ) {
        let (first, second): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let options = Bootstrap { resamples: 200, confidence: 0.9, seed };
        let forth = paired_bootstrap(&first, &second, &options).unwrap();
        let back = paired_bootstrap(&second, &first, &options).unwrap();
        prop_assert!(forth.low <= forth.high);
        prop_assert!((forth.low + back.high).abs() < 1e-12);
        prop_assert!((forth.difference + back.difference).abs() < 1e-12);
    }
}
