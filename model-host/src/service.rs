//! What the model service does, in messages of the contract and without a transport.

mod analyze;
mod generation;
mod manage;
mod rerank;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::BoxStream;
use tracing::Span;
use trivium_proto::model::v1 as proto;
use trivium_service_kit::telemetry::metrics::{self, Operation, TokenKind};
use trivium_service_kit::telemetry::{capture_content, count, names::attribute as key};
use trivium_service_kit::{ConfigError, Error, Reason, Service};

use crate::analyses::Analyses;
use crate::batch::{Caller, Lane};
use crate::bundle::sha256_hex;
use crate::generate::{EXTRACTIVE, Extractive, ExtractiveOptions, Generator, OpenAi, Prompts};
use crate::models::Models;
use crate::options::{MAX_TEXTS, Options};
use crate::projection::Projection;
use crate::runtime::{Call, EmbedError, Embedded, EncoderRuntime};
use crate::trace::embeddings_span;

/// The longest text of an embedding request, in code points: far beyond any encoder's limit,
/// and little work to tokenize.
const MAX_TEXT_CHARS: usize = 65_536;

/// The model service.
pub struct ModelHost {
    models: Models,
    analyses: Analyses,
    generators: BTreeMap<String, Arc<dyn Generator>>,
    default_generator: String,
    prompts: Arc<Prompts>,
    extractive: ExtractiveOptions,
}

/// Who waits for a call, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// The connection that it came on: callers take turns.
    pub caller: Caller,
    /// When nobody waits any more.
    pub deadline: Instant,
}

impl ModelHost {
    /// Puts loaded models and configured generators to work.
    ///
    /// # Errors
    /// When a generator's key cannot be read.
    pub fn new(models: Models, options: &Options) -> Result<Self, ConfigError> {
        let mut generators: BTreeMap<String, Arc<dyn Generator>> = BTreeMap::new();
        let prompts = Prompts::load(&options.prompts).map_err(|error| error.within("prompts"))?;
        let prompts = Arc::new(prompts);
        for (name, generator) in &options.generators {
            let section = format!("generators.{name}");
            let backend = OpenAi::new(name, generator.clone(), Arc::clone(&prompts));
            let backend = backend.map_err(|error| error.within(&section))?;
            generators.insert(name.clone(), Arc::new(backend));
        }
        let analyses = Analyses::new(options.analysis_cache_entries);
        Ok(Self {
            models,
            analyses,
            generators,
            default_generator: options.default_generator.clone(),
            prompts,
            extractive: options.extractive.clone(),
        })
    }

    /// Lets the gauge of the models be read for as long as the host is there.
    pub fn observe(self: &Arc<Self>) {
        let host = Arc::downgrade(self);
        metrics::observe(Service::ModelHost, move |readings| {
            host.upgrade()?.models.tell(readings);
            Some(())
        });
    }

    /// Gives the vectors of up to 256 texts.
    ///
    /// # Errors
    /// For bad texts, a model that is not loaded, a full queue, a passed deadline.
    pub async fn embed(&self, request: proto::EmbedRequest, waits: Waits) -> Result<proto::EmbedResponse, Error> {
        check_texts("texts", &request.texts)?;
        let lane = wire::lane(request.priority, Lane::Bulk)?;
        let serving = self.models.serving();
        let encoder = serving.encoder_named(wire::asked(request.model.as_ref()))?;
        let projection = match &request.token_vectors {
            Some(wanted) => Some(serving.projection(encoder.model(), wire::asked(wanted.projection.as_ref()))?),
            None => None,
        };
        let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
        let embedded = embed(encoder, &texts, lane, waits, true, projection).await?;
        Ok(proto::EmbedResponse {
            model: Some(wire::model_ref(encoder.model())),
            embeddings: embedded.texts.into_iter().map(wire::embedding).collect(),
            timings: Some(wire::timings(embedded.timings)),
        })
    }

    /// Gives an encoder's tokenizer and limits.
    ///
    /// # Errors
    /// When the encoder is not loaded.
    pub fn tokenizer(&self, request: &proto::GetTokenizerRequest) -> Result<proto::GetTokenizerResponse, Error> {
        let serving = self.models.serving();
        let encoder = serving.encoder_named(wire::asked(request.model.as_ref()))?;
        let tokenizer = encoder.encoder().tokenizer();
        let projection = serving.projection(encoder.model(), None).ok();
        Ok(proto::GetTokenizerResponse {
            model: Some(wire::model_ref(encoder.model())),
            tokenizer_json: tokenizer.json().to_vec(),
            sha256: sha256_hex(tokenizer.json()),
            max_tokens: wire::count(tokenizer.max_tokens()),
            special_tokens: wire::count(tokenizer.special_tokens()),
            dimension: wire::count(encoder.encoder().spec().dimension),
            projection: projection.map(|projection| wire::model_ref(projection.model())),
            token_dimension: projection.map_or(0, |projection| wire::count(projection.dimension())),
        })
    }

    /// Starts an answer.
    ///
    /// # Errors
    /// For a bad query or passage, an unknown generator or prompt, and a generator that cannot answer
    /// without passages when there are none.
    pub fn generate(
        &self,
        request: proto::GenerateRequest,
        deadline: Instant,
    ) -> Result<BoxStream<'static, Result<proto::GenerateResponse, Error>>, Error> {
        generation::check(&request, &self.prompts)?;
        let name = if request.generator.is_empty() { &self.default_generator } else { &request.generator };
        let generator = self.generator(name)?;
        if request.passages.is_empty() && !generator.answers_without_passages() {
            let message = format!("generator {name:?} answers from passages alone, and there are none");
            return Err(Error::new(Reason::NoGenerator, message));
        }
        Ok(generation::start(&*generator, request, deadline))
    }

    /// The generator of that name. The built-in one reads with the encoder that serves now.
    fn generator(&self, name: &str) -> Result<Arc<dyn Generator>, Error> {
        if name == EXTRACTIVE {
            return Ok(Arc::new(Extractive::new(Arc::clone(self.models.serving().encoder()?), &self.extractive)));
        }
        if let Some(generator) = self.generators.get(name) {
            return Ok(Arc::clone(generator));
        }
        let known: Vec<&str> = [EXTRACTIVE].into_iter().chain(self.generators.keys().map(String::as_str)).collect();
        let message = format!("generator {name:?} is not configured; there are {}", known.join(", "));
        Err(Error::new(Reason::GeneratorNotFound, message).with_field("generator"))
    }
}

async fn embed(
    encoder: &EncoderRuntime,
    texts: &[&str],
    lane: Lane,
    waits: Waits,
    may_widen: bool,
    projection: Option<&Arc<Projection>>,
) -> Result<Embedded, Error> {
    let span = embeddings_span(encoder.model(), encoder.encoder().spec().dimension, texts.len());
    if capture_content() {
        span.record(key::INPUT_VALUE, texts.join("\n"));
    }
    let call = Call { projection, ..waits.call(lane, may_widen, &span) };
    let started = Instant::now();
    let embedded = encoder.embed_call(texts, call).await;
    let embedded = embedded.map_err(|error| failed(&span, error));
    let operation = Operation { name: "embeddings", provider: "trivium", model: encoder.model().name.as_str() };
    let instruments = metrics::of(Service::ModelHost);
    instruments.operated(operation, embedded.as_ref().err().map(Error::reason), started.elapsed());
    let embedded = embedded?;
    let tokens: usize = embedded.texts.iter().map(|text| text.tokens).sum();
    instruments.used(operation, TokenKind::Input, tokens as u64);
    span.record(key::GEN_AI_USAGE_INPUT_TOKENS, count(tokens));
    Ok(embedded)
}

impl Waits {
    fn call(self, lane: Lane, may_widen: bool, parent: &Span) -> Call<'_> {
        Call { lane, deadline: Some(self.deadline), caller: self.caller, may_widen, projection: None, parent }
    }
}

fn failed(span: &Span, error: EmbedError) -> Error {
    let error = wire::embed_error(error);
    span.record("otel.status_code", "ERROR");
    span.record(key::ERROR_TYPE, error.reason().as_str());
    error
}

fn check_texts(name: &str, texts: &[String]) -> Result<(), Error> {
    if texts.is_empty() {
        return Err(Error::new(Reason::FieldMissing, format!("{name} is empty")).with_field(name));
    }
    if texts.len() > MAX_TEXTS {
        let message = format!("{name} has {} items; the limit is {MAX_TEXTS}", texts.len());
        return Err(Error::new(Reason::FieldOutOfRange, message).with_field(name));
    }
    for (index, text) in texts.iter().enumerate() {
        let field = format!("{name}[{index}]");
        if text.trim().is_empty() {
            return Err(Error::new(Reason::FieldInvalid, format!("{field} is blank")).with_field(field));
        }
        if text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS {
            let message = format!("{field} is longer than {MAX_TEXT_CHARS} code points");
            return Err(Error::new(Reason::FieldOutOfRange, message).with_field(field));
        }
    }
    Ok(())
}
