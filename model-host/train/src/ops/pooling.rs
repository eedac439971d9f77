//! The mean of a text's hidden states.

use super::{add_scaled, cut};

/// Sets each row of `out` (`[texts, width]`) to the mean of its text's rows of `hidden`
/// (`[tokens, width]`).
pub(crate) fn forward(out: &mut [f32], hidden: &[f32], lengths: &[usize], width: usize) {
    let mut rows = hidden.chunks_exact(width);
    for (mean, &length) in out.chunks_exact_mut(width).zip(lengths) {
        mean.fill(0.0);
        for row in rows.by_ref().take(length) {
            add_scaled(mean, 1.0, row);
        }
        mean.iter_mut().for_each(|x| *x /= length as f32);
    }
}

/// Hands each text's gradient down to its tokens, in equal shares.
pub(crate) fn backward(out: &mut [f32], gradient: &[f32], lengths: &[usize], width: usize) {
    let texts = cut(out, lengths.iter().map(|length| length * width));
    for ((rows, above), &length) in texts.into_iter().zip(gradient.chunks_exact(width)).zip(lengths) {
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().zip(above).for_each(|(x, above)| *x = above / length as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats, slopes, wide};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_gradient_is_the_slope(seed in any::<u64>(), lengths in prop::collection::vec(1usize..6, 1..5)) {
            let (width, tokens) = (3, lengths.iter().sum::<usize>());
            let (hidden, above) = (floats(tokens * width, seed), floats(lengths.len() * width, seed ^ 1));
            let mut means = vec![f32::NAN; above.len()];
            forward(&mut means, &hidden, &lengths, width);
            let loss = |hidden: &[f64]| {
                let mut rows = hidden.chunks(width);
                let mut total = 0.0;
                for (above, &length) in above.chunks(width).zip(&lengths) {
                    for row in rows.by_ref().take(length) {
                        total += row.iter().zip(above).map(|(x, &d)| x * f64::from(d)).sum::<f64>() / length as f64;
                    }
                }
                total
            };
            let found: f64 = means.iter().zip(&above).map(|(x, d)| f64::from(x * d)).sum();
            assert_close(&[found as f32], &[loss(&wide(&hidden)) as f32], 1e-5);
            let mut gradient = vec![f32::NAN; hidden.len()];
            backward(&mut gradient, &above, &lengths, width);
            assert_close(&gradient, &slopes(&wide(&hidden), loss), 1e-5);
        }
    }
}
