//! AdamW (Loshchilov and Hutter 2019), with the gradient clipped to a largest norm first.

use rayon::prelude::*;

use crate::layout::Variable;

/// Decay of the mean of gradients.
const BETA1: f32 = 0.9;
/// Decay of the mean of their squares.
const BETA2: f32 = 0.999;
/// Keeps the division finite.
const EPSILON: f32 = 1e-8;
/// Elements that one task works through.
const TASK: usize = 1 << 14;

/// What does not change from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    /// The highest learning rate of the encoder.
    pub(crate) encoder: f32,
    /// The highest learning rate of the head.
    pub(crate) head: f32,
    /// Share of a weight that decays in each step, times the learning rate.
    pub(crate) decay: f32,
    /// The largest norm of a gradient.
    pub(crate) clip: f32,
}

/// The moments of each variable's gradient, and the number of steps so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AdamW {
    pub(crate) means: Vec<f32>,
    pub(crate) squares: Vec<f32>,
    pub(crate) steps: u64,
}

impl AdamW {
    /// Before the first step, for `len` floats.
    pub(crate) fn new(len: usize) -> Self {
        Self { means: vec![0.0; len], squares: vec![0.0; len], steps: 0 }
    }

    /// Moves `weights` against `gradients`. `share` scales both learning rates; only variables
    /// from place `first` on move.
    pub(crate) fn step(
        &mut self,
        weights: &mut [f32],
        gradients: &[f32],
        variables: &[Variable],
        first: usize,
        rates: Rates,
        share: f32,
    ) {
        self.steps += 1;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let clip = clip_factor(norm(&gradients[first..]), rates.clip);
        for variable in variables.iter().filter(|variable| variable.place.start >= first) {
            let rate = share * if variable.is_head() { rates.head } else { rates.encoder };
            let update = Update {
                rate,
                decay: if variable.decays() { rate * rates.decay } else { 0.0 },
                clip,
                mean_correction: 1.0 / (1.0 - BETA1.powi(steps)),
                square_correction: 1.0 / (1.0 - BETA2.powi(steps)),
            };
            let place = variable.place.clone();
            let moments =
                self.means[place.clone()].par_chunks_mut(TASK).zip(self.squares[place.clone()].par_chunks_mut(TASK));
            let weights = weights[place.clone()].par_chunks_mut(TASK).zip(gradients[place].par_chunks(TASK));
            weights.zip(moments).for_each(|((weights, gradients), (means, squares))| {
                update.apply(weights, gradients, means, squares);
            });
        }
    }
}

/// The Euclidean norm. Parts are summed in their order, so that it does not depend on threads.
pub(crate) fn norm(gradients: &[f32]) -> f32 {
    let part = |part: &[f32]| part.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let parts: Vec<f64> = gradients.par_chunks(TASK).map(part).collect();
    parts.iter().sum::<f64>().sqrt() as f32
}

/// What a gradient of that norm is multiplied by.
fn clip_factor(norm: f32, largest: f32) -> f32 {
    if norm > largest { largest / norm } else { 1.0 }
}

struct Update {
    rate: f32,
    decay: f32,
    clip: f32,
    mean_correction: f32,
    square_correction: f32,
}

impl Update {
    fn apply(&self, weights: &mut [f32], gradients: &[f32], means: &mut [f32], squares: &mut [f32]) {
        let moments = means.iter_mut().zip(squares);
        for ((weight, gradient), (mean, square)) in weights.iter_mut().zip(gradients).zip(moments) {
            let gradient = gradient * self.clip;
            *mean += (1.0 - BETA1) * (gradient - *mean);
            *square += (1.0 - BETA2) * (gradient * gradient - *square);
            let deviation = (*square * self.square_correction).sqrt() + EPSILON;
            *weight -= self.decay * *weight + self.rate * *mean * self.mean_correction / deviation;
        }
    }
}

/// The share of the highest learning rate at step `step` of `steps` (both from 0): rising over
/// the first `warm_up` (0 to 1) of them, falling to zero over the rest, both linearly.
pub(crate) fn schedule(step: usize, steps: usize, warm_up: f32) -> f32 {
    let rising = (steps as f32 * warm_up).ceil();
    let done = step as f32 + 1.0;
    if done <= rising {
        done / rising
    } else {
        ((steps as f32 - step as f32) / (steps as f32 - rising).max(1.0)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    const RATES: Rates = Rates { encoder: 0.1, head: 0.2, decay: 0.5, clip: 5.0 };

    fn variable(name: &str, shape: &[usize], place: std::ops::Range<usize>) -> Variable {
        Variable { name: name.to_owned(), shape: shape.to_vec(), place }
    }

    fn variables() -> [Variable; 3] {
        [
            variable("encoder.layer.0.output.dense.weight", &[1, 1], 0..1),
            variable("encoder.layer.0.output.dense.bias", &[1], 1..2),
            variable("classifier.weight", &[1, 1], 2..3),
        ]
    }

    #[test]
    fn a_step_follows_the_published_formula() {
        let mut adam = AdamW::new(3);
        let mut weights = [1.0f32, 1.0, 1.0];
        let gradients = [3.0f32, 0.0, -4.0];
        adam.step(&mut weights, &gradients, &variables(), 0, RATES, 1.0);
        // The first step is the rate times the sign, and decay is apart from it.
        assert_close(&weights, &[1.0 - 0.05 - 0.1, 1.0, 1.0 - 0.1 + 0.2], 1e-5);
        adam.step(&mut weights, &[0.0, 0.0, 0.0], &variables(), 0, RATES, 0.5);
        let mean = 0.9f64 * 0.1 * 3.0 / (1.0 - 0.81);
        let square = 0.999f64 * 0.001 * 9.0 / (1.0 - 0.998_001);
        let expected = 0.85 - 0.025 * 0.85 - 0.05 * mean / square.sqrt();
        assert_close(&weights[..1], &[expected as f32], 1e-5);
    }

    #[test]
    fn frozen_variables_stay() {
        let mut adam = AdamW::new(3);
        let mut weights = [1.0f32, 1.0, 1.0];
        adam.step(&mut weights, &[1.0, 1.0, 1.0], &variables(), 2, RATES, 1.0);
        assert_eq!(weights[..2], [1.0, 1.0]);
        assert!(weights[2] < 1.0);
    }

    #[test]
    fn long_gradients_are_shortened() {
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
        assert_eq!(clip_factor(10.0, 5.0), 0.5);
        assert_eq!(clip_factor(4.0, 5.0), 1.0);
        let long = vec![2.0; 3 * TASK + 5];
        assert_close(&[norm(&long)], &[2.0 * ((3 * TASK + 5) as f32).sqrt()], 1e-5);
    }

    #[test]
    fn the_rate_rises_and_falls() {
        for (step, expected) in [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (99, 1.0 / 90.0)] {
            assert_close(&[schedule(step, 100, 0.1)], &[expected], 1e-6);
        }
        assert_eq!(schedule(0, 1, 0.0), 1.0);
        assert_eq!(schedule(0, 1, 1.0), 1.0);
    }
}
