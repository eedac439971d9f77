//! Word plus position embeddings.

use rayon::prelude::*;

use super::TASK_ROWS;

/// Sets each row of `out` (`[tokens, width]`) to its word's row plus its position's.
pub(crate) fn gather(out: &mut [f32], tokens: &[u32], positions: &[u32], words: &[f32], table: &[f32], width: usize) {
    let ids = tokens.par_chunks(TASK_ROWS).zip(positions.par_chunks(TASK_ROWS));
    out.par_chunks_mut(TASK_ROWS * width).zip(ids).for_each(|(rows, (tokens, positions))| {
        let ids = tokens.iter().zip(positions);
        for (row, (&token, &position)) in rows.chunks_exact_mut(width).zip(ids) {
            let word = &words[token as usize * width..][..width];
            let position = &table[position as usize * width..][..width];
            row.iter_mut().zip(word.iter().zip(position)).for_each(|(out, (a, b))| *out = a + b);
        }
    });
}

/// Adds each row of `rows` to the row of `table` that `ids` names. Several rows may name one, so
/// this runs in their order.
pub(crate) fn scatter_add(table: &mut [f32], ids: &[u32], rows: &[f32], width: usize) {
    for (row, &id) in rows.chunks_exact(width).zip(ids) {
        let target = &mut table[id as usize * width..][..width];
        target.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats, slopes, wide};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_gradient_is_the_slope(seed in any::<u64>(), tokens in prop::collection::vec(0u32..4, 1..70)) {
            let width = 3;
            let positions: Vec<u32> = (0..tokens.len() as u32).map(|place| place % 5).collect();
            let (words, table, above) = (floats(12, seed), floats(15, seed ^ 1), floats(tokens.len() * width, seed ^ 2));
            let sum = |words: &[f64], table: &[f64]| -> Vec<f64> {
                let ids = tokens.iter().zip(&positions);
                ids.flat_map(|(&t, &p)| (0..width).map(move |c| (t as usize * width + c, p as usize * width + c)))
                    .map(|(word, place)| words[word] + table[place])
                    .collect()
            };
            let loss = |y: Vec<f64>| y.iter().zip(&above).map(|(y, &d)| y * f64::from(d)).sum::<f64>();
            let mut out = vec![f32::NAN; above.len()];
            gather(&mut out, &tokens, &positions, &words, &table, width);
            let (w, t) = (wide(&words), wide(&table));
            assert_close(&out, &sum(&w, &t).iter().map(|&x| x as f32).collect::<Vec<_>>(), 1e-6);
            let (mut dw, mut dt) = (vec![0.0; 12], vec![0.0; 15]);
            scatter_add(&mut dw, &tokens, &above, width);
            scatter_add(&mut dt, &positions, &above, width);
            assert_close(&dw, &slopes(&w, |w| loss(sum(w, &t))), 1e-4);
            assert_close(&dt, &slopes(&t, |t| loss(sum(&w, t))), 1e-4);
        }
    }
}
