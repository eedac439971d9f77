//! The intent model: a calibrated softmax head on an encoder's vectors.

mod assemble;
mod calibrate;
mod classifier;
mod data;
mod evaluate;
mod few_shot;
mod finish;
mod fit;
mod head;
mod judge;
mod out_of_scope;
mod page;
mod regression;
mod softmax;
mod splits;
mod training;
mod vectors;

use std::collections::BTreeMap;

use crate::bundle::{Bundle, HEAD_FILE, IntentEncoder, IntentSpec, ModelRef, STATISTICS_FILE};
use crate::encoder::EncoderError;
use classifier::{Classifier, Scope};
use out_of_scope::Scorer;

pub use crate::tensors::TensorFileError;
pub use assemble::{AssembleOptions, FineTuned, assemble};
pub use calibrate::{ReliabilityBin, expected_calibration_error, fit_temperature, fit_thresholds, reliability};
pub use data::{DataError, Example, Sorted, read_examples, read_sorted, read_texts};
pub use evaluate::{Confusion, LabelReport, Report, report};
pub use few_shot::{AddError, AddOptions, Added, FEWEST_EXAMPLES, FewShot, MOST_EXAMPLES, add_intent};
pub use fit::{ChosenHead, FitError, FitOptions, FitProgress, Fitted, HeadData, ScopeBy, fit, fit_with};
pub use head::{Head, HeadError};
pub use judge::{Judgement, KindReport, evaluate_bundle, judge_bundle};
pub use out_of_scope::{OutOfScope, ScoreKind, ScoreReport};
pub use softmax::softmax;
pub use splits::Splits;
pub use training::{EpochSummary, Setting, TrainingSummary};
pub use vectors::dot;

/// The share of queries in scope that may be taken to be outside it, unless told otherwise.
pub const DEFAULT_FALSE_REJECT: f32 = 0.02;

/// A loaded intent model.
#[derive(Clone, Debug)]
pub struct IntentModel {
    model: ModelRef,
    encoder: ModelRef,
    classifier: Classifier,
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
    /// Whether the query is outside the model's scope: by its first label, if one of the
    /// labels is for such queries, or else by its strangeness. In the latter case the first
    /// label is the intent that it resembles most.
    pub out_of_scope: bool,
    /// How little the query resembles what the model was trained on, on the scale of the
    /// model's own score; `None` for models that tell such queries by a label.
    pub strangeness: Option<f32>,
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
    /// A file of numbers cannot be used.
    #[error("{model}, {file}: {source}")]
    Tensors {
        /// The bundle.
        model: ModelRef,
        /// The file in it.
        file: &'static str,
        /// The cause.
        source: Box<TensorFileError>,
    },
}

impl IntentModel {
    /// Loads an intent bundle. Its encoder, which lies in the bundle named by
    /// [`Self::encoder`], is loaded apart, because it may serve query vectors as well.
    pub fn load(bundle: &Bundle) -> Result<Self, IntentError> {
        let spec = bundle.intent()?;
        let model = bundle.model_ref();
        let head = Head::from_safetensors(&bundle.read(HEAD_FILE)?, spec.labels.len())
            .map_err(|source| damaged(&model, HEAD_FILE, source))?;
        let encoder = match &spec.encoder {
            IntentEncoder::Base(encoder) => encoder.clone(),
            IntentEncoder::Own(own) if own.dimension == head.dimension() => model.clone(),
            IntentEncoder::Own(own) => {
                let source = TensorFileError::WrongTensor {
                    name: "weight",
                    expected: format!("F32 [{}, {}]", spec.labels.len(), own.dimension),
                    found: format!("F32 [{}, {}]", head.labels(), head.dimension()),
                };
                return Err(damaged(&model, HEAD_FILE, source));
            }
        };
        let classifier = Classifier {
            thresholds: by_label(&spec.labels, &spec.thresholds),
            scope: scope(bundle, spec, head.dimension())?,
            labels: spec.labels.clone(),
            temperature: spec.temperature,
            head,
        };
        Ok(Self { model, encoder, classifier })
    }

    /// Name and version of the bundle.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// The bundle that holds the encoder whose vectors the model reads; its own, if it
    /// brings one along.
    pub fn encoder(&self) -> &ModelRef {
        &self.encoder
    }

    /// The intents.
    pub fn labels(&self) -> &[String] {
        &self.classifier.labels
    }

    /// The label that queries outside the model's scope bear in labelled data, if the model
    /// can tell them. Models that tell them by a score do not have it among their labels.
    pub fn out_of_scope_label(&self) -> Option<&str> {
        self.classifier.scope_label()
    }

    /// Length of the vectors that the model reads.
    pub fn dimension(&self) -> usize {
        self.classifier.head.dimension()
    }

    fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Decides on a vector of the model's encoder.
    pub fn decide(&self, vector: &[f32]) -> Decision {
        self.classifier.decide(vector)
    }
}

fn scope(bundle: &Bundle, spec: &IntentSpec, dimension: usize) -> Result<Scope, IntentError> {
    let Some(told) = &spec.out_of_scope else {
        let label = spec.out_of_scope_label.as_ref();
        let index = label.and_then(|label| spec.labels.iter().position(|known| known == label));
        return Ok(index.map_or(Scope::Unknown, Scope::Label));
    };
    let statistics = match told.score.has_statistics() {
        true => bundle.read(STATISTICS_FILE)?,
        false => Vec::new(),
    };
    let scorer = Scorer::load(told.score, spec.temperature, dimension, &statistics)
        .map_err(|source| damaged(&bundle.model_ref(), STATISTICS_FILE, source))?;
    Ok(Scope::Score { label: told.label.clone(), scorer, threshold: told.threshold })
}

fn damaged(model: &ModelRef, file: &'static str, source: TensorFileError) -> IntentError {
    IntentError::Tensors { model: model.clone(), file, source: Box::new(source) }
}

/// Thresholds in the order of the labels; a label without one is always believed.
fn by_label(labels: &[String], thresholds: &BTreeMap<String, f32>) -> Vec<f32> {
    labels.iter().map(|label| thresholds.get(label).copied().unwrap_or(0.0)).collect()
}
