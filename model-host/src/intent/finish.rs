//! What happens to a head once it is fitted, whatever fitted it: it is calibrated on the
//! validation data, learns to tell what is outside its scope, and is judged.

use super::calibrate::{ReliabilityBin, fit_temperature, fit_thresholds};
use super::classifier::{Classifier, Scope};
use super::evaluate::{Report, reliability_of, report};
use super::few_shot::Kept;
use super::out_of_scope::{Evidence, Features, OutOfScope, choose};
use super::page::{JudgedOn, Shown, page};
use super::splits::Queries;
use super::{Decision, Example, FitProgress, Head, ScopeBy, TensorFileError};
use crate::bundle::{
    BundleError, BundleWriter, CALIBRATION_FILE, HEAD_FILE, IntentEncoder, IntentSpec, REPORT_FILE, STATISTICS_FILE,
};
use crate::encoder::{Encoder, EncoderError};

/// Queries as vectors, with the index of each one's label.
pub(super) struct Encoded {
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) labels: Vec<usize>,
}

/// All splits as vectors.
pub(super) struct Data<'a> {
    pub(super) train: Encoded,
    pub(super) valid: Encoded,
    /// Queries outside the scope that a score is chosen on.
    pub(super) outside: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
    queries: &'a Queries<'a>,
}

impl<'a> Data<'a> {
    /// Encodes every query of the splits; `valid` are the vectors of the validation queries, if
    /// they are known already.
    pub(super) fn encode(
        encoder: &Encoder,
        queries: &'a Queries<'a>,
        valid: Option<Vec<Vec<f32>>>,
        progress: &mut dyn FnMut(FitProgress),
    ) -> Result<Self, EncoderError> {
        let known = if valid.is_some() { queries.valid.len() } else { 0 };
        let all = [&queries.train, &queries.valid, &queries.outside, &queries.test];
        let total = all.iter().map(|part| part.len()).sum();
        let mut before = known;
        let mut encode = |examples: &[&Example]| {
            let vectors = encode(encoder, examples, |more| {
                progress(FitProgress::Encoding { done: before + more, total });
            })?;
            before += examples.len();
            Ok::<_, EncoderError>(vectors)
        };
        let valid = valid.map_or_else(|| encode(&queries.valid), Ok)?;
        Ok(Self {
            train: Encoded { vectors: encode(&queries.train)?, labels: queries.label_indices(&queries.train) },
            valid: Encoded { vectors: valid, labels: queries.label_indices(&queries.valid) },
            outside: encode(&queries.outside)?,
            test: encode(&queries.test)?,
            queries,
        })
    }
}

/// The vectors of some queries.
pub(super) fn encode(
    encoder: &Encoder,
    examples: &[&Example],
    progress: impl FnMut(usize),
) -> Result<Vec<Vec<f32>>, EncoderError> {
    let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
    encoder.embed_all(&texts, progress)
}

/// A classifier with what its manifest says about it.
pub(super) struct Finished {
    pub(super) classifier: Classifier,
    out_of_scope: Option<OutOfScope>,
    pub(super) report: Report,
    reliability: Vec<ReliabilityBin>,
    shown: Shown,
    kept: Option<Kept>,
}

/// Calibrates a head on the validation data and judges it on the test data, or, without any,
/// on those that it was calibrated on. `label` is the one of queries outside the scope.
pub(super) fn finish(head: Head, data: &Data<'_>, label: &str, scope_by: ScopeBy) -> Finished {
    let labels = data.queries.labels.clone();
    let logits: Vec<Vec<f32>> = data.valid.vectors.iter().map(|vector| head.logits(vector)).collect();
    let temperature = fit_temperature(&logits, &data.valid.labels);
    let mut classifier = Classifier { thresholds: Vec::new(), scope: Scope::Unknown, labels, temperature, head };
    let decisions: Vec<(usize, f32, bool)> = logits
        .iter()
        .zip(&data.valid.labels)
        .map(|(logits, &label)| {
            let (decided, confidence) = classifier.first(logits);
            (decided, confidence, decided == label)
        })
        .collect();
    classifier.thresholds = fit_thresholds(&decisions, classifier.labels.len());
    let out_of_scope = match scope_by {
        ScopeBy::Label => {
            let index = classifier.labels.iter().position(|known| known == label);
            classifier.scope = index.map_or(Scope::Unknown, Scope::Label);
            None
        }
        ScopeBy::Score { false_reject } => Some(tell_by_score(&mut classifier, data, &logits, label, false_reject)),
    };
    let (report, reliability, shown) = judge(&classifier, data);
    let kept = Kept::new(&data.valid.vectors, &data.outside);
    Finished { classifier, out_of_scope, report, reliability, shown, kept }
}

impl Finished {
    /// What the manifest says, with `encoder` as the source of vectors.
    pub(super) fn spec(&self, encoder: IntentEncoder) -> IntentSpec {
        let classifier = &self.classifier;
        IntentSpec {
            encoder,
            labels: classifier.labels.clone(),
            temperature: classifier.temperature,
            thresholds: classifier.labels.iter().cloned().zip(classifier.thresholds.iter().copied()).collect(),
            out_of_scope_label: match classifier.scope {
                Scope::Label(index) => classifier.labels.get(index).cloned(),
                Scope::Unknown | Scope::Score { .. } => None,
            },
            report: self.report.clone(),
            out_of_scope: self.out_of_scope.clone(),
            base: None,
            precision: None,
            training: None,
            reliability: self.reliability.clone(),
            few_shot: std::collections::BTreeMap::new(),
        }
    }

    /// Adds the files that a classifier needs when it serves, and the report on `spec`, which
    /// is what the manifest will say.
    pub(super) fn write(&self, writer: &mut BundleWriter, spec: &IntentSpec) -> Result<(), WriteError> {
        writer.add(REPORT_FILE, page(writer.model(), spec, &self.shown).as_bytes())?;
        writer.add(HEAD_FILE, &self.classifier.head.to_safetensors()?)?;
        if let Some(statistics) = self.classifier.scope.statistics()? {
            writer.add(STATISTICS_FILE, &statistics)?;
        }
        if let Some(kept) = &self.kept {
            writer.add(CALIBRATION_FILE, &kept.to_safetensors()?)?;
        }
        Ok(())
    }
}

/// Why a classifier's files cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
}

fn tell_by_score(
    classifier: &mut Classifier,
    data: &Data<'_>,
    valid_logits: &[Vec<f32>],
    label: &str,
    false_reject: f32,
) -> OutOfScope {
    let outside_logits: Vec<Vec<f32>> = data.outside.iter().map(|vector| classifier.head.logits(vector)).collect();
    let (scorer, scope) = choose(&Evidence {
        train: &data.train.vectors,
        train_labels: &data.train.labels,
        inside: Features { vectors: &data.valid.vectors, logits: valid_logits },
        outside: Features { vectors: &data.outside, logits: &outside_logits },
        label,
        labels: classifier.labels.len(),
        temperature: classifier.temperature,
        false_reject,
    });
    classifier.scope = Scope::Score { label: label.to_owned(), scorer, threshold: scope.threshold };
    scope
}

fn judge(classifier: &Classifier, data: &Data<'_>) -> (Report, Vec<ReliabilityBin>, Shown) {
    let queries = data.queries;
    let held_out = !data.test.is_empty();
    let (vectors, examples): (Vec<&Vec<f32>>, Vec<&Example>) = if held_out {
        (data.test.iter().collect(), queries.test.clone())
    } else {
        let vectors = data.valid.vectors.iter().chain(&data.outside).collect();
        (vectors, queries.valid.iter().chain(&queries.outside).copied().collect())
    };
    let decisions: Vec<Decision> = vectors.iter().map(|vector| classifier.decide(vector)).collect();
    let truths: Vec<&str> = examples.iter().map(|example| example.label.as_str()).collect();
    let outside = classifier.scope_label();
    let report = report(&truths, &decisions, &classifier.labels, outside);
    let reliability = reliability_of(&truths, &decisions, &classifier.labels, outside);
    let judged_on = if held_out { JudgedOn::Test } else { JudgedOn::Validation };
    (report, reliability, Shown::new(&examples, &decisions, outside, judged_on))
}
