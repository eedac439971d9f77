//! GELU with the error function, as BERT has it (Hendrycks and Gimpel 2016).

use rayon::prelude::*;

use crate::kernels::{gelu_slope, normal_cdf};

/// Elements that one task works through; a multiple of every vector's width.
const TASK: usize = 8192;

/// `out = x cdf(x)`.
pub(crate) fn forward(out: &mut [f32], x: &[f32]) {
    out.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(out, x)| {
        out.copy_from_slice(x);
        normal_cdf(out);
        out.iter_mut().zip(x).for_each(|(out, x)| *out *= x);
    });
}

/// Turns the gradient by the output into the one by the input, which `x` holds; `x` is used
/// up on the way.
pub(crate) fn backward(gradient: &mut [f32], x: &mut [f32]) {
    gradient.par_chunks_mut(TASK).zip(x.par_chunks_mut(TASK)).for_each(|(gradient, x)| {
        gelu_slope(x);
        gradient.iter_mut().zip(x).for_each(|(gradient, slope)| *gradient *= *slope);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats, slopes, wide};
    use proptest::prelude::*;

    /// Abramowitz and Stegun 7.1.26 is good to 1e-7, which is not enough to difference: this is
    /// the series 7.1.6, which converges everywhere.
    fn erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= 2.0 * x * x / (2 * n + 1) as f64;
            sum += term;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
    }

    proptest! {
        #[test]
        fn the_gradient_is_the_slope(seed in any::<u64>(), scale in 0.1f32..4.0) {
            let x: Vec<f32> = floats(9, seed).iter().map(|x| x * scale).collect();
            let dy = floats(9, seed ^ 1);
            let gelu = |x: f64| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
            let mut y = vec![0.0; 9];
            forward(&mut y, &x);
            assert_close(&y, &x.iter().map(|&x| gelu(f64::from(x)) as f32).collect::<Vec<_>>(), 1e-5);
            let expected = slopes(&wide(&x), |x| x.iter().zip(&dy).map(|(&x, &dy)| gelu(x) * f64::from(dy)).sum());
            let (mut dx, mut x) = (dy, x);
            backward(&mut dx, &mut x);
            assert_close(&dx, &expected, 1e-5);
        }
    }
}
