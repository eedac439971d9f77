//! The few operations on vectors that fitting and deciding share.

/// The dot product, summed in eight lanes, which the compiler turns into vector instructions.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}

/// A copy scaled to length 1.
pub(super) fn normalised(vector: &[f32]) -> Vec<f32> {
    let mut scaled = vector.to_vec();
    crate::pooling::normalise(&mut scaled);
    scaled
}

/// The index and value of the largest element; `(0, 0.0)` without any.
pub(super) fn largest(values: &[f32]) -> (usize, f32) {
    values.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_rest_are_both_summed() {
        let a: Vec<f32> = (1..=11).map(|x| x as f32).collect();
        assert_eq!(dot(&a, &a), 506.0);
    }

    #[test]
    fn the_largest_is_found() {
        assert_eq!(largest(&[0.1, 0.7, 0.2]), (1, 0.7));
        assert_eq!(largest(&[]), (0, 0.0));
    }
}
