//! Cross-entropy with label smoothing (Szegedy et al. 2016, section 7).

/// Sums over the texts of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Sum of the losses.
    pub(crate) loss: f64,
    /// Texts whose first label is the right one.
    pub(crate) correct: usize,
    /// Texts.
    pub(crate) texts: usize,
}

impl Tally {
    /// Adds another batch's sums.
    pub(crate) fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.texts += other.texts;
    }

    /// The mean loss.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.texts.max(1) as f64
    }

    /// The share of texts whose first label is the right one, 0 to 1.
    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.texts.max(1) as f64
    }
}

/// Turns `logits` (`[texts, classes]`) into `share` times the gradient of the summed loss. The
/// target gives `smoothing` (0 to 1) to all classes in equal parts, and the rest to the label.
pub(crate) fn cross_entropy(logits: &mut [f32], labels: &[u32], classes: usize, smoothing: f32, share: f32) -> Tally {
    let mut tally = Tally { texts: labels.len(), ..Tally::default() };
    let even = smoothing / classes as f32;
    for (row, &label) in logits.chunks_exact_mut(classes).zip(labels) {
        let label = label as usize;
        let (first, largest) = largest(row);
        tally.correct += usize::from(first == label);
        let log_sum = f64::from(largest) + row.iter().map(|x| f64::from(x - largest).exp()).sum::<f64>().ln();
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / classes as f64;
        let smoothing = f64::from(smoothing);
        tally.loss += log_sum - (1.0 - smoothing) * f64::from(row[label]) - smoothing * mean;
        for (class, x) in row.iter_mut().enumerate() {
            let target = even + if class == label { 1.0 - smoothing as f32 } else { 0.0 };
            *x = share * ((f64::from(*x) - log_sum).exp() as f32 - target);
        }
    }
    tally
}

/// Place and value of the largest number; the first of several.
fn largest(row: &[f32]) -> (usize, f32) {
    row.iter().copied().enumerate().fold((0, f32::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats, slopes, wide};
    use proptest::prelude::*;

    fn reference(logits: &[f64], labels: &[u32], classes: usize, smoothing: f32) -> f64 {
        let smoothing = f64::from(smoothing);
        let row = |(row, &label): (&[f64], &u32)| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            let entropy = |(class, x): (usize, &f64)| {
                let target = smoothing / classes as f64 + if class == label as usize { 1.0 - smoothing } else { 0.0 };
                -target * (x.exp() / sum).ln()
            };
            row.iter().enumerate().map(entropy).sum::<f64>()
        };
        logits.chunks(classes).zip(labels).map(row).sum()
    }

    proptest! {
        #[test]
        fn the_gradient_is_the_slope(
            seed in any::<u64>(), labels in prop::collection::vec(0u32..4, 1..6), smoothing in 0.0f32..0.5,
        ) {
            let logits: Vec<f32> = floats(labels.len() * 4, seed).iter().map(|x| x * 4.0).collect();
            let mut gradient = logits.clone();
            let tally = cross_entropy(&mut gradient, &labels, 4, smoothing, 0.5);
            let at = wide(&logits);
            let loss = reference(&at, &labels, 4, smoothing);
            prop_assert!((tally.loss - loss).abs() < 1e-5 * loss.max(1.0));
            assert_close(&gradient, &slopes(&at, |at| 0.5 * reference(at, &labels, 4, smoothing)), 1e-5);
        }
    }

    #[test]
    fn the_first_label_is_counted_and_extremes_stay_finite() {
        let mut logits = [3e38, -3e38, 0.0, 0.0, 1.0, 2.0];
        let tally = cross_entropy(&mut logits, &[0, 1], 3, 0.05, 1.0);
        assert_eq!((tally.correct, tally.texts), (1, 2));
        assert!(logits.iter().all(|x| x.is_finite()) && tally.loss.is_finite());
        assert_eq!(tally.accuracy(), 0.5);
    }
}
