//! What the model service does, in messages of the contract and without a transport.

mod generation;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::BoxStream;
use tracing::Span;
use trivium_proto::model::v1 as proto;
use trivium_service_kit::telemetry::capture_content;
use trivium_service_kit::{ConfigError, Error, Reason, validate};

use crate::batch::Lane;
use crate::bundle::{BundleSummary, sha256_hex};
use crate::generate::{Extractive, Generator, OpenAi, Prompts};
use crate::intent::Decision;
use crate::models::{IntentRuntime, Models};
use crate::options::{MAX_TEXTS, Options};
use crate::runtime::{EmbedError, Embedded, EncoderRuntime, TextVector, Timings};
use crate::trace::{classify_span, embeddings_span};

/// The longest text of an embedding request, in code points: far beyond any encoder's limit,
/// and little work to tokenize.
const MAX_TEXT_CHARS: usize = 65_536;

/// The model service.
pub struct ModelHost {
    models: Models,
    generators: BTreeMap<String, Arc<dyn Generator>>,
    default_generator: String,
}

impl ModelHost {
    /// Puts loaded models and configured generators to work.
    ///
    /// # Errors
    /// When a generator's key cannot be read.
    pub fn new(models: Models, options: &Options) -> Result<Self, ConfigError> {
        let mut generators: BTreeMap<String, Arc<dyn Generator>> = BTreeMap::new();
        if let Ok(encoder) = &models.encoder {
            let extractive = Extractive::new(Arc::clone(encoder));
            generators.insert(extractive.name().to_owned(), Arc::new(extractive));
        }
        let prompts = Prompts::load(&options.prompts).map_err(|error| error.within("prompts"))?;
        let prompts = Arc::new(prompts);
        for (name, generator) in &options.generators {
            let section = format!("generators.{name}");
            let backend = OpenAi::new(name, generator.clone(), Arc::clone(&prompts));
            let backend = backend.map_err(|error| error.within(&section))?;
            generators.insert(name.clone(), Arc::new(backend));
        }
        Ok(Self { models, generators, default_generator: options.default_generator.clone() })
    }

    /// Gives a query's intent and vector, each on request. Both come out of one forward pass
    /// when the intent model reads the serving encoder's vectors.
    ///
    /// # Errors
    /// For a bad query, when a model that is needed does not serve, and as [`Self::embed`].
    pub async fn analyze(
        &self,
        request: proto::AnalyzeRequest,
        deadline: Instant,
    ) -> Result<proto::AnalyzeResponse, Error> {
        validate::query("text", &request.text)?;
        validate::not_served("earlier_turns", !request.earlier_turns.is_empty())?;
        if !request.intent && !request.vector {
            return Err(Error::new(Reason::FieldMissing, "intent or vector must be asked for").with_field("intent"));
        }
        let text = request.text.as_str();
        let mut response = proto::AnalyzeResponse::default();
        let mut shared = None;
        if request.vector {
            let encoder = self.models.encoder.as_ref().map_err(Error::clone)?;
            let (vector, timings) = embed_query(encoder, text, deadline).await?;
            wire::add_pass(&mut response, &vector, timings);
            response.vectors.push(wire::query_vector(encoder.model(), vector.vector.clone()));
            shared = Some((Arc::clone(encoder), vector));
        }
        if request.intent {
            let intent = self.models.intent.as_ref().map_err(Error::clone)?;
            let known = shared.filter(|(encoder, _)| Arc::ptr_eq(encoder, &intent.encoder));
            let decision = classify(intent, text, known.map(|(_, vector)| vector), deadline, &mut response).await?;
            response.intent = Some(wire::intent(decision, intent.model.model()));
        }
        Ok(response)
    }

    /// Gives the vectors of up to 256 texts.
    ///
    /// # Errors
    /// For bad texts, another model than the one that serves, a full queue, a passed deadline.
    pub async fn embed(&self, request: proto::EmbedRequest, deadline: Instant) -> Result<proto::EmbedResponse, Error> {
        check_texts(&request.texts)?;
        let lane = wire::lane(request.priority)?;
        let encoder = self.models.encoder_named(wire::asked(request.model.as_ref()))?;
        let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
        let embedded = embed(encoder, &texts, lane, deadline).await?;
        Ok(proto::EmbedResponse {
            model: Some(wire::model_ref(encoder.model())),
            embeddings: embedded.texts.into_iter().map(wire::embedding).collect(),
            timings: Some(wire::timings(embedded.timings)),
        })
    }

    /// Gives an encoder's tokenizer and limits.
    ///
    /// # Errors
    /// When the encoder does not serve.
    pub fn tokenizer(&self, request: &proto::GetTokenizerRequest) -> Result<proto::GetTokenizerResponse, Error> {
        let encoder = self.models.encoder_named(wire::asked(request.model.as_ref()))?;
        let tokenizer = encoder.encoder().tokenizer();
        Ok(proto::GetTokenizerResponse {
            model: Some(wire::model_ref(encoder.model())),
            tokenizer_json: tokenizer.json().to_vec(),
            sha256: sha256_hex(tokenizer.json()),
            max_tokens: wire::count(tokenizer.max_tokens()),
            special_tokens: wire::count(tokenizer.special_tokens()),
            dimension: wire::count(encoder.encoder().spec().dimension),
        })
    }

    /// Starts an answer.
    ///
    /// # Errors
    /// For a bad query or passage, an unknown generator, and a generator that cannot answer
    /// without passages when there are none.
    pub fn generate(
        &self,
        request: proto::GenerateRequest,
        deadline: Instant,
    ) -> Result<BoxStream<'static, Result<proto::GenerateResponse, Error>>, Error> {
        generation::check(&request)?;
        let name = if request.generator.is_empty() { &self.default_generator } else { &request.generator };
        let generator = self.generator(name)?;
        if request.passages.is_empty() && !generator.answers_without_passages() {
            let message = format!("generator {name:?} answers from passages alone, and there are none");
            return Err(Error::new(Reason::NoGenerator, message));
        }
        Ok(generation::start(&**generator, request, deadline))
    }

    /// Lists the bundles on the host's disk that are whole, and the configured generators.
    /// Reads the disk: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the models folder cannot be read.
    pub fn list(&self) -> Result<proto::ListModelsResponse, Error> {
        let found = self.models.registry.list();
        let found = found.map_err(|error| Error::new(Reason::StorageFailed, error.to_string()))?;
        let mut models: Vec<proto::Model> = found.into_iter().filter_map(|summary| self.describe(summary)).collect();
        models.extend(self.generators.values().map(|generator| wire::generator(&**generator)));
        Ok(proto::ListModelsResponse { models })
    }

    fn generator(&self, name: &str) -> Result<&Arc<dyn Generator>, Error> {
        if let Some(generator) = self.generators.get(name) {
            return Ok(generator);
        }
        // The extractive backend is missing only when its encoder is.
        if name == crate::generate::EXTRACTIVE {
            self.models.encoder.as_ref().map_err(Error::clone)?;
        }
        let known: Vec<&str> = self.generators.keys().map(String::as_str).collect();
        let message = format!("generator {name:?} is not configured; there are {}", known.join(", "));
        Err(Error::new(Reason::GeneratorNotFound, message).with_field("generator"))
    }

    fn describe(&self, summary: BundleSummary) -> Option<proto::Model> {
        let serves_vectors = self.models.encoder.as_ref().is_ok_and(|encoder| *encoder.model() == summary.model);
        let serves_intents = self.models.intent.as_ref().is_ok_and(|intent| *intent.model.model() == summary.model);
        match &summary.bundle {
            Ok(bundle) => Some(wire::model(&summary, bundle, serves_vectors || serves_intents)),
            Err(error) => {
                tracing::warn!(model = %summary.model, %error, "damaged bundle left out of the list");
                None
            }
        }
    }
}

/// One query's vector, inside an embeddings span.
async fn embed_query(encoder: &EncoderRuntime, text: &str, deadline: Instant) -> Result<(TextVector, Timings), Error> {
    let embedded = embed(encoder, &[text], Lane::Query, deadline).await?;
    only(embedded)
}

async fn embed(encoder: &EncoderRuntime, texts: &[&str], lane: Lane, deadline: Instant) -> Result<Embedded, Error> {
    let span = embeddings_span(encoder.model(), encoder.encoder().spec().dimension, texts.len());
    if capture_content() {
        span.record("input.value", texts.join("\n"));
    }
    let embedded = encoder.embed(texts, lane, Some(deadline), &span).await;
    let embedded = embedded.map_err(|error| failed(&span, error))?;
    let tokens: usize = embedded.texts.iter().map(|text| text.tokens).sum();
    span.record("gen_ai.usage.input_tokens", tokens);
    Ok(embedded)
}

/// Decides on a query, reusing its vector if the same encoder made one.
async fn classify(
    intent: &IntentRuntime,
    text: &str,
    known: Option<TextVector>,
    deadline: Instant,
    response: &mut proto::AnalyzeResponse,
) -> Result<Decision, Error> {
    let span = classify_span(intent.model.model());
    if capture_content() {
        span.record("input.value", text);
    }
    let vector = match known {
        Some(vector) => vector,
        None => {
            let embedded = intent.encoder.embed(&[text], Lane::Query, Some(deadline), &span).await;
            let (vector, timings) = only(embedded.map_err(|error| failed(&span, error))?)?;
            wire::add_pass(response, &vector, timings);
            vector
        }
    };
    let decision = intent.model.decide(&vector.vector);
    span.record("trivium.intent.label", decision.label());
    span.record("trivium.intent.confidence", decision.confidence());
    span.record("trivium.intent.margin", decision.margin);
    Ok(decision)
}

fn only(embedded: Embedded) -> Result<(TextVector, Timings), Error> {
    let timings = embedded.timings;
    let vector = embedded.texts.into_iter().next();
    vector.map(|vector| (vector, timings)).ok_or_else(|| Error::new(Reason::Internal, "the engine gave no vector"))
}

fn failed(span: &Span, error: EmbedError) -> Error {
    let error = wire::embed_error(error);
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.reason().as_str());
    error
}

fn check_texts(texts: &[String]) -> Result<(), Error> {
    if texts.is_empty() {
        return Err(Error::new(Reason::FieldMissing, "texts is empty").with_field("texts"));
    }
    if texts.len() > MAX_TEXTS {
        let message = format!("texts has {} items; the limit is {MAX_TEXTS}", texts.len());
        return Err(Error::new(Reason::FieldOutOfRange, message).with_field("texts"));
    }
    for (index, text) in texts.iter().enumerate() {
        let field = format!("texts[{index}]");
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
