//! The energy of a query's logits.

/// `-log(sum(exp(logit)))` at temperature 1, after Liu et al. 2020: low where some label fits
/// well. Computed after taking out the largest logit, so that no finite logits overflow;
/// infinite for no logits.
pub fn energy(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return f32::INFINITY;
    }
    -(largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f32>().ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_negative_logarithm_of_the_sum() {
        for (logits, expected) in [
            (vec![0.0], 0.0),
            (vec![0.0, 0.0], -(2.0f32.ln())),
            (vec![3.0, -1e30], -3.0),
            (vec![1e30, 1e30], -1e30),
            (vec![], f32::INFINITY),
        ] {
            assert_eq!(energy(&logits), expected, "{logits:?}");
        }
    }
}
