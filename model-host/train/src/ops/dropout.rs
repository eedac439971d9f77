//! Dropout (Srivastava et al. 2014): zeroes a share of the elements and scales up the rest.
//!
//! The mask is a function of a key and of each element's row, and is drawn anew in the
//! backward pass instead of being kept. Since the operation is linear, its backward pass is
//! the operation itself.

use rayon::prelude::*;
use trivium_ranking::random::SplitMix64;

use super::TASK_ROWS;

/// Which elements are dropped at all places of one forward pass, and in its backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    seed: u64,
    /// An element is dropped when 16 random bits are below it: 0 drops nothing.
    below: u16,
}

/// One place in the network where elements are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    dropout: Dropout,
    site: u64,
}

impl Dropout {
    /// Drops nothing.
    pub(crate) const OFF: Self = Self { seed: 0, below: 0 };

    /// Drops the share `rate` of the elements, 0 to below 1, by a seed that is the forward
    /// pass's own.
    pub(crate) fn new(rate: f32, seed: u64) -> Self {
        Self { seed, below: (rate.clamp(0.0, 0.99) * 65536.0).round() as u16 }
    }

    /// The place with that number; numbers are different for different places.
    pub(crate) fn at(self, site: u64) -> Site {
        Site { dropout: self, site }
    }
}

impl Site {
    /// Applies the mask to rows of `width` elements; `first` is the number of the first row.
    /// The scale makes up for what is dropped, so that the expected value stays.
    pub(crate) fn apply(&self, rows: &mut [f32], width: usize) {
        if self.dropout.below == 0 {
            return;
        }
        rows.par_chunks_mut(width * TASK_ROWS).enumerate().for_each(|(task, rows)| {
            for (row, number) in rows.chunks_exact_mut(width).zip(task * TASK_ROWS..) {
                self.apply_row(row, number as u64);
            }
        });
    }

    /// Applies the mask of one row.
    pub(crate) fn apply_row(&self, row: &mut [f32], number: u64) {
        let Dropout { seed, below } = self.dropout;
        if below == 0 {
            return;
        }
        let mut random = SplitMix64::keyed(&[seed, self.site, number]);
        let scale = 65536.0 / (65536.0 - f32::from(below));
        for four in row.chunks_mut(4) {
            let mut bits = random.draw();
            for x in four {
                let kept = (bits as u16) >= below;
                *x *= if kept { scale } else { 0.0 };
                bits >>= 16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_dropped_and_the_mean_is_kept() {
        let mut rows = vec![1.0f32; 100 * 400];
        Dropout::new(0.1, 5).at(3).apply(&mut rows, 400);
        let dropped = rows.iter().filter(|x| **x == 0.0).count() as f32 / rows.len() as f32;
        assert!((dropped - 0.1).abs() < 0.01, "{dropped}");
        let mean = rows.iter().sum::<f32>() / rows.len() as f32;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn the_mask_is_a_function_of_the_key() {
        let masked = |seed, site| {
            let mut rows = vec![1.0f32; 70 * 6];
            Dropout::new(0.5, seed).at(site).apply(&mut rows, 6);
            rows
        };
        assert_eq!(masked(1, 2), masked(1, 2));
        assert_ne!(masked(1, 2), masked(1, 3));
        assert_ne!(masked(1, 2), masked(2, 2));
        // Rows differ from each other, or a token would always lose the same elements.
        let rows = masked(1, 2);
        assert_ne!(rows[..60], rows[60..120]);
    }

    #[test]
    fn nothing_is_dropped_when_it_is_off() {
        let mut rows = vec![2.0f32; 12];
        Dropout::OFF.at(1).apply(&mut rows, 4);
        assert_eq!(rows, [2.0; 12]);
    }
}
