//! Adds a label to a bundle, which becomes the next version of it.

use std::collections::BTreeSet;

use super::kept::Kept;
use super::row::{self, Known, Made, Query, Setting};
use super::{FEWEST_EXAMPLES, FewShot};
use crate::bundle::{
    Bundle, BundleError, CALIBRATION_FILE, HEAD_FILE, IntentSpec, ModelRef, ModelSpec, REPORT_FILE, Registry,
    STATISTICS_FILE,
};
use crate::encoder::{Encoder, EncoderError};
use crate::intent::calibrate::fit_thresholds;
use crate::intent::classifier::{Classifier, Scope};
use crate::intent::data::MOST_LABEL_CHARACTERS;
use crate::intent::out_of_scope::threshold_at;
use crate::intent::page::{Shown, page};
use crate::intent::{IntentError, IntentModel, TensorFileError};

/// The most examples that a label is added from; more are worth training on.
pub const MOST_EXAMPLES: usize = 200;

/// What to add.
#[derive(Clone, Debug)]
pub struct AddOptions {
    /// The new label.
    pub label: String,
    /// Whether the new version becomes the one that serves.
    pub promote: bool,
    /// Threads of one forward pass.
    pub threads: usize,
}

/// A bundle with a label more.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// The bundle that was written.
    pub model: ModelRef,
    /// The bundle that it was made from.
    pub from: ModelRef,
    /// What is known about the label.
    pub few_shot: FewShot,
    /// The confidence below which a decision for it counts as unsure, 0 to 1.
    pub threshold: f32,
}

/// Why a label cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There are too few or too many different examples.
    #[error("{found} different examples; a label is added from {FEWEST_EXAMPLES} to {MOST_EXAMPLES}")]
    Examples {
        /// How many there are.
        found: usize,
    },
    /// Labelled queries could not bear the label.
    #[error(
        "the label must be 1 to {MOST_LABEL_CHARACTERS} characters without control characters, or white space around it"
    )]
    Label,
    /// The model has that label already, or it is the one of queries outside its scope.
    #[error("{model} knows {label:?} already")]
    Known {
        /// The bundle.
        model: ModelRef,
        /// The label.
        label: String,
    },
    /// The bundle keeps no validation queries to calibrate against.
    #[error("{0} keeps no validation queries to calibrate a new label against; fit it again first")]
    NothingKept(ModelRef),
    /// The examples cannot be told from the queries that the model knows.
    #[error("the examples look like the queries that {0} knows; they give the new label no direction")]
    NoDirection(ModelRef),
    /// The bundle cannot be loaded.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// The encoder cannot be loaded or run.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The bundle cannot be read or written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A file of numbers cannot be written.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
}

/// Adds a label to `model` from a few of its queries, without training, and writes the result
/// as the next version of the same bundle. Everything else stays as it is.
///
/// # Errors
/// When the label or its examples will not do, and when the bundle cannot be read or written.
pub fn add_intent(
    registry: &Registry,
    model: &ModelRef,
    examples: &[&str],
    options: &AddOptions,
) -> Result<Added, AddError> {
    let texts: Vec<&str> = examples.iter().map(|text| text.trim()).collect::<BTreeSet<_>>().into_iter().collect();
    let bundle = registry.open(model)?;
    let intent = IntentModel::load(&bundle)?;
    check(&intent, &options.label, &texts)?;
    let kept = kept(&bundle, intent.dimension())?;
    let encoder = Encoder::load(&registry.open(intent.encoder())?, options.threads)?;
    let vectors = encoder.embed_all(&texts, |_| ())?;
    let false_reject = bundle.intent()?.out_of_scope.as_ref().map(|scope| scope.target_false_reject);
    let extended = extend(intent.classifier(), &options.label, vectors, &kept, false_reject)
        .ok_or_else(|| AddError::NoDirection(model.clone()))?;
    let spec = spec(bundle.intent()?, options, &extended);
    let written = write(registry, &bundle, &extended, spec, options)?;
    Ok(Added { model: written, from: model.clone(), few_shot: extended.few_shot, threshold: extended.threshold })
}

fn check(intent: &IntentModel, label: &str, texts: &[&str]) -> Result<(), AddError> {
    let found = texts.iter().filter(|text| !text.is_empty()).count();
    if found != texts.len() || !(FEWEST_EXAMPLES..=MOST_EXAMPLES).contains(&found) {
        return Err(AddError::Examples { found });
    }
    let length = label.chars().count();
    let fits = (1..=MOST_LABEL_CHARACTERS).contains(&length) && label.trim() == label;
    if !fits || label.chars().any(char::is_control) {
        return Err(AddError::Label);
    }
    if intent.labels().iter().any(|known| known == label) || intent.out_of_scope_label() == Some(label) {
        return Err(AddError::Known { model: intent.model().clone(), label: label.to_owned() });
    }
    Ok(())
}

fn kept(bundle: &Bundle, dimension: usize) -> Result<Kept, AddError> {
    let model = bundle.model_ref();
    if !bundle.has(CALIBRATION_FILE) {
        return Err(AddError::NothingKept(model));
    }
    let bytes = bundle.read(CALIBRATION_FILE)?;
    let damaged = |source| IntentError::Tensors { model, file: CALIBRATION_FILE, source: Box::new(source) };
    Ok(Kept::from_safetensors(&bytes, dimension).map_err(damaged)?)
}

/// A classifier with a label more.
struct Extended {
    classifier: Classifier,
    few_shot: FewShot,
    threshold: f32,
}

/// `None` if the examples give no direction.
fn extend(
    classifier: &Classifier,
    label: &str,
    vectors: Vec<Vec<f32>>,
    kept: &Kept,
    false_reject: Option<f32>,
) -> Option<Extended> {
    let known: Vec<Known<'_>> = kept
        .queries()
        .map(|(vector, in_scope)| Known { vector, logits: classifier.head.logits(vector), in_scope })
        .collect();
    let setting = Setting {
        known: &known,
        temperature: classifier.temperature,
        row_length: classifier.head.mean_row_length(),
        for_each_label: kept.in_scope() as f32 / classifier.labels.len().max(1) as f32,
    };
    let examples: Vec<Query> =
        vectors.into_iter().map(|vector| (vector.clone(), classifier.head.logits(&vector))).collect();
    let made = row::make(&examples, &setting)?;
    let threshold = threshold(classifier, &made, &examples);
    let mut extended = classifier.clone();
    extended.head = classifier.head.with_row(&made.row.mixture, &made.row.weights, made.row.bias);
    extended.labels.push(label.to_owned());
    extended.thresholds.push(threshold);
    accept(&mut extended, &examples, kept, false_reject);
    let few_shot = FewShot {
        examples: examples.len(),
        left_out_recall: left_out_recall(&extended, &made, &examples),
        taken_over: made.taken_over,
    };
    Some(Extended { classifier: extended, few_shot, threshold })
}

/// Makes the new label's queries known to the out-of-scope score, and sets its threshold anew:
/// with a label more, every query is a little less strange.
fn accept(extended: &mut Classifier, examples: &[Query], kept: &Kept, false_reject: Option<f32>) {
    let (Scope::Score { scorer, threshold, .. }, Some(rate)) = (&mut extended.scope, false_reject) else { return };
    let vectors: Vec<&[f32]> = examples.iter().map(|(vector, _)| &vector[..]).collect();
    scorer.accept(&vectors);
    let inside = kept.queries().filter(|(_, in_scope)| *in_scope);
    let strangeness = inside.map(|(vector, _)| scorer.strangeness(vector, &extended.head.logits(vector)));
    *threshold = threshold.min(threshold_at(rate, strangeness.collect()));
}

/// The usual threshold, from the examples that were left out in turn.
fn threshold(classifier: &Classifier, made: &Made, examples: &[Query]) -> f32 {
    let decisions: Vec<(usize, f32, bool)> = made
        .left_out
        .iter()
        .zip(examples)
        .filter(|((own, other), _)| own > other)
        .map(|((own, _), (_, logits))| {
            let logits: Vec<f32> = logits.iter().copied().chain([*own]).collect();
            (0, classifier.first(&logits).1, true)
        })
        .collect();
    fit_thresholds(&decisions, 1).first().copied().unwrap_or(0.0)
}

/// The share of the examples that are decided for the new label and in scope, each with the
/// logit that it gets from the others.
fn left_out_recall(extended: &Classifier, made: &Made, examples: &[Query]) -> f32 {
    let found = made.left_out.iter().zip(examples).filter(|((own, other), (vector, logits))| {
        let logits: Vec<f32> = logits.iter().copied().chain([*own]).collect();
        own > other && !extended.scope.rejects(vector, &logits)
    });
    found.count() as f32 / examples.len().max(1) as f32
}

fn spec(old: &IntentSpec, options: &AddOptions, extended: &Extended) -> IntentSpec {
    let mut spec = old.clone();
    spec.labels.push(options.label.clone());
    spec.thresholds.insert(options.label.clone(), extended.threshold);
    if let (Some(told), Scope::Score { threshold, .. }) = (&mut spec.out_of_scope, &extended.classifier.scope) {
        told.threshold = *threshold;
    }
    spec.few_shot.insert(options.label.clone(), extended.few_shot.clone());
    spec
}

fn write(
    registry: &Registry,
    old: &Bundle,
    extended: &Extended,
    spec: IntentSpec,
    options: &AddOptions,
) -> Result<ModelRef, AddError> {
    let from = old.model_ref();
    let origin = format!("{from} with {:?} added from {} examples", options.label, extended.few_shot.examples);
    let mut writer = registry.create(registry.next_version(&from.name)?, origin)?;
    writer.add(HEAD_FILE, &extended.classifier.head.to_safetensors()?)?;
    if let Some(statistics) = extended.classifier.scope.statistics()? {
        writer.add(STATISTICS_FILE, &statistics)?;
    }
    let report = page(writer.model(), &spec, &Shown::before_additions());
    writer.add(REPORT_FILE, report.as_bytes())?;
    let rewritten = [HEAD_FILE, STATISTICS_FILE, REPORT_FILE];
    for entry in &old.manifest().files {
        let name = entry.name.as_str();
        if !rewritten.contains(&name) {
            writer.add(name, &old.read(name)?)?;
        }
    }
    let model = writer.finish(ModelSpec::Intent(Box::new(spec)))?;
    if options.promote {
        registry.promote(&model)?;
    }
    Ok(model)
}
