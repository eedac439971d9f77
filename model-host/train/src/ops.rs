//! The parts of the network, each with its forward and its backward pass. Pure functions over
//! slices; matrices are row-major, one row for each token or text.
//!
//! Loops over rows are split among the threads of the caller's pool; sums over rows run in
//! the order of the rows for each column, so that they do not depend on how many there are.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod dropout;
pub(crate) mod embedding;
pub(crate) mod layer_norm;
pub(crate) mod loss;
pub(crate) mod pooling;

use rayon::prelude::*;
pub(crate) use trivium_model_host::intent::dot;

/// Rows that one task works through: large enough that handing it out costs nothing beside it.
pub(crate) const TASK_ROWS: usize = 32;
/// Columns whose sums one task makes: whole cache lines.
const TASK_COLUMNS: usize = 64;

/// Adds the sum of each column of `rows` (`[n, out.len()]`) to `out`.
pub(crate) fn add_column_sums(out: &mut [f32], rows: &[f32]) {
    let width = out.len();
    out.par_chunks_mut(TASK_COLUMNS).enumerate().for_each(|(block, sums)| {
        let from = block * TASK_COLUMNS;
        for row in rows.chunks_exact(width) {
            let values = &row[from..from + sums.len()];
            sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
        }
    });
}

/// Adds the sum of each column of the elementwise product of `a` and `b` to `out`.
pub(crate) fn add_column_sums_of_product(out: &mut [f32], a: &[f32], b: &[f32]) {
    let width = out.len();
    out.par_chunks_mut(TASK_COLUMNS).enumerate().for_each(|(block, sums)| {
        let places = block * TASK_COLUMNS..block * TASK_COLUMNS + sums.len();
        for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
            let values = a[places.clone()].iter().zip(&b[places.clone()]);
            sums.iter_mut().zip(values).for_each(|(sum, (x, y))| *sum += x * y);
        }
    });
}

/// `out = out + factor x`.
pub(crate) fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out += factor * x);
}

/// Cuts `data` into pieces of the given lengths, which together are all of it.
pub(crate) fn cut(mut data: &mut [f32], lengths: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    lengths
        .map(|length| {
            let (piece, rest) = std::mem::take(&mut data).split_at_mut(length);
            data = rest;
            piece
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats};

    #[test]
    fn columns_are_summed_over_all_rows() {
        for (rows, width) in [(3, 5), (40, 130), (0, 4)] {
            let (a, b) = (floats(rows * width, 1), floats(rows * width, 2));
            let (mut sums, mut products) = (vec![1.0; width], vec![1.0; width]);
            add_column_sums(&mut sums, &a);
            add_column_sums_of_product(&mut products, &a, &b);
            for column in 0..width {
                let places = || (0..rows).map(|row| row * width + column);
                let sum: f32 = places().map(|place| a[place]).sum();
                let product: f32 = places().map(|place| a[place] * b[place]).sum();
                assert_close(&[sums[column], products[column]], &[sum + 1.0, product + 1.0], 1e-5);
            }
        }
    }
}
