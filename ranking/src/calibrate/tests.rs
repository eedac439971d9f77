use proptest::prelude::*;

use super::*;

const DEFAULT: f64 = 0.7;

fn options() -> CalibrationOptions {
    CalibrationOptions { repeats: 4, ..CalibrationOptions::default() }
}

/// A query whose nDCG@10 is `height` at the weight of `peak` and falls by `slope` for each place beside it.
fn peaked(peak: usize, height: f64, slope: f64) -> Curve {
    Curve::from_values(std::array::from_fn(|place| (height - slope * place.abs_diff(peak) as f64).max(0.0)))
}

/// Queries whose best weights scatter around `peak`.
fn around(peak: usize, count: usize) -> Vec<Curve> {
    (0..count).map(|query| peaked((peak + query % 5).saturating_sub(2).min(WEIGHTS - 1), 0.9, 0.04)).collect()
}

#[test]
fn no_labels_and_few_labels_keep_the_default() {
    for count in [0, 1, 19] {
        let found = calibrate(&around(4, count), DEFAULT, &options());
        assert_eq!((found.semantic_weight, found.kept, found.gain), (DEFAULT, Some(Kept::TooFewQueries), None));
    }
    assert!(calibrate(&[], DEFAULT, &options()).means.is_empty());
}

#[test]
fn a_weight_that_every_query_asks_for_is_found() {
    for peak in [0, 4, 10, 18, 20] {
        let found = calibrate(&vec![peaked(peak, 0.9, 0.04); 50], DEFAULT, &options());
        assert_eq!((found.semantic_weight, found.kept), (weight(peak), None), "{found:?}");
        assert!(found.gain.is_some_and(|gain| gain.mean > 0.0 && gain.standard_error.abs() < 1e-9), "{found:?}");
    }
}

#[test]
fn a_weight_moves_no_further_than_the_labels_bear_it_out() {
    // Half of the queries are flat: the best weight is 0.2, and what lies between is nearly as good.
    let mut curves = around(4, 25);
    curves.extend(vec![peaked(14, 0.5, 0.0); 25]);
    let found = calibrate(&curves, DEFAULT, &options());
    assert!(found.kept.is_none() && found.semantic_weight >= weight(4) && found.semantic_weight < DEFAULT, "{found:?}");
}

#[test]
fn the_best_weight_being_the_default_keeps_it() {
    let found = calibrate(&around(14, 50), DEFAULT, &options());
    assert_eq!((found.semantic_weight, found.kept), (DEFAULT, Some(Kept::NoBetterWeight)), "{found:?}");
}

#[test]
fn what_holds_on_some_queries_alone_is_noise() {
    // One query in fifty has a large gain, which no other query repeats.
    let mut curves = vec![peaked(14, 0.5, 0.0); 49];
    curves.push(peaked(2, 1.0, 0.1));
    let found = calibrate(&curves, DEFAULT, &options());
    assert_eq!(found.semantic_weight, DEFAULT, "{found:?}");
}

#[test]
fn a_default_between_two_weights_comes_back_as_it_is() {
    let found = calibrate(&around(14, 50), 0.713, &options());
    assert_eq!(found.semantic_weight, 0.713);
}

fn any_curve() -> impl Strategy<Value = Curve> {
    proptest::array::uniform21(0.0..=1.0_f64).prop_map(Curve::from_values)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_order_of_the_queries_has_no_influence(
        curves in proptest::collection::vec(any_curve(), 20..40),
        seed in any::<u64>(),
    ) {
        let mut random = SplitMix64::new(seed);
        let permuted: Vec<Curve> = shuffled(curves.len(), &mut random).into_iter().map(|at| curves[at].clone()).collect();
        prop_assert_eq!(calibrate(&curves, DEFAULT, &options()), calibrate(&permuted, DEFAULT, &options()));
    }

    #[test]
    fn a_weight_lies_between_the_default_and_the_best_and_never_outside_0_to_1(
        curves in proptest::collection::vec(any_curve(), 0..40),
        default in -1.0..2.0_f64,
    ) {
        let found = calibrate(&curves, default, &options());
        prop_assert!((0.0..=1.0).contains(&found.semantic_weight));
        if found.kept.is_none() {
            let highest = found.means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let best: Vec<f64> = (0..WEIGHTS).filter(|place| found.means[*place] == highest).map(weight).collect();
            let default = default.clamp(0.0, 1.0);
            let between = |best: &f64| (default.min(*best) - 0.03..=default.max(*best) + 0.03).contains(&found.semantic_weight);
            prop_assert!(best.iter().any(between), "{} is not between {default} and {best:?}", found.semantic_weight);
        }
    }

    #[test]
    fn queries_that_all_weights_serve_alike_keep_the_default(values in proptest::collection::vec(0.0..=1.0_f64, 20..60)) {
        let curves: Vec<Curve> = values.into_iter().map(|value| peaked(0, value, 0.0)).collect();
        let found = calibrate(&curves, DEFAULT, &options());
        prop_assert_eq!((found.semantic_weight, found.kept), (DEFAULT, Some(Kept::NoBetterWeight)));
    }
}
