//! Fits an intent model on an encoder's frozen vectors, and writes it as a bundle.

use super::calibrate::fit_temperature;
use super::evaluate::Report;
use super::finish::{Data, Finished, WriteError, finish};
use super::regression::{Labelled, Parameters, minimise};
use super::splits::Queries;
use super::{DEFAULT_FALSE_REJECT, Head, HeadError, IntentError, Splits, TensorFileError, softmax};
use crate::bundle::{BundleError, IntentEncoder, ModelId, ModelRef, ModelSpec, Registry};
use crate::encoder::{Encoder, EncoderError};
use crate::onnx::OnnxError;

/// Strengths of regularisation that are tried, strongest first: each starts from the
/// solution of the one before.
const L2_CANDIDATES: [f32; 8] = [1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6];

/// What to fit.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Name of the bundle; its version is the next number.
    pub name: ModelId,
    /// The label for queries outside the model's scope. It is used only if the training
    /// data has it.
    pub out_of_scope_label: String,
    /// How such queries are told.
    pub scope_by: ScopeBy,
    /// Whether the new version becomes the one that serves.
    pub promote: bool,
}

/// How queries outside a model's scope are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScopeBy {
    /// By one of the labels, which is learned like the others.
    Label,
    /// By a score that is chosen on the validation data.
    Score {
        /// The share of validation queries in scope that may be rejected, above 0 and at most
        /// 0.5.
        false_reject: f32,
    },
}

impl ScopeBy {
    /// By a score, at the usual rate of false rejects.
    pub fn score() -> Self {
        Self::Score { false_reject: DEFAULT_FALSE_REJECT }
    }

    /// The label whose queries are not learned, given the one of queries outside the scope.
    pub fn outside(self, label: &str) -> Option<&str> {
        match self {
            Self::Score { .. } => Some(label),
            Self::Label => None,
        }
    }

    pub(super) fn check(self) -> Result<(), FitError> {
        match self {
            Self::Score { false_reject } if !(false_reject > 0.0 && false_reject <= 0.5) => {
                Err(FitError::FalseReject(false_reject))
            }
            Self::Score { .. } | Self::Label => Ok(()),
        }
    }
}

impl FitOptions {
    /// The usual settings: `out_of_scope` is a label like the others, for queries outside the
    /// scope, and the new version serves.
    pub fn named(name: ModelId) -> Self {
        Self { name, out_of_scope_label: "out_of_scope".to_owned(), scope_by: ScopeBy::Label, promote: true }
    }
}

/// What fitting is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitProgress {
    /// Queries are turned into vectors.
    Encoding {
        /// Queries done.
        done: usize,
        /// Queries in all.
        total: usize,
    },
    /// Heads of different regularisation are tried.
    Fitting {
        /// Candidates done.
        done: usize,
        /// Candidates in all.
        total: usize,
    },
}

/// A fitted model.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The bundle that was written.
    pub model: ModelRef,
    /// Quality on the test data, or, without any, on the validation data.
    pub report: Report,
    /// The strength of regularisation that won on the validation data; `None` if the head was
    /// trained with its encoder.
    pub l2: Option<f32>,
    /// The temperature.
    pub temperature: f32,
}

/// Why a model cannot be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// There are fewer than two labels to tell apart.
    #[error("the training data has {0} labels, at least 2 are needed")]
    TooFewLabels(usize),
    /// A label occurs in validation or test data only.
    #[error("label {label:?} of the {split} data is not in the training data")]
    UnknownLabel {
        /// The label.
        label: String,
        /// `validation` or `test`.
        split: &'static str,
    },
    /// A split has no queries.
    #[error("the {0} data holds no queries")]
    EmptySplit(&'static str),
    /// The share of false rejects is not one that a threshold can be set for.
    #[error("the false-reject rate is {0}; it must be above 0 and at most 0.5")]
    FalseReject(f32),
    /// A trained model does not fit the data that it comes with.
    #[error("the trained model does not fit its data: {0}")]
    Trained(String),
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A file of numbers cannot be written.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// The trained head is none.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The trained encoder cannot be written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The fitted bundle cannot be read back.
    #[error(transparent)]
    Intent(#[from] IntentError),
}

impl From<WriteError> for FitError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Bundle(error) => Self::Bundle(error),
            WriteError::Tensors(error) => Self::Tensors(error),
        }
    }
}

/// Fits a head on `encoder`'s vectors and writes it as the next version of the bundle
/// `options.name`.
///
/// # Errors
/// When the splits do not fit each other, the encoder fails, or the bundle cannot be written.
pub fn fit(
    registry: &Registry,
    encoder: &Encoder,
    splits: Splits<'_>,
    options: &FitOptions,
    progress: impl FnMut(FitProgress),
) -> Result<Fitted, FitError> {
    fit_with(registry, encoder, splits, options, |data, progress| Ok(choose(data, progress)), progress)
}

/// What a head is fitted on: vectors of one length, with the number of each one's label.
#[derive(Clone, Copy, Debug)]
pub struct HeadData<'a> {
    /// Vectors of the training queries in scope.
    pub train: &'a [Vec<f32>],
    /// Their labels' places in `labels`.
    pub train_labels: &'a [usize],
    /// Vectors of the validation queries in scope.
    pub valid: &'a [Vec<f32>],
    /// Their labels' places in `labels`.
    pub valid_labels: &'a [usize],
    /// The labels, sorted.
    pub labels: &'a [String],
}

/// A head that somebody fitted.
#[derive(Clone, Debug)]
pub struct ChosenHead {
    /// One row for each label.
    pub head: Head,
    /// The strength of regularisation that won on the validation data.
    pub l2: f32,
}

/// As [`fit`], with a head that `choose` makes of the vectors; it is told whom to tell how many
/// candidates of how many are done.
///
/// # Errors
/// When the splits do not fit each other, the encoder or `choose` fails, or the bundle cannot be
/// written.
pub fn fit_with(
    registry: &Registry,
    encoder: &Encoder,
    splits: Splits<'_>,
    options: &FitOptions,
    choose: impl FnOnce(&HeadData<'_>, &mut dyn FnMut(usize, usize)) -> Result<ChosenHead, HeadError>,
    mut progress: impl FnMut(FitProgress),
) -> Result<Fitted, FitError> {
    options.scope_by.check()?;
    let queries = Queries::new(splits, options.scope_by.outside(&options.out_of_scope_label))?;
    let data = Data::encode(encoder, &queries, None, &mut progress)?;
    let vectors = HeadData {
        train: &data.train.vectors,
        train_labels: &data.train.labels,
        valid: &data.valid.vectors,
        valid_labels: &data.valid.labels,
        labels: &queries.labels,
    };
    let chosen = choose(&vectors, &mut |done, total| progress(FitProgress::Fitting { done, total }))?;
    let finished = finish(chosen.head, &data, &options.out_of_scope_label, options.scope_by);
    write(registry, encoder, options, chosen.l2, &finished)
}

/// A head, and how likely it makes the validation labels.
struct Candidate {
    head: Head,
    l2: f32,
    loss: f32,
}

/// Fits one head for each candidate strength, and keeps the one that, with its best
/// temperature, gives the validation labels the highest likelihood.
fn choose(data: &HeadData<'_>, progress: &mut dyn FnMut(usize, usize)) -> ChosenHead {
    let valid = (data.valid, data.valid_labels);
    let data = Labelled { vectors: data.train, labels: data.train_labels, classes: data.labels.len() };
    let dimension = data.vectors.first().map_or(0, Vec::len);
    let mut parameters = Parameters::zeros(data.classes, dimension);
    let mut best: Option<Candidate> = None;
    for (index, l2) in L2_CANDIDATES.into_iter().enumerate() {
        parameters = minimise(&data, l2, parameters);
        let candidate = judged(parameters.to_head(), l2, valid);
        if best.as_ref().is_none_or(|best| candidate.loss < best.loss) {
            best = Some(candidate);
        }
        progress(index + 1, L2_CANDIDATES.len());
    }
    let best = best.unwrap_or_else(|| judged(parameters.to_head(), 0.0, valid));
    ChosenHead { head: best.head, l2: best.l2 }
}

fn judged(head: Head, l2: f32, (vectors, labels): (&[Vec<f32>], &[usize])) -> Candidate {
    let logits: Vec<Vec<f32>> = vectors.iter().map(|v| head.logits(v)).collect();
    let temperature = fit_temperature(&logits, labels);
    let scaled = |row: &Vec<f32>| softmax(&row.iter().map(|x| x / temperature).collect::<Vec<f32>>());
    let loss = logits.iter().zip(labels).map(|(row, &label)| -scaled(row)[label].max(1e-12).ln()).sum();
    Candidate { head, l2, loss }
}

fn write(
    registry: &Registry,
    encoder: &Encoder,
    options: &FitOptions,
    l2: f32,
    finished: &Finished,
) -> Result<Fitted, FitError> {
    let model = registry.next_version(&options.name)?;
    let mut writer = registry.create(model, format!("softmax regression, l2 {l2}"))?;
    let spec = finished.spec(IntentEncoder::Base(encoder.model().clone()));
    finished.write(&mut writer, &spec)?;
    let model = writer.finish(ModelSpec::Intent(Box::new(spec)))?;
    if options.promote {
        registry.promote(&model)?;
    }
    let temperature = finished.classifier.temperature;
    Ok(Fitted { model, report: finished.report.clone(), l2: Some(l2), temperature })
}
