//! Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2), over
//! texts that lie one after the other without padding.

use rayon::prelude::*;

use super::dropout::Site;
use super::{add_scaled, cut, dot};
use crate::kernels::exp;

/// How tokens are grouped into texts, and widths into heads.
#[derive(Clone, Copy)]
pub(crate) struct Grouping<'a> {
    /// Tokens of each text.
    pub(crate) lengths: &'a [usize],
    /// Width of a hidden state.
    pub(crate) width: usize,
    /// Heads; divides the width.
    pub(crate) heads: usize,
}

impl Grouping<'_> {
    /// Attention weights of all texts: one square for each head.
    pub(crate) fn weights(&self) -> usize {
        self.lengths.iter().map(|length| self.heads * length * length).sum()
    }

    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_width() as f32).sqrt()
    }

    /// Places of a head's query, key and value within a token's projections.
    fn places(&self, head: usize) -> [std::ops::Range<usize>; 3] {
        let (from, size) = (head * self.head_width(), self.head_width());
        [0, self.width, 2 * self.width].map(|part| part + from..part + from + size)
    }

    fn cut<'a>(&self, data: &'a mut [f32], per_token: usize) -> Vec<&'a mut [f32]> {
        cut(data, self.lengths.iter().map(|length| length * per_token))
    }

    fn cut_weights<'a>(&self, data: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        cut(data, self.lengths.iter().map(|length| self.heads * length * length))
    }

    /// The number of each text's first row of attention weights, for its dropout mask.
    fn first_rows(&self) -> Vec<usize> {
        firsts(self.lengths.iter().map(|length| length * self.heads))
    }

    /// Where each text's attention weights begin.
    fn first_weights(&self) -> Vec<usize> {
        firsts(self.lengths.iter().map(|length| length * length * self.heads))
    }
}

/// Computes `context` (`[tokens, width]`) from `projected` (`[tokens, 3 width]`: query, key and
/// value), and keeps the attention weights before dropout.
pub(crate) fn forward(
    context: &mut [f32],
    weights: &mut [f32],
    projected: &[f32],
    grouping: Grouping<'_>,
    dropout: Site,
) {
    let texts = grouping.cut(context, grouping.width).into_par_iter().zip(grouping.cut_weights(weights));
    let starts = starts(grouping.lengths);
    texts.zip(starts).zip(grouping.first_rows()).for_each(|(((context, weights), (start, length)), first_row)| {
        let row = 3 * grouping.width;
        let projected = &projected[start * row..(start + length) * row];
        let mut dropped = vec![0.0; length];
        for head in 0..grouping.heads {
            let [query, key, value] = grouping.places(head);
            let square = &mut weights[head * length * length..][..length * length];
            let rows = square.chunks_exact_mut(length).zip(projected.chunks_exact(row));
            for (token, (scores, from)) in rows.enumerate() {
                for (score, to) in scores.iter_mut().zip(projected.chunks_exact(row)) {
                    *score = dot(&from[query.clone()], &to[key.clone()]) * grouping.scale();
                }
                softmax(scores);
                dropped.copy_from_slice(scores);
                dropout.apply_row(&mut dropped, (first_row + head * length + token) as u64);
                let out = &mut context[token * grouping.width..][query.clone()];
                out.fill(0.0);
                for (weight, to) in dropped.iter().zip(projected.chunks_exact(row)) {
                    add_scaled(out, *weight, &to[value.clone()]);
                }
            }
        }
    });
}

/// Computes the gradient by `projected` from the one by `context`; `weights` are the kept ones.
pub(crate) fn backward(
    gradient: &mut [f32],
    context_gradient: &[f32],
    weights: &[f32],
    projected: &[f32],
    grouping: Grouping<'_>,
    dropout: Site,
) {
    let row = 3 * grouping.width;
    let texts = grouping.cut(gradient, row).into_par_iter().zip(starts(grouping.lengths));
    let firsts = grouping.first_rows().into_par_iter().zip(grouping.first_weights());
    texts.zip(firsts).for_each(|((gradient, (start, length)), (first_row, first_weight))| {
        let weights = &weights[first_weight..][..grouping.heads * length * length];
        let text = Text {
            projected: &projected[start * row..(start + length) * row],
            context_gradient: &context_gradient[start * grouping.width..(start + length) * grouping.width],
            length,
            first_row,
        };
        gradient.fill(0.0);
        for head in 0..grouping.heads {
            text.head_backward(gradient, weights, head, grouping, dropout);
        }
    });
}

/// One text in the backward pass.
struct Text<'a> {
    projected: &'a [f32],
    context_gradient: &'a [f32],
    length: usize,
    first_row: usize,
}

impl Text<'_> {
    fn head_backward(&self, gradient: &mut [f32], weights: &[f32], head: usize, grouping: Grouping<'_>, dropout: Site) {
        let (length, row) = (self.length, 3 * grouping.width);
        let [query, key, value] = grouping.places(head);
        let square = &weights[head * length * length..][..length * length];
        let mut slopes = vec![0.0; length];
        let mut dropped = vec![0.0; length];
        for (token, weights) in square.chunks_exact(length).enumerate() {
            let number = (self.first_row + head * length + token) as u64;
            let above = &self.context_gradient[token * grouping.width..][query.clone()];
            dropped.copy_from_slice(weights);
            dropout.apply_row(&mut dropped, number);
            for (other, (slope, weight)) in slopes.iter_mut().zip(&dropped).enumerate() {
                *slope = dot(above, &self.projected[other * row..][value.clone()]);
                add_scaled(&mut gradient[other * row..][value.clone()], *weight, above);
            }
            dropout.apply_row(&mut slopes, number);
            // The softmax: each score pulls its weight up and all others down.
            let pulled = dot(&slopes, weights);
            for (other, (slope, weight)) in slopes.iter().zip(weights).enumerate() {
                let by_score = weight * (slope - pulled) * grouping.scale();
                add_scaled(
                    &mut gradient[token * row..][query.clone()],
                    by_score,
                    &self.projected[other * row..][key.clone()],
                );
                add_scaled(
                    &mut gradient[other * row..][key.clone()],
                    by_score,
                    &self.projected[token * row..][query.clone()],
                );
            }
        }
    }
}

/// First token and length of each text.
fn starts(lengths: &[usize]) -> Vec<(usize, usize)> {
    firsts(lengths.iter().copied()).into_iter().zip(lengths.iter().copied()).collect()
}

/// Where each of several pieces begins that lie one after the other.
fn firsts(sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    sizes.scan(0, |next, size| Some(std::mem::replace(next, *next + size))).collect()
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|x| *x -= largest);
    exp(scores);
    let scale = 1.0 / scores.iter().sum::<f32>();
    scores.iter_mut().for_each(|x| *x *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dropout::Dropout;
    use crate::testing::{assert_close, floats, slopes, wide};
    use proptest::prelude::*;

    /// One text and one head after the other, as the formula has it, with given masks.
    fn reference(projected: &[f64], grouping: Grouping<'_>, mask: &[f32]) -> Vec<f64> {
        let (width, row) = (grouping.width, 3 * grouping.width);
        let mut context = vec![0.0; projected.len() / 3];
        let mut mask = mask.iter();
        for (start, length) in starts(grouping.lengths) {
            for head in 0..grouping.heads {
                let [query, key, value] = grouping.places(head);
                for token in start..start + length {
                    let scores: Vec<f64> = (start..start + length)
                        .map(|other| {
                            let pairs = query.clone().zip(key.clone());
                            let product =
                                |(q, k): (usize, usize)| projected[token * row + q] * projected[other * row + k];
                            (pairs.map(product).sum::<f64>() * f64::from(grouping.scale())).exp()
                        })
                        .collect();
                    let sum: f64 = scores.iter().sum();
                    for (other, score) in (start..).zip(&scores) {
                        let weight = score / sum * f64::from(*mask.next().unwrap());
                        for (place, v) in query.clone().zip(value.clone()) {
                            context[token * width + place] += weight * projected[other * row + v];
                        }
                    }
                }
            }
        }
        context
    }

    /// The mask, in the order in which the weights lie.
    fn mask(grouping: Grouping<'_>, dropout: Site) -> Vec<f32> {
        let mut mask = vec![1.0; grouping.weights()];
        for (text, first) in grouping.cut_weights(&mut mask).into_iter().zip(grouping.first_rows()) {
            let length = (text.len() / grouping.heads).isqrt();
            for (row, number) in text.chunks_exact_mut(length).zip(first..) {
                dropout.apply_row(row, number as u64);
            }
        }
        mask
    }

    proptest! {
        #[test]
        fn the_gradient_is_the_slope(
            seed in any::<u64>(),
            lengths in prop::collection::vec(1usize..6, 1..4),
            head_width in 1usize..4,
            rate in prop::sample::select(vec![0.0f32, 0.4]),
        ) {
            let grouping = Grouping { lengths: &lengths, width: head_width * 2, heads: 2 };
            let tokens: usize = lengths.iter().sum();
            let projected: Vec<f32> = floats(tokens * grouping.width * 3, seed).iter().map(|x| x * 1.5).collect();
            let above = floats(tokens * grouping.width, seed ^ 1);
            let site = Dropout::new(rate, seed).at(4);
            let mask = mask(grouping, site);

            let mut context = vec![f32::NAN; above.len()];
            let mut weights = vec![f32::NAN; grouping.weights()];
            forward(&mut context, &mut weights, &projected, grouping, site);
            let at = wide(&projected);
            let expected: Vec<f32> = reference(&at, grouping, &mask).iter().map(|&x| x as f32).collect();
            assert_close(&context, &expected, 1e-5);

            let mut gradient = vec![f32::NAN; projected.len()];
            backward(&mut gradient, &above, &weights, &projected, grouping, site);
            let loss = |at: &[f64]| reference(at, grouping, &mask).iter().zip(&above).map(|(y, &d)| y * f64::from(d)).sum();
            assert_close(&gradient, &slopes(&at, loss), 1e-4);
        }
    }
}
