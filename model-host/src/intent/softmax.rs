//! The softmax function.

/// Probabilities in proportion to `exp(logit)`, computed after subtracting the largest
/// logit, so that no finite logits overflow. Empty for no logits.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extreme_logits_do_not_overflow() {
        for (logits, expected) in [
            (vec![], vec![]),
            (vec![3.0], vec![1.0]),
            (vec![1e30, 1e30], vec![0.5, 0.5]),
            (vec![-3e38, 0.0], vec![0.0, 1.0]),
            (vec![3e38, -3e38, 3e38], vec![0.5, 0.0, 0.5]),
        ] {
            assert_eq!(softmax(&logits), expected, "{logits:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_distribution_that_keeps_the_order(
            logits in prop::collection::vec(-50.0f32..50.0, 1..20),
        ) {
            let probabilities = softmax(&logits);
            let sum: f32 = probabilities.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
            for (i, &a) in logits.iter().enumerate() {
                for (j, &b) in logits.iter().enumerate() {
                    prop_assert!(a < b || probabilities[i] >= probabilities[j]);
                }
            }
        }
    }
}
