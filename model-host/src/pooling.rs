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
                Pooling::Cls => first(hidden, row, length),
                Pooling::Max => largest(hidden, row, length),
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

/// The state of the first token; zeros for a text without tokens.
fn first(hidden: &HiddenStates, row: usize, length: usize) -> Vec<f32> {
    states(hidden, row, length).next().map_or_else(|| vec![0.0; hidden.width], <[f32]>::to_vec)
}

fn largest(hidden: &HiddenStates, row: usize, length: usize) -> Vec<f32> {
    let mut states = states(hidden, row, length);
    let mut largest = states.next().map_or_else(|| vec![0.0; hidden.width], <[f32]>::to_vec);
    for state in states {
        for (best, x) in largest.iter_mut().zip(state) {
            *best = best.max(*x);
        }
    }
    largest
}

/// The states of one text, padding left out.
fn states(hidden: &HiddenStates, row: usize, length: usize) -> impl Iterator<Item = &[f32]> {
    hidden.row(row).chunks_exact(hidden.width.max(1)).take(length)
}

fn mean(hidden: &HiddenStates, row: usize, length: usize) -> Vec<f32> {
    let mut sum = vec![0.0; hidden.width];
    for state in states(hidden, row, length) {
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
        EncoderSpec {
            dimension: 2,
            max_tokens: 8,
            pooling: Pooling::Mean,
            normalise,
            prefixes: crate::bundle::Prefixes::default(),
        }
    }

    #[test]
    fn each_kind_of_pooling_reads_the_tokens_alone() {
        let data = vec![1.0, 2.0, 3.0, -4.0, 900.0, 900.0];
        let hidden = HiddenStates { data, columns: 3, width: 2 };
        for (pooling, expected) in
            [(Pooling::Mean, [2.0, -1.0]), (Pooling::Cls, [1.0, 2.0]), (Pooling::Max, [3.0, 2.0])]
        {
            let spec = EncoderSpec { pooling, ..spec(false) };
            assert_eq!(pool(&hidden, &[2], &spec), [expected], "{pooling:?}");
            assert_eq!(pool(&hidden, &[0], &spec), [[0.0, 0.0]], "{pooling:?}");
        }
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
