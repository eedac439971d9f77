//! The intent model: a calibrated softmax head on an encoder's vectors.

mod calibrate;
mod data;
mod evaluate;
mod fit;
mod head;
mod regression;
mod softmax;

use std::collections::BTreeMap;

use crate::bundle::{Bundle, HEAD_FILE, IntentEncoder, ModelRef};
use crate::encoder::EncoderError;

pub use calibrate::{expected_calibration_error, fit_temperature, fit_thresholds};
pub use data::{DataError, Example, read_examples};
pub use evaluate::{Confusion, LabelReport, Report, report};
pub use fit::{FitError, FitOptions, FitProgress, Fitted, Splits, evaluate_bundle, fit};
pub use head::{Head, HeadError};
pub use softmax::softmax;

/// A loaded intent model.
#[derive(Clone, Debug)]
pub struct IntentModel {
    model: ModelRef,
    encoder: ModelRef,
    labels: Vec<String>,
    thresholds: Vec<f32>,
    out_of_scope: Option<usize>,
    temperature: f32,
    head: Head,
}

/// What the model says about one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// All labels with their calibrated probabilities, most probable first; never empty.
    pub ranking: Vec<(String, f32)>,
    /// Probability of the first less that of the second, 0 to 1.
    pub margin: f32,
    /// The confidence below which the first label should not be believed, 0 to 1.
    pub threshold: f32,
    /// Whether the first label is the one for queries outside the model's scope.
    pub out_of_scope: bool,
}

impl Decision {
    /// The most probable label.
    pub fn label(&self) -> &str {
        self.ranking.first().map_or("", |(label, _)| label)
    }

    /// Its calibrated probability, 0 to 1.
    pub fn confidence(&self) -> f32 {
        self.ranking.first().map_or(0.0, |(_, p)| *p)
    }
}

/// Why an intent model cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// The bundle, or that of its encoder, cannot be used.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
    /// The head's file cannot be used.
    #[error("{model}: {source}")]
    Head {
        /// The bundle.
        model: ModelRef,
        /// The cause.
        source: HeadError,
    },
}

impl IntentModel {
    /// Loads an intent bundle. Its encoder, named by [`Self::encoder`], is loaded apart,
    /// because it may serve query vectors as well.
    pub fn load(bundle: &Bundle) -> Result<Self, IntentError> {
        let spec = bundle.intent()?;
        let model = bundle.model_ref();
        let head = Head::from_safetensors(&bundle.read(HEAD_FILE)?, spec.labels.len())
            .map_err(|source| IntentError::Head { model: model.clone(), source })?;
        let IntentEncoder::Base(encoder) = &spec.encoder;
        Ok(Self {
            model,
            encoder: encoder.clone(),
            thresholds: by_label(&spec.labels, &spec.thresholds),
            out_of_scope: spec
                .out_of_scope_label
                .as_ref()
                .and_then(|label| spec.labels.iter().position(|known| known == label)),
            labels: spec.labels.clone(),
            temperature: spec.temperature,
            head,
        })
    }

    /// Name and version of the bundle.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// The encoder whose vectors the model reads.
    pub fn encoder(&self) -> &ModelRef {
        &self.encoder
    }

    /// The intents.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The label for queries outside the model's scope, if it has one.
    pub fn out_of_scope_label(&self) -> Option<&str> {
        self.out_of_scope.map(|index| self.labels[index].as_str())
    }

    /// Length of the vectors that the model reads.
    pub fn dimension(&self) -> usize {
        self.head.dimension()
    }

    /// Decides on a vector of the model's encoder.
    pub fn decide(&self, vector: &[f32]) -> Decision {
        let mut logits = self.head.logits(vector);
        for logit in &mut logits {
            *logit /= self.temperature;
        }
        let probabilities = softmax(&logits);
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let first = order[0];
        Decision {
            margin: probabilities[first] - order.get(1).map_or(0.0, |&i| probabilities[i]),
            threshold: self.thresholds[first],
            out_of_scope: self.out_of_scope == Some(first),
            ranking: order.into_iter().map(|index| (self.labels[index].clone(), probabilities[index])).collect(),
        }
    }
}

/// Thresholds in the order of the labels; a label without one is always believed.
fn by_label(labels: &[String], thresholds: &BTreeMap<String, f32>) -> Vec<f32> {
    labels.iter().map(|label| thresholds.get(label).copied().unwrap_or(0.0)).collect()
}
