//! The models that serve.

use std::sync::Arc;

use trivium_service_kit::{Error, Reason};

use crate::bundle::{Bundle, BundleError, ModelId, ModelRef, Registry};
use crate::encoder::{Encoder, EncoderError};
use crate::intent::{IntentError, IntentModel};
use crate::options::Options;
use crate::runtime::EncoderRuntime;

/// The encoder and the intent model, or why each does not serve. A damaged or absent bundle
/// fails the requests that need it and no others.
pub struct Models {
    /// Where the bundles are.
    pub registry: Registry,
    /// What makes vectors.
    pub encoder: Result<Arc<EncoderRuntime>, Error>,
    /// What decides.
    pub intent: Result<IntentRuntime, Error>,
}

/// An intent model with the encoder whose vectors it reads.
pub struct IntentRuntime {
    /// The model.
    pub model: IntentModel,
    /// Its encoder: the one that makes query vectors too, if that is the same bundle.
    pub encoder: Arc<EncoderRuntime>,
}

impl Models {
    /// Loads what serves. Reads some hundred megabytes: call it where blocking is allowed.
    pub fn load(options: &Options) -> Self {
        let registry = Registry::new(options.models_dir());
        let encoder = production(&registry, &options.encoder)
            .map_err(LoadError::from)
            .and_then(|model| load_encoder(&registry, &model, options))
            .map_err(|error| unusable(&error, "encoder"));
        let intent = load_intent(&registry, &encoder, options);
        log("encoder", encoder.as_ref().map(|encoder| encoder.model()));
        log("intents", intent.as_ref().map(|intent| intent.model.model()));
        Self { registry, encoder, intent }
    }

    /// The encoder that a request asks for, if it serves: by name and version, or the one
    /// that serves when the request names none.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND` when another one serves; `NO_MODEL` or `MODEL_DAMAGED` when none does.
    pub fn encoder_named(&self, asked: Option<(&str, &str)>) -> Result<&Arc<EncoderRuntime>, Error> {
        let encoder = self.encoder.as_ref().map_err(Error::clone)?;
        let Some((name, version)) = asked else {
            return Ok(encoder);
        };
        let serving = encoder.model();
        let fits = |asked: &str, serving: &ModelId| asked.is_empty() || asked == serving.as_str();
        if fits(name, &serving.name) && fits(version, &serving.version) {
            return Ok(encoder);
        }
        let message = format!("encoder {name}/{version} does not serve; {serving} does");
        Err(Error::new(Reason::ModelNotFound, message).with_field("model"))
    }
}

fn log(kind: &str, model: Result<&ModelRef, &Error>) {
    match model {
        Ok(model) => tracing::info!(kind, %model, "model loaded"),
        Err(error) => tracing::warn!(kind, %error, "no model serves"),
    }
}

fn production(registry: &Registry, name: &str) -> Result<ModelRef, BundleError> {
    registry.production(&name.parse()?)
}

fn load_encoder(registry: &Registry, model: &ModelRef, options: &Options) -> Result<Arc<EncoderRuntime>, LoadError> {
    let bundle: Bundle = registry.open(model)?;
    let encoder = Arc::new(Encoder::load(&bundle, options.engine_threads)?);
    let runtime = EncoderRuntime::start(encoder, options.workers(), options.engine_threads, options.limits())?;
    Ok(Arc::new(runtime))
}

fn load_intent(
    registry: &Registry,
    serving: &Result<Arc<EncoderRuntime>, Error>,
    options: &Options,
) -> Result<IntentRuntime, Error> {
    let load = || -> Result<IntentRuntime, LoadError> {
        let bundle = registry.open(&production(registry, &options.intents)?)?;
        let model = IntentModel::load(&bundle)?;
        let encoder = match serving {
            Ok(serving) if serving.model() == model.encoder() => Arc::clone(serving),
            _ => load_encoder(registry, model.encoder(), options)?,
        };
        let (expected, found) = (model.dimension(), encoder.encoder().spec().dimension);
        if expected != found {
            return Err(LoadError::Dimension { model: model.model().clone(), expected, found });
        }
        Ok(IntentRuntime { model, encoder })
    };
    load().map_err(|error| unusable(&error, "intents"))
}

/// Why a model does not serve.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Intent(#[from] IntentError),
    #[error("the threads of the engine cannot be started: {0}")]
    Threads(#[from] std::io::Error),
    #[error("{model} reads vectors of {expected}, but its encoder makes vectors of {found}")]
    Dimension { model: ModelRef, expected: usize, found: usize },
}

/// The catalogue's error for a model that does not serve; it names the file, what was
/// expected and what was found.
fn unusable(error: &LoadError, key: &str) -> Error {
    let (LoadError::Bundle(bundle)
    | LoadError::Encoder(EncoderError::Bundle(bundle))
    | LoadError::Intent(IntentError::Bundle(bundle))) = error
    else {
        return Error::new(Reason::ModelDamaged, error.to_string());
    };
    match bundle {
        BundleError::NotFound { .. } | BundleError::NoProduction { .. } => {
            Error::new(Reason::NoModel, format!("no model serves as {key}: {bundle}"))
        }
        other => Error::new(Reason::ModelDamaged, other.to_string()),
    }
}
