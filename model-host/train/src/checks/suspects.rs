//! Queries whose label a model that has not seen them would not give them.

use serde::Serialize;
use trivium_model_host::intent::{Example, softmax};

use crate::kernels::Gemm;
use crate::regression::{Classifier, Fit, Vectors};

/// Parts of the training data, each judged by a classifier of all the others.
const FOLDS: usize = 5;
/// Passes over the data for each classifier: it need not be the best, only fair.
const EPOCHS: usize = 12;
/// Strong, so that probabilities are not all near 0 and 1.
const DECAY: f32 = 0.3;
/// Below this probability of its own label a query is suspect, if another label has...
const OWN_AT_MOST: f32 = 0.05;
/// ...at least this one.
const OTHER_AT_LEAST: f32 = 0.7;

/// A training query that is likely to have the wrong label (Northcutt, Jiang and Chuang 2021
/// call this confident learning; here with fixed bounds).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suspect {
    /// Its number among the training queries, from 1.
    pub number: usize,
    /// The query.
    pub text: String,
    /// The label that it has.
    pub label: String,
    /// The label that a classifier of the other queries gives it.
    pub likely: String,
    /// The probability of that label, 0 to 1.
    pub confidence: f32,
}

/// The suspects among `examples`, surest first. `vectors` are those of the examples at `places`,
/// whose labels index `labels`.
pub(crate) fn suspects(
    gemm: &Gemm,
    examples: &[Example],
    places: &[usize],
    vectors: &Vectors,
    labels: &[String],
    seed: u64,
) -> Vec<Suspect> {
    let mut suspects = Vec::new();
    let standard = vectors.standard();
    let vectors = vectors.clone().standardised(&standard);
    let folds = folds(vectors.labels());
    for fold in 0..FOLDS {
        let (held, rest): (Vec<usize>, Vec<usize>) = (0..vectors.len()).partition(|&place| folds[place] == fold);
        if held.is_empty() || rest.is_empty() {
            continue;
        }
        let fit = Fit { classes: labels.len(), epochs: EPOCHS, decay: DECAY, seed };
        let classifier = Classifier::fit(gemm, &vectors.some(&rest), fit);
        for (logits, place) in classifier.logits(gemm, &vectors.some(&held)).iter().zip(held) {
            let own = vectors.labels()[place] as usize;
            let Some((likely, confidence)) = judged(logits, own) else { continue };
            let number = places[place];
            suspects.push(Suspect {
                number: number + 1,
                text: examples[number].text.clone(),
                label: labels[own].clone(),
                likely: labels[likely].clone(),
                confidence,
            });
        }
    }
    suspects.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.number.cmp(&b.number)));
    suspects
}

/// The other label and its probability, if the own one is hard to believe.
fn judged(logits: &[f32], own: usize) -> Option<(usize, f32)> {
    let probabilities = softmax(logits);
    let (likely, &confidence) = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    (likely != own && probabilities[own] <= OWN_AT_MOST && confidence >= OTHER_AT_LEAST).then_some((likely, confidence))
}

/// The fold of each query: those of one label go round.
fn folds(labels: &[u32]) -> Vec<usize> {
    let mut seen = std::collections::HashMap::new();
    labels
        .iter()
        .map(|label| {
            let count = seen.entry(label).or_insert(0);
            *count += 1;
            (*count - 1) % FOLDS
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::floats;

    #[test]
    fn a_query_among_those_of_another_label_is_found() {
        let noise = floats(200 * 8, 3);
        let labels: Vec<usize> = (0..200).map(|place| usize::from(place >= 100)).collect();
        let mut given = labels.clone();
        given[17] = 1;
        let vectors: Vec<Vec<f32>> = labels
            .iter()
            .zip(noise.chunks(8))
            .map(|(&label, noise)| noise.iter().map(|x| label as f32 * 6.0 + x).collect())
            .collect();
        let names = ["a".to_owned(), "b".to_owned()];
        let examples: Vec<Example> = given
            .iter()
            .enumerate()
            .map(|(place, &label)| Example { text: format!("query {place}"), label: names[label].clone() })
            .collect();
        let places: Vec<usize> = (0..200).collect();
        let found = suspects(&Gemm::default(), &examples, &places, &Vectors::new(&vectors, &given), &names, 1);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].number, found[0].label.as_str(), found[0].likely.as_str()), (18, "b", "a"));
        assert!(found[0].confidence > 0.7);
    }

    #[test]
    fn folds_deal_each_label_out_evenly() {
        assert_eq!(folds(&[0, 0, 1, 0, 0, 0, 0, 1]), [0, 1, 0, 2, 3, 4, 0, 1]);
    }
}
