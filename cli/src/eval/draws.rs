//! What calibration gains: it is fitted to queries that are drawn, and judged by all others. Pure.

use serde::Serialize;
use trivium_ranking::{
    calibrate::{CalibrationOptions, Curve, WEIGHTS, calibrate, nearest_place, weight},
    metrics::mean,
    random::SplitMix64,
};

/// One draw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Draw {
    /// The weight that calibration chose.
    pub semantic_weight: f64,
    /// Mean nDCG@10 of the default over the queries that were not drawn.
    #[serde(rename = "default_ndcg@10")]
    pub default: f64,
    /// Mean nDCG@10 of the chosen weight over the same queries.
    #[serde(rename = "calibrated_ndcg@10")]
    pub calibrated: f64,
}

/// The mean over all queries at one weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The weight of the semantic leg.
    pub semantic_weight: f64,
    /// The mean nDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_10: f64,
}

/// Draws `count` of the queries, `times` times, and judges the weight that is fitted to them by the rest.
/// Nothing comes of it when no queries are left.
pub fn draws(curves: &[Curve], default: f64, count: usize, times: usize, seed: u64) -> Vec<Draw> {
    if count >= curves.len() {
        return Vec::new();
    }
    let mut random = SplitMix64::new(seed);
    (0..times)
        .map(|_| {
            let mut order: Vec<usize> = (0..curves.len()).collect();
            // The first places of a shuffle are a sample without replacement.
            for place in 0..count {
                order.swap(place, place + random.below(curves.len() - place));
            }
            let drawn: Vec<Curve> = order[..count].iter().map(|query| curves[*query].clone()).collect();
            let fitted = calibrate(&drawn, default, &CalibrationOptions::default()).semantic_weight;
            let over = |wanted: f64| {
                let values: Vec<f64> =
                    order[count..].iter().map(|query| curves[*query].at(nearest_place(wanted))).collect();
                mean(&values).unwrap_or_default()
            };
            Draw { semantic_weight: fitted, default: over(default), calibrated: over(fitted) }
        })
        .collect()
}

/// The mean over all queries at each weight.
pub fn means(curves: &[Curve]) -> Vec<Mean> {
    let at = |place: usize| mean(&curves.iter().map(|curve| curve.at(place)).collect::<Vec<_>>()).unwrap_or_default();
    (0..WEIGHTS).map(|place| Mean { semantic_weight: weight(place), ndcg_10: at(place) }).collect()
}

#[cfg(test)]
mod tests {
    use trivium_ranking::{
        calibrate::{Candidate, Placed},
        metrics::Judgements,
    };

    use super::*;

    /// A query whose right document one of the legs alone finds.
    fn curve(lexical: bool) -> Curve {
        let placed = Some(Placed { rank: 1, normalised: 1.0 });
        let candidates = [
            Candidate { document: "words", lexical: placed, semantic: None },
            Candidate { document: "meaning", lexical: None, semantic: placed },
        ];
        let right = if lexical { "words" } else { "meaning" };
        Curve::of(&candidates, &Judgements::new([(right, 1)]).expect("relevant"))
    }

    #[test]
    fn what_is_fitted_is_judged_by_the_others() {
        let curves = vec![curve(true); 80];
        let found = draws(&curves, 0.7, 50, 3, 1);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|draw| draw.calibrated == 1.0 && draw.default < 1.0), "{found:?}");
        assert_eq!(found, draws(&curves, 0.7, 50, 3, 1));
        assert!(draws(&curves, 0.7, 80, 3, 1).is_empty());
    }

    #[test]
    fn means_are_over_all_queries() {
        let found = means(&[curve(true), curve(false)]);
        let second = 1.0 / 3.0_f64.log2();
        assert_eq!((found.len(), found[20].semantic_weight), (WEIGHTS, 1.0));
        assert!(found.iter().all(|mean| (mean.ndcg_10 - f64::midpoint(1.0, second)).abs() < 1e-12), "{found:?}");
    }
}
