//! The second stage of a search: the first candidates in a new order, by the order that they had and by a score that
//! looked at each of them closely.
//!
//! Both scores are put on one scale first, in standard deviations from the mean over the candidates, so that one weight
//! serves for stages of any kind.

/// Share of the second stage's score, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecondStageWeight(f64);

/// A weight beyond 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the weight is {0}; it must be 0 to 1")]
pub struct SecondStageWeightError(pub f64);

impl SecondStageWeight {
    /// Checks a weight.
    ///
    /// # Errors
    /// For anything but a number of 0 to 1.
    pub fn new(weight: f64) -> Result<Self, SecondStageWeightError> {
        if (0.0..=1.0).contains(&weight) { Ok(Self(weight)) } else { Err(SecondStageWeightError(weight)) }
    }

    /// The nearest weight to a number; what is no number weighs nothing.
    pub fn saturating(weight: f64) -> Self {
        Self(if weight.is_nan() { 0.0 } else { weight.clamp(0.0, 1.0) })
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// A candidate's scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The first stage's score.
    pub first: f64,
    /// The second stage's; `None` when it could say nothing of this candidate, which then counts as its mean.
    pub second: Option<f64>,
}

/// A candidate's new place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Its place among the candidates as they were given, from 0.
    pub index: usize,
    /// The score that it is placed by: comparable within one search only.
    pub score: f64,
}

/// Puts candidates in a new order, best first, by `(1 - weight) * first + weight * second`, each standardised over the
/// candidates. Candidates of one score keep the order in which they were given.
pub fn reorder(candidates: &[Candidate], weight: SecondStageWeight) -> Vec<Placed> {
    let first = standardised(candidates.iter().map(|candidate| Some(candidate.first)));
    let second = standardised(candidates.iter().map(|candidate| candidate.second));
    let scores = first.into_iter().zip(second).map(|(first, second)| (1.0 - weight.0) * first + weight.0 * second);
    let mut placed: Vec<Placed> = scores.enumerate().map(|(index, score)| Placed { index, score }).collect();
    placed.sort_by(|left, right| right.score.total_cmp(&left.score));
    placed
}

/// Scores in standard deviations from their mean. Absent ones, and ones that are no numbers, are at the mean; so are all
/// where there is no spread.
fn standardised(scores: impl Iterator<Item = Option<f64>>) -> Vec<f64> {
    let scores: Vec<Option<f64>> = scores.map(|score| score.filter(|score| score.is_finite())).collect();
    let known: Vec<f64> = scores.iter().flatten().copied().collect();
    let count = known.len() as f64;
    let mean = known.iter().sum::<f64>() / count;
    let deviation = (known.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt();
    let on_scale = |score: f64| if deviation > f64::EPSILON * mean.abs() { (score - mean) / deviation } else { 0.0 };
    // Without a known score the mean is no number, and nothing asks for it.
    scores.into_iter().map(|score| score.map_or(0.0, on_scale)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(scores: &[(f64, Option<f64>)], weight: f64) -> Vec<usize> {
        let candidates: Vec<_> = scores.iter().map(|&(first, second)| Candidate { first, second }).collect();
        let placed = reorder(&candidates, SecondStageWeight::new(weight).unwrap());
        placed.into_iter().map(|placed| placed.index).collect()
    }

    #[test]
    fn the_weight_moves_from_one_order_to_the_other() {
        let scores = [(3.0, Some(0.1)), (2.0, Some(0.2)), (1.0, Some(0.6))];
        assert_eq!(order(&scores, 0.0), [0, 1, 2]);
        assert_eq!(order(&scores, 1.0), [2, 1, 0]);
    }

    #[test]
    fn scores_are_compared_on_one_scale() {
        // The first stage tells its first two apart by little, the second by much.
        let scores = [(1_000.0, Some(0.10)), (999.0, Some(0.19)), (10.0, Some(0.10))];
        assert_eq!(order(&scores, 0.5), [1, 0, 2]);
    }

    #[test]
    fn what_the_second_stage_cannot_say_is_no_penalty() {
        assert_eq!(order(&[(2.0, None), (1.0, None)], 0.9), [0, 1]);
        assert_eq!(order(&[(1.0, Some(f64::NAN)), (1.0, Some(0.9)), (1.0, Some(0.1))], 0.5), [1, 0, 2]);
    }

    #[test]
    fn equal_scores_keep_their_order() {
        assert_eq!(order(&[(1.0, Some(0.3)); 4], 0.5), [0, 1, 2, 3]);
        assert_eq!(order(&[], 0.5), Vec::<usize>::new());
    }

    #[test]
    fn weights_are_checked() {
        for weight in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(SecondStageWeight::new(weight).is_err(), "{weight}");
        }
        let nearest = [-0.1, 0.4, 7.0, f64::NAN].map(|weight| SecondStageWeight::saturating(weight).get());
        assert_eq!(nearest, [0.0, 0.4, 1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn every_candidate_has_one_place(
            scores in prop::collection::vec((any::<f64>(), prop::option::of(any::<f64>())), 0..30),
            weight in 0.0..=1.0_f64,
        ) {
            let mut places = order(&scores, weight);
            places.sort_unstable();
            prop_assert_eq!(places, (0..scores.len()).collect::<Vec<_>>());
        }
    }
}
