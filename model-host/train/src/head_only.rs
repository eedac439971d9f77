//! The quick way: a head on the encoder's frozen vectors.

use trivium_model_host::intent::{Head, HeadError, fit_temperature, softmax};

use crate::kernels::Gemm;
use crate::regression::{Classifier, Fit, Vectors};

/// Strengths of weight decay that are tried.
const DECAYS: [f32; 4] = [0.03, 0.1, 0.3, 1.0];
/// Passes over the training vectors for each.
const EPOCHS: usize = 40;

/// The head that does best on the validation vectors, and the weight decay that it was fitted
/// with: of all candidates, it makes the validation labels most likely, each with its best
/// temperature.
pub(crate) fn choose(
    gemm: &Gemm,
    train: &Vectors,
    valid: &Vectors,
    classes: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Head, f32), HeadError> {
    let standard = train.standard();
    let train = train.clone().standardised(&standard);
    let valid = valid.clone().standardised(&standard);
    let mut best: Option<(f32, Classifier, f32)> = None;
    for (done, decay) in DECAYS.into_iter().enumerate() {
        let classifier = Classifier::fit(gemm, &train, Fit { classes, epochs: EPOCHS, decay, seed });
        let loss = loss(&classifier.logits(gemm, &valid), valid.labels());
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, classifier, decay));
        }
        progress(done + 1, DECAYS.len());
    }
    let (_, classifier, decay) = best.ok_or(HeadError::NotFinite)?;
    let (weights, biases) = classifier.unstandardised(&standard);
    Ok((Head::new(weights, biases)?, decay))
}

fn loss(logits: &[Vec<f32>], labels: &[u32]) -> f32 {
    let labels: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
    let temperature = fit_temperature(logits, &labels);
    let scaled = |row: &Vec<f32>| softmax(&row.iter().map(|x| x / temperature).collect::<Vec<f32>>());
    logits.iter().zip(labels).map(|(row, label)| -scaled(row)[label].max(1e-12).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::floats;

    #[test]
    fn the_chosen_head_reads_vectors_as_they_are() {
        let vectors = |seed: u64| {
            let labels: Vec<usize> = (0..120).map(|place| place % 2).collect();
            let noise = floats(240, seed);
            let rows = labels.iter().zip(noise.chunks(2));
            (rows.map(|(&l, n)| vec![l as f32 * 30.0 + n[0], n[1] + 5.0]).collect::<Vec<_>>(), labels)
        };
        let (train, train_labels) = vectors(1);
        let (valid, valid_labels) = vectors(2);
        let mut seen = Vec::new();
        let (train, held) = (Vectors::new(&train, &train_labels), Vectors::new(&valid, &valid_labels));
        let (head, _) = choose(&Gemm::default(), &train, &held, 2, 1, &mut |done, of| seen.push((done, of))).unwrap();
        for (vector, label) in valid.iter().zip(valid_labels) {
            let logits = head.logits(vector);
            assert_eq!(usize::from(logits[1] > logits[0]), label);
        }
        assert_eq!(seen.last(), Some(&(DECAYS.len(), DECAYS.len())));
    }
}
