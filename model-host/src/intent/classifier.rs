//! From an encoder's vector to a decision. Pure.

use super::out_of_scope::Scorer;
use super::vectors::largest;
use super::{Decision, Head, TensorFileError, softmax};

/// A calibrated head with its way to tell queries outside the scope.
#[derive(Clone, Debug)]
pub(super) struct Classifier {
    /// In the order of the head's rows.
    pub(super) labels: Vec<String>,
    /// One for each label, 0 to 1.
    pub(super) thresholds: Vec<f32>,
    /// Above 0.
    pub(super) temperature: f32,
    pub(super) head: Head,
    pub(super) scope: Scope,
}

/// How queries outside the scope are told.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// Not at all.
    Unknown,
    /// One of the labels, by its index, is for them.
    Label(usize),
    /// A strangeness above the threshold gives them away.
    Score {
        /// The label that they bear in data; none of the head's.
        label: String,
        scorer: Scorer,
        threshold: f32,
    },
}

impl Scope {
    /// Whether a query is outside by its score.
    pub(super) fn rejects(&self, vector: &[f32], logits: &[f32]) -> bool {
        match self {
            Self::Unknown | Self::Label(_) => false,
            Self::Score { scorer, threshold, .. } => scorer.strangeness(vector, logits) > *threshold,
        }
    }

    /// The statistics file, if there is one.
    pub(super) fn statistics(&self) -> Result<Option<Vec<u8>>, TensorFileError> {
        match self {
            Self::Unknown | Self::Label(_) => Ok(None),
            Self::Score { scorer, .. } => scorer.statistics(),
        }
    }
}

impl Classifier {
    /// The label of queries outside the scope.
    pub(super) fn scope_label(&self) -> Option<&str> {
        match &self.scope {
            Scope::Unknown => None,
            Scope::Label(index) => self.labels.get(*index).map(String::as_str),
            Scope::Score { label, .. } => Some(label),
        }
    }

    /// Decides on a vector of `head.dimension()` elements.
    pub(super) fn decide(&self, vector: &[f32]) -> Decision {
        let logits = self.head.logits(vector);
        let probabilities = self.probabilities(&logits);
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let first = order[0];
        let (strangeness, out_of_scope) = match &self.scope {
            Scope::Unknown => (None, false),
            Scope::Label(label) => (None, *label == first),
            Scope::Score { scorer, threshold, .. } => {
                let strangeness = scorer.strangeness(vector, &logits);
                (Some(strangeness), strangeness > *threshold)
            }
        };
        Decision {
            margin: probabilities[first] - order.get(1).map_or(0.0, |&i| probabilities[i]),
            threshold: self.thresholds[first],
            out_of_scope,
            strangeness,
            ranking: order.into_iter().map(|index| (self.labels[index].clone(), probabilities[index])).collect(),
        }
    }

    /// The index of the most probable label, and its probability.
    pub(super) fn first(&self, logits: &[f32]) -> (usize, f32) {
        largest(&self.probabilities(logits))
    }

    fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        let scaled: Vec<f32> = logits.iter().map(|logit| logit / self.temperature).collect();
        softmax(&scaled)
    }
}
