//! Layer normalisation (Ba, Kiros and Hinton 2016) over the width of each row.

use rayon::prelude::*;

use super::{TASK_ROWS, add_column_sums, add_column_sums_of_product, dot};

/// What the backward pass needs of the forward pass.
#[derive(Default)]
pub(crate) struct Normalised {
    /// Rows less their mean, divided by their deviation: `[n, width]`.
    pub(crate) rows: Vec<f32>,
    /// One over each row's deviation: `[n]`.
    pub(crate) scales: Vec<f32>,
}

/// `out = (x - mean) / sqrt(variance + epsilon) * weight + bias` for each row of `x`, which may
/// be `out`'s old content.
pub(crate) fn forward(out: &mut [f32], kept: &mut Normalised, weight: &[f32], bias: &[f32], epsilon: f32) {
    let width = weight.len();
    kept.rows.resize(out.len(), 0.0);
    kept.scales.resize(out.len() / width, 0.0);
    let task = TASK_ROWS * width;
    let kept = kept.rows.par_chunks_mut(task).zip(kept.scales.par_chunks_mut(TASK_ROWS));
    out.par_chunks_mut(task).zip(kept).for_each(|(out, (rows, scales))| {
        let rows = rows.chunks_exact_mut(width).zip(scales);
        for (out, (row, scale)) in out.chunks_exact_mut(width).zip(rows) {
            let mean = sum(out) / width as f32;
            row.iter_mut().zip(&*out).for_each(|(centred, x)| *centred = x - mean);
            let variance = dot(row, row) / width as f32;
            *scale = 1.0 / (variance + epsilon).sqrt();
            for ((x, (w, b)), y) in row.iter_mut().zip(weight.iter().zip(bias)).zip(out) {
                *x *= *scale;
                *y = *x * w + b;
            }
        }
    });
}

/// Turns the gradient by the output into the one by the input, and adds to those by the weight
/// and the bias.
pub(crate) fn backward(
    gradient: &mut [f32],
    kept: &Normalised,
    weight: &[f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
) {
    add_column_sums_of_product(weight_gradient, gradient, &kept.rows);
    add_column_sums(bias_gradient, gradient);
    let width = weight.len();
    let task = TASK_ROWS * width;
    let kept = kept.rows.par_chunks(task).zip(kept.scales.par_chunks(TASK_ROWS));
    gradient.par_chunks_mut(task).zip(kept).for_each(|(gradient, (rows, scales))| {
        let rows = rows.chunks_exact(width).zip(scales);
        for (gradient, (row, scale)) in gradient.chunks_exact_mut(width).zip(rows) {
            gradient.iter_mut().zip(weight).for_each(|(g, w)| *g *= w);
            let mean = sum(gradient) / width as f32;
            let along = dot(gradient, row) / width as f32;
            gradient.iter_mut().zip(row).for_each(|(g, x)| *g = scale * (*g - mean - x * along));
        }
    });
}

/// The sum, in eight lanes.
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats, slopes, wide};
    use proptest::prelude::*;

    const EPSILON: f32 = 1e-5;

    fn reference(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let width = weight.len();
        let row = |x: &[f64]| -> Vec<f64> {
            let mean = x.iter().sum::<f64>() / width as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            x.iter().zip(weight.iter().zip(bias)).map(|(x, (w, b))| (x - mean) * scale * w + b).collect()
        };
        x.chunks(width).flat_map(row).collect()
    }

    proptest! {
        #[test]
        fn gradients_are_slopes(seed in any::<u64>(), rows in 1usize..40, width in 2usize..20) {
            let x = floats(rows * width, seed);
            let (weight, bias, dy) = (floats(width, seed ^ 1), floats(width, seed ^ 2), floats(rows * width, seed ^ 3));
            let loss = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
                reference(x, w, b).iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum()
            };
            let (wide_x, w, b) = (wide(&x), wide(&weight), wide(&bias));
            // Rows that are nearly constant have slopes beyond what differences can tell.
            let spread = |row: &[f32]| row.iter().fold(0.0f32, |most, x| most.max((x - row[0]).abs()));
            prop_assume!(x.chunks(width).all(|row| spread(row) > 0.2));
            let mut kept = Normalised::default();
            let mut y = x;
            forward(&mut y, &mut kept, &weight, &bias, EPSILON);
            assert_close(&y, &reference(&wide_x, &w, &b).iter().map(|&y| y as f32).collect::<Vec<_>>(), 1e-4);
            let (mut dx, mut dw, mut db) = (dy.clone(), vec![0.0; width], vec![0.0; width]);
            backward(&mut dx, &kept, &weight, &mut dw, &mut db);
            assert_close(&dx, &slopes(&wide_x, |x| loss(x, &w, &b)), 1e-3);
            assert_close(&dw, &slopes(&w, |w| loss(&wide_x, w, &b)), 1e-3);
            assert_close(&db, &slopes(&b, |b| loss(&wide_x, &w, b)), 1e-3);
        }
    }
}
