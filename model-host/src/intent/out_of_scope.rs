//! Tells queries outside a model's scope by a score.
//!
//! Every score here is a *strangeness*: the larger, the less a query resembles what the model
//! was trained on. Which one a model uses is chosen on its validation data.

mod choose;
mod energy;
mod mahalanobis;
mod neighbours;

use serde::{Deserialize, Serialize};

use super::softmax;
use super::vectors::{largest, normalised};
use crate::tensors::TensorFileError;
use mahalanobis::Mahalanobis;
use neighbours::Neighbours;

pub(super) use choose::{Evidence, Features, choose, threshold_at};
pub(super) use energy::energy;

/// How a model tells queries outside its scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutOfScope {
    /// The label that such queries bear in labelled data.
    pub label: String,
    /// The score.
    pub score: ScoreKind,
    /// The strangeness above which a query is taken to be outside the scope.
    pub threshold: f32,
    /// The share of validation queries inside the scope that the threshold was set to reject,
    /// 0 to 1.
    pub target_false_reject: f32,
    /// Out-of-scope examples that the score was chosen on. With none, energy was taken
    /// unseen.
    pub evidence: usize,
    /// What each score achieved on that evidence, the chosen one first.
    #[serde(default)]
    pub compared: Vec<ScoreReport>,
}

/// A score for queries outside the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// One less the largest calibrated probability (Hendrycks and Gimpel 2017).
    MaximumProbability,
    /// The negative logarithm of the summed exponentials of the logits (Liu et al. 2020).
    Energy,
    /// The distance to the k-th nearest training query (Sun et al. 2022).
    NearestNeighbours,
    /// The squared distance to the nearest label's mean, in units of the spread within labels
    /// (Lee et al. 2018).
    Mahalanobis,
}

impl ScoreKind {
    /// Whether the score needs a file of statistics when it serves.
    pub fn has_statistics(self) -> bool {
        matches!(self, Self::NearestNeighbours | Self::Mahalanobis)
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaximumProbability => "maximum probability",
            Self::Energy => "energy",
            Self::NearestNeighbours => "nearest neighbours",
            Self::Mahalanobis => "Mahalanobis",
        }
    }
}

/// What a score achieved on the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreReport {
    /// The score.
    pub score: ScoreKind,
    /// Share of the out-of-scope examples above the threshold, 0 to 1.
    pub recall: f32,
    /// Share of the validation queries inside the scope above it, 0 to 1.
    pub false_reject: f32,
    /// Probability that an out-of-scope example scores above a validation query, 0 to 1.
    pub auroc: f32,
}

/// A score with the statistics that it needs.
#[derive(Clone, Debug)]
pub(super) enum Scorer {
    MaximumProbability { temperature: f32 },
    Energy,
    NearestNeighbours(Neighbours),
    Mahalanobis(Mahalanobis),
}

impl Scorer {
    /// A score with the content of its statistics file, which is looked at only if the score
    /// has one.
    pub(super) fn load(
        kind: ScoreKind,
        temperature: f32,
        dimension: usize,
        statistics: &[u8],
    ) -> Result<Self, TensorFileError> {
        Ok(match kind {
            ScoreKind::MaximumProbability => Self::MaximumProbability { temperature },
            ScoreKind::Energy => Self::Energy,
            ScoreKind::NearestNeighbours => {
                Self::NearestNeighbours(Neighbours::from_safetensors(statistics, dimension)?)
            }
            ScoreKind::Mahalanobis => Self::Mahalanobis(Mahalanobis::from_safetensors(statistics, dimension)?),
        })
    }

    pub(super) fn kind(&self) -> ScoreKind {
        match self {
            Self::MaximumProbability { .. } => ScoreKind::MaximumProbability,
            Self::Energy => ScoreKind::Energy,
            Self::NearestNeighbours(_) => ScoreKind::NearestNeighbours,
            Self::Mahalanobis(_) => ScoreKind::Mahalanobis,
        }
    }

    /// The statistics file, if the score has one.
    pub(super) fn statistics(&self) -> Result<Option<Vec<u8>>, TensorFileError> {
        match self {
            Self::MaximumProbability { .. } | Self::Energy => Ok(None),
            Self::NearestNeighbours(neighbours) => neighbours.to_safetensors().map(Some),
            Self::Mahalanobis(mahalanobis) => mahalanobis.to_safetensors().map(Some),
        }
    }

    /// Makes queries of a new label known to scores that go by where queries lie.
    pub(super) fn accept(&mut self, vectors: &[&[f32]]) {
        let vectors: Vec<Vec<f32>> = vectors.iter().map(|vector| normalised(vector)).collect();
        match self {
            Self::MaximumProbability { .. } | Self::Energy => {}
            Self::NearestNeighbours(neighbours) => neighbours.accept(&vectors),
            Self::Mahalanobis(mahalanobis) => mahalanobis.accept(&vectors),
        }
    }

    /// How strange a query is: its vector, as the head reads it, and the head's logits for it.
    pub(super) fn strangeness(&self, vector: &[f32], logits: &[f32]) -> f32 {
        match self {
            Self::MaximumProbability { temperature } => {
                let scaled: Vec<f32> = logits.iter().map(|logit| logit / temperature).collect();
                1.0 - largest(&softmax(&scaled)).1
            }
            Self::Energy => energy(logits),
            Self::NearestNeighbours(neighbours) => neighbours.distance(&normalised(vector)),
            Self::Mahalanobis(mahalanobis) => mahalanobis.distance(&normalised(vector)),
        }
    }
}
