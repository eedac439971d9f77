//! Hidden states to one vector for each text. Pure.

use crate::bundle::{EncoderSpec, Pooling};
use crate::engine::HiddenStates;

/// The length below which a vector is taken for zero and not scaled, as in PyTorch's
/// `normalize`.
const SMALLEST_NORM: f32 = 1e-12;

/// Pools each row of `hidden` over its first `lengths[row]` tokens, as `spec` asks.
///
/// Returns one vector of `hidden.width` floats for each of `lengths`.
pub fn pool(hidden: &HiddenStates, lengths: &[usize], spec: &EncoderSpec) -> Vec<Vec<f32>> {
    lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| {
            let mut vector = match spec.pooling {
                Pooling::Mean => mean(hidden, row, length),
            };
            if spec.normalise {
                normalise(&mut vector);
            }
            vector
        })
        .collect()
}

/// Scales a vector to Euclidean length 1; a vector of zeros stays as it is.
pub fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let scale = 1.0 / norm.max(SMALLEST_NORM);
    for x in vector {
        *x *= scale;
    }
}

fn mean(hidden: &HiddenStates, row: usize, length: usize) -> Vec<f32> {
    let mut sum = vec![0.0; hidden.width];
    for state in hidden.row(row).chunks_exact(hidden.width).take(length) {
        for (total, x) in sum.iter_mut().zip(state) {
            *total += x;
        }
    }
    let scale = 1.0 / length.max(1) as f32;
    for total in &mut sum {
        *total *= scale;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(normalise: bool) -> EncoderSpec {
        EncoderSpec { dimension: 2, max_tokens: 8, pooling: Pooling::Mean, normalise }
    }

    #[test]
    fn padding_does_not_count() {
        let hidden = HiddenStates { data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0, 800.0], columns: 2, width: 2 };
        let pooled = pool(&hidden, &[2, 1], &spec(false));
        assert_eq!(pooled, [[2.0, 3.0], [5.0, 6.0]]);
    }

    #[test]
    fn zeros_stay_zeros() {
        let hidden = HiddenStates { data: vec![0.0; 4], columns: 2, width: 2 };
        assert_eq!(pool(&hidden, &[2], &spec(true)), [[0.0, 0.0]]);
    }

    proptest! {
        #[test]
        fn normalised_vectors_have_length_one(vector in prop::collection::vec(-9.0f32..9.0, 1..40)) {
            let mut scaled = vector.clone();
            normalise(&mut scaled);
            let norm = scaled.iter().map(|x| x * x).sum::<f32>().sqrt();
            if vector.iter().any(|x| x.abs() > 1e-3) {
                prop_assert!((norm - 1.0).abs() < 1e-5);
            }
        }
    }
}
