//! Between this crate's types and the contract's messages. Pure.

use std::time::Duration;

use trivium_proto::model::v1 as proto;
use trivium_service_kit::{Error, Reason, deadline};

use crate::batch::Lane;
use crate::batcher::BatchError;
use crate::bundle::{IntentEncoder, ModelRef, ModelSpec};
use crate::generate::{Generator, GeneratorModel};
use crate::intent::Decision;
use crate::models::{Description, IntentRuntime, ShadowReport};
use crate::projection::TokenVectors;
use crate::runtime::{EmbedError, TextVector, Timings};

/// How many labels besides the first a decision names.
const RUNNERS_UP: usize = 5;

/// How many kinds of disagreement a shadow's report names.
const SHADOW_PAIRS: usize = 64;

/// When a caller that met a full queue should come again: about the time of a few batches.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(100);

pub(super) fn model_ref(model: &ModelRef) -> proto::ModelRef {
    proto::ModelRef { name: model.name.to_string(), version: model.version.to_string() }
}

/// A generator's model. Servers name no versions, and the contract promises one.
pub(super) fn generator_model(model: GeneratorModel) -> proto::ModelRef {
    let version = if model.version.is_empty() { "unversioned".to_owned() } else { model.version };
    proto::ModelRef { name: model.name, version }
}

/// The name and version that a request asks for, if it does.
pub(super) fn asked(model: Option<&proto::ModelRef>) -> Option<(&str, &str)> {
    model.map(|model| (model.name.as_str(), model.version.as_str()))
}

/// The lane that a request asks for, or `usual` when it does not say.
pub(super) fn lane(priority: i32, usual: Lane) -> Result<Lane, Error> {
    match proto::EmbedPriority::try_from(priority) {
        Ok(proto::EmbedPriority::Query) => Ok(Lane::Query),
        Ok(proto::EmbedPriority::Bulk) => Ok(Lane::Bulk),
        Ok(proto::EmbedPriority::Unspecified) => Ok(usual),
        Err(_) => {
            let message = format!("priority is {priority}; it must be one of EmbedPriority");
            Err(Error::new(Reason::FieldInvalid, message).with_field("priority"))
        }
    }
}

/// Sizes in messages have 32 bits; none here comes near.
pub(super) fn count(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

pub(super) fn timings(timings: Timings) -> proto::ComputeTimings {
    proto::ComputeTimings {
        queue_ms: milliseconds(timings.queue),
        tokenize_ms: milliseconds(timings.tokenize),
        forward_ms: milliseconds(timings.forward),
    }
}

pub(super) fn query_vector(model: &ModelRef, text: TextVector) -> proto::QueryVector {
    let token_vectors = text.token_vectors.map(token_vectors);
    proto::QueryVector { embedder: Some(model_ref(model)), values: text.vector, token_vectors }
}

pub(super) fn embedding(text: TextVector) -> proto::Embedding {
    proto::Embedding {
        values: text.vector,
        tokens: count(text.tokens),
        truncated: text.truncated,
        token_vectors: text.token_vectors.map(token_vectors),
    }
}

fn token_vectors(vectors: TokenVectors) -> proto::TokenVectors {
    proto::TokenVectors {
        projection: Some(model_ref(&vectors.projection)),
        dimension: count(vectors.dimension),
        values: vectors.values.into_iter().map(i8::cast_unsigned).collect(),
    }
}

pub(super) fn intent(decision: Decision, of: &IntentRuntime) -> proto::Intent {
    let few_shot = of.few_shot.contains(decision.label());
    proto::Intent {
        label: decision.label().to_owned(),
        confidence: six_digits(decision.confidence()),
        margin: six_digits(decision.margin),
        threshold: six_digits(decision.threshold),
        out_of_scope: decision.out_of_scope,
        strangeness: decision.strangeness.map(f64::from),
        runners_up: decision
            .ranking
            .into_iter()
            .skip(1)
            .take(RUNNERS_UP)
            .map(|(label, probability)| proto::IntentScore { label, probability: six_digits(probability) })
            .collect(),
        model: Some(model_ref(of.model.model())),
        few_shot,
    }
}

/// A probability as people write it. Widened as it is, 0.7 would read 0.699999988079071.
fn six_digits(probability: f32) -> f64 {
    (f64::from(probability) * 1e6).round() / 1e6
}

pub(super) fn model(description: &Description) -> proto::Model {
    let summary = &description.summary;
    let aliases = [(summary.production, "production"), (summary.previous, "previous"), (summary.shadow, "shadow")];
    let aliases = aliases.into_iter().filter(|(named, _)| *named).map(|(_, alias)| alias.to_owned()).collect();
    let mut model = proto::Model {
        model: Some(model_ref(&summary.model)),
        serving: description.serving,
        aliases,
        shadow: description.shadow.clone().map(shadow_report),
        ..proto::Model::default()
    };
    match &summary.bundle {
        Ok(bundle) => describe_spec(&mut model, &bundle.manifest().model),
        Err(error) => model.problem = error.to_string(),
    }
    if let Some(activity) = &description.loaded {
        model.loaded = true;
        model.memory_bytes = activity.memory_bytes;
        model.texts = activity.texts;
        model.errors = activity.errors;
        model.waiting = count(activity.waiting);
        model.precision = activity.precision.to_owned();
    }
    model
}

fn describe_spec(model: &mut proto::Model, spec: &ModelSpec) {
    match spec {
        ModelSpec::Encoder(spec) => {
            model.set_kind(proto::ModelKind::Encoder);
            model.dimension = count(spec.dimension);
            model.max_tokens = count(spec.max_tokens);
        }
        ModelSpec::Intent(spec) => {
            model.set_kind(proto::ModelKind::Intent);
            model.labels.clone_from(&spec.labels);
            model.out_of_scope_label = spec.out_of_scope_label.clone().unwrap_or_default();
            match &spec.encoder {
                IntentEncoder::Base(encoder) => model.encoder = Some(model_ref(encoder)),
                IntentEncoder::Own(own) => {
                    model.dimension = count(own.dimension);
                    model.max_tokens = count(own.max_tokens);
                }
            }
        }
        ModelSpec::CrossEncoder(spec) => {
            model.set_kind(proto::ModelKind::CrossEncoder);
            model.max_tokens = count(spec.max_tokens);
        }
        ModelSpec::Projection(spec) => {
            model.set_kind(proto::ModelKind::Projection);
            model.dimension = count(spec.dimension);
            model.encoder = Some(model_ref(&spec.base));
        }
    }
}

pub(super) fn shadow_report(report: ShadowReport) -> proto::ShadowReport {
    let tally = report.tally;
    let mut pairs: Vec<proto::ShadowDisagreement> = tally
        .pairs
        .into_iter()
        .map(|((serving_label, shadow_label), pair)| proto::ShadowDisagreement {
            serving_label,
            shadow_label,
            count: pair.count,
            examples: pair.examples,
        })
        .collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.count));
    pairs.truncate(SHADOW_PAIRS);
    proto::ShadowReport {
        serving: Some(model_ref(&report.serving)),
        shadow: Some(model_ref(&report.shadow)),
        share: report.share,
        agreements: tally.agreements,
        disagreements: tally.disagreements,
        skipped: tally.skipped,
        pairs,
    }
}

/// The score of one document; the model gives one logit for each.
pub(super) fn rerank_score(index: usize, text: &TextVector) -> proto::RerankScore {
    let score = text.vector.first().copied().unwrap_or(f32::MIN);
    proto::RerankScore { index: count(index), score: f64::from(score), truncated: text.truncated }
}

pub(super) fn generator(generator: &dyn Generator) -> proto::Model {
    let model = proto::ModelRef { name: generator.name().to_owned(), version: generator_model(generator.model()).name };
    let mut described = proto::Model { model: Some(model), serving: true, ..proto::Model::default() };
    described.set_kind(proto::ModelKind::Generator);
    described
}

/// The catalogue's error for a text that was not embedded.
pub(super) fn embed_error(error: EmbedError) -> Error {
    match error {
        EmbedError::Tokenize(error) => Error::new(Reason::FieldInvalid, error.to_string()),
        EmbedError::Batch(BatchError::Overloaded { .. }) => {
            Error::new(Reason::Overloaded, error.to_string()).with_retry_after(RETRY_AFTER)
        }
        EmbedError::Batch(BatchError::Expired) => deadline::exceeded("the wait for an engine"),
        EmbedError::Batch(BatchError::Stopped) => Error::new(Reason::ShuttingDown, error.to_string()),
        EmbedError::Batch(BatchError::Engine(_)) => Error::new(Reason::Internal, error.to_string()),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
