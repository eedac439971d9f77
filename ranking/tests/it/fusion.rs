use std::collections::BTreeMap;

use proptest::prelude::*;
use trivium_ranking::fusion::{
    Fused, Fusion, Leg, Normalisation, RankConstant, Ranking, Scored, Statistics, Weights, fuse,
};

/// One leg of a test case: a score per key, and a weight.
type Input = (BTreeMap<u8, f64>, f64);

fn scores() -> impl Strategy<Value = BTreeMap<u8, f64>> {
    // Few keys and coarse scores, so that overlaps and ties are common.
    let score = prop_oneof![(-8_i32..40).prop_map(|s| f64::from(s) / 4.0), -1e3..1e6_f64];
    prop::collection::btree_map(0_u8..12, score, 0..10)
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    prop::collection::vec((scores(), 0.0..4.0_f64), 1..5)
}

fn fusions() -> impl Strategy<Value = Fusion> {
    let convex = prop::sample::select(vec![Normalisation::Max, Normalisation::MinMax, Normalisation::ZScore])
        .prop_map(|normalisation| Fusion::Convex { normalisation });
    let reciprocal =
        (0.0..100.0_f64).prop_map(|k| Fusion::ReciprocalRank { k: RankConstant::new(k).expect("a constant in range") });
    prop_oneof![3 => convex, 1 => reciprocal]
}

fn legs(inputs: &[Input]) -> Vec<Leg<u8>> {
    // A small constant keeps the sum above zero when every drawn weight is zero.
    let weights = Weights::new(inputs.iter().map(|(_, weight)| weight + 1e-3)).expect("weights above zero");
    let rankings = inputs.iter().map(|(scores, _)| ranking(scores));
    rankings.zip(weights.as_slice()).map(|(ranking, weight)| Leg::new(ranking, *weight)).collect()
}

fn ranking(scores: &BTreeMap<u8, f64>) -> Ranking<u8> {
    scores.iter().map(|(&key, &score)| Scored { key, score }).collect()
}

fn score_of(fused: &[Fused<u8>], key: u8) -> Option<f64> {
    fused.iter().find(|item| item.key == key).map(|item| item.score)
}

fn outline(fused: &[Fused<u8>]) -> Vec<(u8, f64)> {
    fused.iter().map(|item| (item.key, item.score)).collect()
}

proptest! {
    #[test]
    fn every_candidate_is_fused_once_and_nothing_else(inputs in inputs(), fusion in fusions()) {
        let fused = fuse(&legs(&inputs), &fusion);
        let mut found: Vec<u8> = fused.iter().map(|item| item.key).collect();
        found.sort_unstable();
        let mut expected: Vec<u8> =
            inputs.iter().flat_map(|(scores, _)| scores.keys().copied()).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn shares_add_up_to_a_score_that_is_finite_and_not_negative(
        inputs in inputs(),
        fusion in fusions(),
    ) {
        for item in fuse(&legs(&inputs), &fusion) {
            let sum: f64 = item.parts.iter().flatten().map(|part| part.share).sum();
            prop_assert!(item.score.is_finite() && item.score >= 0.0);
            prop_assert!((sum - item.score).abs() <= 1e-12 * item.score.max(1.0));
        }
    }

    #[test]
    fn the_order_of_the_legs_has_no_influence(
        (inputs, shuffled) in inputs().prop_flat_map(|inputs| {
            (Just(inputs.clone()), Just(inputs).prop_shuffle())
        }),
        fusion in fusions(),
    ) {
        // One weight for each input, taken before the shuffle, keeps rounding out of it.
        let legs = legs(&inputs);
        let find = |input: &Input| inputs.iter().position(|other| other == input).unwrap();
        let moved: Vec<_> = shuffled.iter().map(|input| legs[find(input)].clone()).collect();
        prop_assert_eq!(outline(&fuse(&legs, &fusion)), outline(&fuse(&moved, &fusion)));
    }

    #[test]
    fn an_empty_leg_changes_nothing(
        inputs in inputs(),
        place in any::<prop::sample::Index>(),
        fusion in fusions(),
    ) {
        let mut legs = legs(&inputs);
        let before = outline(&fuse(&legs, &fusion));
        let mut empty = legs[0].clone();
        empty.ranking = Ranking::empty();
        legs.insert(place.index(legs.len() + 1), empty);
        prop_assert_eq!(before, outline(&fuse(&legs, &fusion)));
    }

    #[test]
    fn the_order_is_by_score_then_best_rank_then_key(inputs in inputs(), fusion in fusions()) {
        let order = |item: &Fused<u8>| (-item.score, item.best_rank(), item.key);
        let fused = fuse(&legs(&inputs), &fusion);
        prop_assert!(fused.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])));
    }

    #[test]
    fn an_item_at_least_as_good_in_every_leg_scores_at_least_as_high(
        inputs in inputs(),
        fusion in fusions(),
        (better, worse) in (0_u8..12, 0_u8..12),
    ) {
        // Where a leg holds the worse item, it is made to hold the better one above it.
        let mut inputs = inputs;
        for (scores, _) in &mut inputs {
            if let Some(score) = scores.get(&worse).copied() {
                let held = scores.entry(better).or_insert(score);
                *held = held.max(score + 0.5);
            }
        }
        let fused = fuse(&legs(&inputs), &fusion);
        if let (Some(better), Some(worse)) = (score_of(&fused, better), score_of(&fused, worse)) {
            prop_assert!(better >= worse);
        }
    }

    #[test]
    fn raising_a_score_overtakes_and_is_never_overtaken(
        inputs in inputs(),
        k in 0.0..100.0_f64,
        raised in 0_u8..12,
        by in 0.0..20.0_f64,
    ) {
        // Candidates' z-scores are left out: their unit itself moves with the raised score.
        let statistics = Statistics::new(1.0, 2.0).unwrap();
        let rules = [
            (Fusion::ReciprocalRank { k: RankConstant::new(k).expect("a constant in range") }, None),
            (Fusion::Convex { normalisation: Normalisation::Max }, None),
            (Fusion::Convex { normalisation: Normalisation::MinMax }, None),
            (Fusion::Convex { normalisation: Normalisation::ZScore }, Some(statistics)),
        ];
        for (fusion, statistics) in rules {
            let mut before = legs(&inputs);
            let mut changed = inputs.clone();
            changed[0].0.entry(raised).and_modify(|score| *score += by);
            let mut after = legs(&changed);
            for leg in before.iter_mut().chain(&mut after) {
                leg.statistics = statistics;
            }
            let (before, after) = (fuse(&before, &fusion), fuse(&after, &fusion));
            let Some(score) = score_of(&before, raised) else { continue };
            let raised_score = score_of(&after, raised).unwrap();
            for item in before.iter().filter(|item| item.score < score) {
                let margin = 1e-9 * raised_score.max(1.0);
                prop_assert!(score_of(&after, item.key).unwrap() <= raised_score + margin);
            }
        }
    }

    #[test]
    fn one_leg_alone_keeps_its_order(scores in scores(), fusion in fusions()) {
        let positive: BTreeMap<u8, f64> =
            scores.into_iter().map(|(key, score)| (key, score.abs())).collect();
        let input = [(positive, 1.0)];
        let keys: Vec<u8> = fuse(&legs(&input), &fusion).iter().map(|item| item.key).collect();
        let expected: Vec<u8> = ranking(&input[0].0).items().iter().map(|item| item.key).collect();
        prop_assert_eq!(keys, expected);
    }

    #[test]
    fn no_score_breaks_a_fusion(scores in prop::collection::vec(any::<f64>(), 0..8), fusion in fusions()) {
        let weight = Weights::hybrid_default()[0];
        let candidates = scores.iter().zip(0_u8..).map(|(&score, key)| Scored { key, score });
        let fused = fuse(&[Leg::new(Ranking::new(candidates), weight)], &fusion);
        prop_assert!(fused.iter().all(|item| item.score.is_finite()));
    }
}
