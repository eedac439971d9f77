//! Fits an intent model on an encoder's frozen vectors, and writes it as a bundle.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::{fit_temperature, fit_thresholds};
use super::evaluate::{Report, report};
use super::regression::{Labelled, Parameters, minimise};
use super::{Decision, Example, Head, HeadError, IntentError, IntentModel, softmax};
use crate::bundle::{BundleError, HEAD_FILE, IntentEncoder, IntentSpec, ModelId, ModelRef, ModelSpec, Registry};
use crate::encoder::{Encoder, EncoderError};

/// Strengths of regularisation that are tried, strongest first: each starts from the
/// solution of the one before.
const L2_CANDIDATES: [f32; 8] = [1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6];
/// Without validation data, every fifth query of each label is held out for it.
const HELD_OUT: usize = 5;

/// What to fit.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Name of the bundle; its version is the next number.
    pub name: ModelId,
    /// The label for queries outside the model's scope. It is used only if the training
    /// data has it.
    pub out_of_scope_label: String,
    /// Whether the new version becomes the one that serves.
    pub promote: bool,
}

impl FitOptions {
    /// The usual settings: `out_of_scope` for queries outside the scope, and the new version
    /// serves.
    pub fn named(name: ModelId) -> Self {
        Self { name, out_of_scope_label: "out_of_scope".to_owned(), promote: true }
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
    /// The strength of regularisation that won on the validation data.
    pub l2: f32,
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
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The head cannot be written.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The fitted bundle cannot be read back.
    #[error(transparent)]
    Intent(#[from] IntentError),
}

/// Labelled queries, split.
#[derive(Clone, Copy, Debug)]
pub struct Splits<'a> {
    /// Fitted on.
    pub train: &'a [Example],
    /// Regularisation, temperature and thresholds are chosen on it. Without it, a fifth of
    /// the training data is held out.
    pub valid: Option<&'a [Example]>,
    /// Reported on.
    pub test: Option<&'a [Example]>,
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
    mut progress: impl FnMut(FitProgress),
) -> Result<Fitted, FitError> {
    let queries = Queries::new(splits)?;
    let labels = queries.labels;
    let total = queries.train.len() + queries.valid.len() + queries.test.len();
    let mut encoded_before = 0;
    let mut encode = |examples: &[&Example], progress: &mut dyn FnMut(FitProgress)| {
        let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
        let vectors = encoder.embed_all(&texts, |more| {
            progress(FitProgress::Encoding { done: encoded_before + more, total });
        })?;
        encoded_before += examples.len();
        Ok::<_, EncoderError>(Encoded::new(examples, vectors, &labels))
    };
    let train = encode(&queries.train, &mut progress)?;
    let valid = encode(&queries.valid, &mut progress)?;
    let test = encode(&queries.test, &mut progress)?;
    let chosen = choose(&train, &valid, labels.len(), &mut progress);
    let out_of_scope = Some(options.out_of_scope_label.as_str()).filter(|label| labels.iter().any(|l| l == label));
    let judged = if test.labels.is_empty() { &valid } else { &test };
    let spec = IntentSpec {
        encoder: IntentEncoder::Base(encoder.model().clone()),
        thresholds: labels.iter().cloned().zip(thresholds(&chosen, &valid, labels.len())).collect(),
        temperature: chosen.temperature,
        out_of_scope_label: out_of_scope.map(str::to_owned),
        report: evaluate(&chosen, judged, &labels, out_of_scope),
        labels,
    };
    write(registry, options, &chosen, spec)
}

/// Judges a fitted model on labelled queries; labels that it does not know count as
/// mistakes.
pub fn evaluate_bundle(
    registry: &Registry,
    model: &ModelRef,
    examples: &[Example],
    threads: usize,
) -> Result<Report, IntentError> {
    let intent = IntentModel::load(&registry.open(model)?)?;
    let encoder = Encoder::load(&registry.open(intent.encoder())?, threads)?;
    let texts: Vec<&str> = examples.iter().map(|e| e.text.as_str()).collect();
    let vectors = encoder.embed_all(&texts, |_| ())?;
    let decisions: Vec<Decision> = vectors.iter().map(|v| intent.decide(v)).collect();
    let truths: Vec<&str> = examples.iter().map(|e| e.label.as_str()).collect();
    let out_of_scope = intent.out_of_scope_label();
    Ok(report(&truths, &decisions, intent.labels(), out_of_scope))
}

/// A head and its temperature.
struct Candidate {
    head: Head,
    l2: f32,
    temperature: f32,
    loss: f32,
}

/// Queries as vectors, with the index of each one's label.
struct Encoded {
    vectors: Vec<Vec<f32>>,
    labels: Vec<usize>,
}

impl Encoded {
    fn new(examples: &[&Example], vectors: Vec<Vec<f32>>, labels: &[String]) -> Self {
        let index = |example: &&Example| labels.binary_search(&example.label).unwrap_or(0);
        Self { vectors, labels: examples.iter().map(index).collect() }
    }
}

/// The splits, checked against each other.
struct Queries<'a> {
    train: Vec<&'a Example>,
    valid: Vec<&'a Example>,
    /// Empty when there is no test data.
    test: Vec<&'a Example>,
    /// The labels of the training data, sorted.
    labels: Vec<String>,
}

impl<'a> Queries<'a> {
    fn new(splits: Splits<'a>) -> Result<Self, FitError> {
        let (train, valid) = match splits.valid {
            Some(valid) => (splits.train.iter().collect(), valid.iter().collect()),
            None => hold_out(splits.train),
        };
        let labels = labels_of(&train)?;
        let test: Vec<&Example> = splits.test.unwrap_or_default().iter().collect();
        check_split("validation", &valid, &labels)?;
        if splits.test.is_some() {
            check_split("test", &test, &labels)?;
        }
        Ok(Self { train, valid, test, labels })
    }
}

fn hold_out(train: &[Example]) -> (Vec<&Example>, Vec<&Example>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    train.iter().partition(|example| {
        let count = seen.entry(&example.label).or_default();
        *count += 1;
        !count.is_multiple_of(HELD_OUT)
    })
}

/// The labels of the training data, sorted.
fn labels_of(train: &[&Example]) -> Result<Vec<String>, FitError> {
    let labels: BTreeSet<&String> = train.iter().map(|example| &example.label).collect();
    if labels.len() < 2 {
        return Err(FitError::TooFewLabels(labels.len()));
    }
    Ok(labels.into_iter().cloned().collect())
}

fn check_split(split: &'static str, examples: &[&Example], labels: &[String]) -> Result<(), FitError> {
    if examples.is_empty() {
        return Err(FitError::EmptySplit(split));
    }
    let unknown = |example: &&&Example| labels.binary_search(&example.label).is_err();
    match examples.iter().find(unknown) {
        None => Ok(()),
        Some(example) => Err(FitError::UnknownLabel { label: example.label.clone(), split }),
    }
}

/// Fits one head for each candidate strength, and keeps the one that, with its best
/// temperature, gives the validation labels the highest likelihood.
fn choose(train: &Encoded, valid: &Encoded, classes: usize, progress: &mut impl FnMut(FitProgress)) -> Candidate {
    let data = Labelled { vectors: &train.vectors, labels: &train.labels, classes };
    let dimension = train.vectors.first().map_or(0, Vec::len);
    let mut parameters = Parameters::zeros(data.classes, dimension);
    let mut best: Option<Candidate> = None;
    for (index, l2) in L2_CANDIDATES.into_iter().enumerate() {
        parameters = minimise(&data, l2, parameters);
        let candidate = calibrated(parameters.to_head(), l2, valid);
        if best.as_ref().is_none_or(|best| candidate.loss < best.loss) {
            best = Some(candidate);
        }
        progress(FitProgress::Fitting { done: index + 1, total: L2_CANDIDATES.len() });
    }
    best.unwrap_or_else(|| calibrated(parameters.to_head(), 0.0, valid))
}

fn calibrated(head: Head, l2: f32, valid: &Encoded) -> Candidate {
    let logits: Vec<Vec<f32>> = valid.vectors.iter().map(|v| head.logits(v)).collect();
    let temperature = fit_temperature(&logits, &valid.labels);
    let loss = logits
        .iter()
        .zip(&valid.labels)
        .map(|(row, &label)| -probabilities(row, temperature)[label].max(1e-12).ln())
        .sum();
    Candidate { head, l2, temperature, loss }
}

fn probabilities(logits: &[f32], temperature: f32) -> Vec<f32> {
    let scaled: Vec<f32> = logits.iter().map(|x| x / temperature).collect();
    softmax(&scaled)
}

fn thresholds(chosen: &Candidate, valid: &Encoded, classes: usize) -> Vec<f32> {
    let decisions: Vec<(usize, f32, bool)> = valid
        .vectors
        .iter()
        .zip(&valid.labels)
        .map(|(vector, &label)| {
            let probabilities = probabilities(&chosen.head.logits(vector), chosen.temperature);
            let (decided, confidence) = largest(&probabilities);
            (decided, confidence, decided == label)
        })
        .collect();
    fit_thresholds(&decisions, classes)
}

fn largest(probabilities: &[f32]) -> (usize, f32) {
    probabilities.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

fn evaluate(chosen: &Candidate, data: &Encoded, labels: &[String], out_of_scope: Option<&str>) -> Report {
    let decisions: Vec<Decision> = data
        .vectors
        .iter()
        .map(|vector| {
            let probabilities = probabilities(&chosen.head.logits(vector), chosen.temperature);
            let (decided, confidence) = largest(&probabilities);
            Decision {
                ranking: vec![(labels[decided].clone(), confidence)],
                margin: 0.0,
                threshold: 0.0,
                out_of_scope: Some(labels[decided].as_str()) == out_of_scope,
            }
        })
        .collect();
    let truths: Vec<&str> = data.labels.iter().map(|&i| labels[i].as_str()).collect();
    report(&truths, &decisions, labels, out_of_scope)
}

fn write(registry: &Registry, options: &FitOptions, chosen: &Candidate, spec: IntentSpec) -> Result<Fitted, FitError> {
    let report = spec.report.clone();
    let model = registry.next_version(&options.name)?;
    let origin = format!("softmax regression, l2 {}", chosen.l2);
    let mut writer = registry.create(model, origin)?;
    writer.add(HEAD_FILE, &chosen.head.to_safetensors()?)?;
    let model = writer.finish(ModelSpec::Intent(spec))?;
    if options.promote {
        registry.promote(&model)?;
    }
    Ok(Fitted { model, report, l2: chosen.l2, temperature: chosen.temperature })
}
