//! Softmax regression on frozen vectors: seconds where fine-tuning takes minutes.

use crate::kernels::Gemm;
use crate::layout::{Linear, Variable};
use crate::ops::loss::cross_entropy;
use crate::optimiser::{AdamW, Rates, schedule};
use trivium_ranking::random::SplitMix64;

/// Vectors of a step: large enough for whole products, small enough for many steps.
const BATCH: usize = 128;
/// Few vectors are passed over more often, until there are so many steps.
const FEWEST_STEPS: usize = 400;
/// The highest learning rate.
const RATE: f32 = 1e-2;
/// Share of the steps over which it rises.
const WARM_UP: f32 = 0.1;
/// Keeps the order of vectors apart from all else that the seed decides.
const PURPOSE: u64 = 0x7265_6772;

/// Vectors of one width, one after the other, each with the number of its label.
#[derive(Clone, Debug)]
pub(crate) struct Vectors {
    rows: Vec<f32>,
    width: usize,
    labels: Vec<u32>,
}

impl Vectors {
    /// As many vectors as labels, all of one width.
    pub(crate) fn new(vectors: &[Vec<f32>], labels: &[usize]) -> Self {
        Self {
            width: vectors.first().map_or(1, Vec::len),
            rows: vectors.concat(),
            labels: labels.iter().map(|&label| label as u32).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    pub(crate) fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Those that `chosen` names.
    pub(crate) fn some(&self, chosen: &[usize]) -> Self {
        let mut some = Self { rows: Vec::new(), width: self.width, labels: Vec::new() };
        for &place in chosen {
            some.rows.extend_from_slice(&self.rows[place * self.width..][..self.width]);
            some.labels.push(self.labels[place]);
        }
        some
    }

    /// Each element's mean and one over its deviation.
    pub(crate) fn standard(&self) -> Standard {
        let (count, width) = (self.len().max(1) as f64, self.width);
        let column = |column: usize| self.rows.iter().skip(column).step_by(width).map(|&x| f64::from(x));
        let standard = |place: usize| {
            let mean = column(place).sum::<f64>() / count;
            let variance = column(place).map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            // An element that never changes tells nothing, and is not blown up.
            (mean as f32, if variance > 1e-12 { (1.0 / variance.sqrt()) as f32 } else { 0.0 })
        };
        let (means, scales) = (0..width).map(standard).unzip();
        Standard { means, scales }
    }

    /// Every element less its mean, divided by its deviation.
    pub(crate) fn standardised(mut self, standard: &Standard) -> Self {
        for row in self.rows.chunks_exact_mut(self.width) {
            for (x, (mean, scale)) in row.iter_mut().zip(standard.means.iter().zip(&standard.scales)) {
                *x = (*x - mean) * scale;
            }
        }
        self
    }
}

/// What vectors are standardised by.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    means: Vec<f32>,
    scales: Vec<f32>,
}

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Classifier {
    /// `[classes, width]`, and then `[classes]` biases.
    flat: Vec<f32>,
    width: usize,
    classes: usize,
}

/// How a classifier is fitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    /// Labels.
    pub(crate) classes: usize,
    /// Passes over the vectors, unless they make too few steps.
    pub(crate) epochs: usize,
    /// Weight decay.
    pub(crate) decay: f32,
    /// Decides the order of the vectors.
    pub(crate) seed: u64,
}

impl Classifier {
    /// Fits a classifier on standardised vectors. A function of its arguments alone.
    pub(crate) fn fit(gemm: &Gemm, vectors: &Vectors, fit: Fit) -> Self {
        let (width, classes) = (vectors.width, fit.classes);
        let linear = Linear::at(0, width, classes);
        let mut flat = vec![0.0; classes * (width + 1)];
        let mut gradients = flat.clone();
        let mut adam = AdamW::new(flat.len());
        let variables = variables(width, classes);
        let rates = Rates { encoder: RATE, head: RATE, decay: fit.decay, clip: f32::INFINITY };
        let steps_in_epoch = vectors.len().div_ceil(BATCH).max(1);
        let epochs = fit.epochs.max(FEWEST_STEPS.div_ceil(steps_in_epoch));
        let steps = epochs * steps_in_epoch;
        let mut order: Vec<usize> = (0..vectors.len()).collect();
        let mut random = SplitMix64::keyed(&[fit.seed, PURPOSE]);
        let mut logits = Vec::new();
        let mut step = 0;
        for _ in 0..epochs {
            random.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                let batch = vectors.some(batch);
                logits.resize(batch.len() * classes, 0.0);
                linear.forward(gemm, &flat, &mut logits, &batch.rows);
                cross_entropy(&mut logits, &batch.labels, classes, 0.0, 1.0 / batch.len() as f32);
                gradients.fill(0.0);
                linear.backward(gemm, &mut gradients, &logits, &batch.rows);
                adam.step(&mut flat, &gradients, &variables, 0, rates, schedule(step, steps, WARM_UP));
                step += 1;
            }
        }
        Self { flat, width, classes }
    }

    /// Unnormalised scores, one row for each vector.
    pub(crate) fn logits(&self, gemm: &Gemm, vectors: &Vectors) -> Vec<Vec<f32>> {
        if vectors.len() == 0 {
            return Vec::new();
        }
        let mut logits = vec![0.0; vectors.len() * self.classes];
        Linear::at(0, self.width, self.classes).forward(gemm, &self.flat, &mut logits, &vectors.rows);
        logits.chunks_exact(self.classes).map(<[f32]>::to_vec).collect()
    }

    /// Weights and biases of the same classifier on vectors that are not standardised.
    pub(crate) fn unstandardised(&self, standard: &Standard) -> (Vec<f32>, Vec<f32>) {
        let (weights, biases) = self.flat.split_at(self.classes * self.width);
        let mut weights = weights.to_vec();
        let mut biases = biases.to_vec();
        for (row, bias) in weights.chunks_exact_mut(self.width).zip(&mut biases) {
            let mut shift = 0.0f64;
            for (weight, (mean, scale)) in row.iter_mut().zip(standard.means.iter().zip(&standard.scales)) {
                *weight *= scale;
                shift += f64::from(*weight) * f64::from(*mean);
            }
            *bias -= shift as f32;
        }
        (weights, biases)
    }
}

fn variables(width: usize, classes: usize) -> [Variable; 2] {
    let weights = width * classes;
    let variable =
        |name: &str, shape: &[usize], place| Variable { name: name.to_owned(), shape: shape.to_vec(), place };
    [
        variable("classifier.weight", &[classes, width], 0..weights),
        variable("classifier.bias", &[classes], weights..weights + classes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats};

    /// Three clouds around different centres, with very different scales of their elements.
    fn clouds(count: usize, seed: u64) -> Vectors {
        let noise = floats(count * 2, seed);
        let centres = [[0.0f32, 0.0], [4.0, 0.0], [0.0, 400.0]];
        let labels: Vec<usize> = (0..count).map(|place| place % 3).collect();
        let vectors: Vec<Vec<f32>> = labels
            .iter()
            .zip(noise.chunks(2))
            .map(|(&label, noise)| vec![centres[label][0] + noise[0], centres[label][1] + noise[1] * 100.0, 7.0])
            .collect();
        Vectors::new(&vectors, &labels)
    }

    fn first(row: &[f32]) -> u32 {
        (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32
    }

    #[test]
    fn clouds_are_told_apart_with_or_without_the_standard() {
        let (train, test) = (clouds(300, 1), clouds(90, 2));
        let standard = train.standard();
        let gemm = Gemm::default();
        let fit = Fit { classes: 3, epochs: 30, decay: 0.01, seed: 1 };
        let train = train.standardised(&standard);
        let classifier = Classifier::fit(&gemm, &train, fit);
        assert_eq!(classifier, Classifier::fit(&gemm, &train, fit));
        let found = classifier.logits(&gemm, &test.clone().standardised(&standard));
        for (row, &label) in found.iter().zip(test.labels()) {
            assert_eq!(first(row), label);
        }
        let (weights, biases) = classifier.unstandardised(&standard);
        for (row, vector) in found.iter().zip(test.rows.chunks(3)) {
            let logits: Vec<f32> = weights
                .chunks(3)
                .zip(&biases)
                .map(|(weights, bias)| bias + weights.iter().zip(vector).map(|(w, x)| w * x).sum::<f32>())
                .collect();
            assert_close(&logits, row, 1e-3);
        }
    }
}
