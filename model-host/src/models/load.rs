//! From a bundle on the disk to a model that is warm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trivium_service_kit::{Error, Reason};

use super::serving::{Roles, Serving};
use super::shadow::Shadow;
use crate::batch::Limits;
use crate::batcher::{BatchModel, Batcher};
use crate::bundle::{Bundle, BundleError, ModelId, ModelRef, ModelSpec, Precision, PrecisionChoice, Registry};
use crate::cross_encoder::{CrossEncoder, CrossEncoderError};
use crate::encoder::{Encoder, EncoderError};
use crate::engine::{EngineError, Threads, TokenBatch};
use crate::intent::{IntentError, IntentModel};
use crate::options::{ModelOptions, Options};
use crate::projection::{Projection, ProjectionLoadError};
use crate::runtime::{CrossEncoderRuntime, EncoderRuntime};
use crate::tokenize::TokenizeError;

/// The lengths that a model runs before it serves, in words. Engines set up memory and
/// kernels for a size when they first meet it.
const WARM_UP_WORDS: [usize; 3] = [4, 24, 120];

/// The least cosine between a query's vectors in eight and in 32 bits at which eight are taken unasked.
const LEAST_QUERY_COSINE: f32 = 0.95;

/// What that cosine is measured on: queries of several lengths and kinds.
const PROBES: [&str; 8] = [
    "reset password",
    "ERR_CONN_RESET v1.2.3",
    "How do I rotate the certificates of a running cluster?",
    "what is the difference between a snapshot and an append-only file",
    "thanks, that is all",
    "kubectl get pods shows CrashLoopBackOff after the upgrade to 1.31, and the logs are empty",
    "Which proteins are involved in the repair of damaged DNA in yeast?",
    "translate the second paragraph into French, and keep the names as they are in the original text, please",
];

/// A model in memory.
#[derive(Clone)]
pub enum Loaded {
    /// What makes vectors.
    Encoder(Arc<EncoderRuntime>),
    /// What decides.
    Intent(Arc<IntentRuntime>),
    /// What scores documents.
    CrossEncoder(Arc<CrossEncoderRuntime>),
    /// What makes token vectors of an encoder's hidden states.
    Projection(Arc<Projection>),
}

/// An intent model with the encoder whose vectors it reads.
pub struct IntentRuntime {
    /// The model.
    pub model: IntentModel,
    /// Its labels that were added from a few examples, without retraining.
    pub few_shot: BTreeSet<String>,
    /// Its encoder: another bundle's, which may make query vectors too, or its own.
    pub encoder: Arc<EncoderRuntime>,
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Intent(#[from] IntentError),
    #[error(transparent)]
    CrossEncoder(#[from] CrossEncoderError),
    #[error(transparent)]
    Projection(#[from] ProjectionLoadError),
    #[error("{model} reads vectors of {expected}, but its encoder makes vectors of {found}")]
    Dimension { model: ModelRef, expected: usize, found: usize },
    #[error("{model} fails its warm-up: {source}")]
    WarmUp { model: ModelRef, source: WarmUpError },
}

/// Why a model fails its warm-up.
#[derive(Debug, thiserror::Error)]
pub(super) enum WarmUpError {
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("it gives no probability")]
    NoProbability,
}

impl LoadError {
    /// Whether eight bits were asked for that there are not.
    pub(super) fn has_no_eight_bits(&self) -> bool {
        matches!(self, Self::Encoder(EncoderError::EightBits { .. }))
    }

    /// The bundle's fault, if it is one.
    pub(super) fn bundle(&self) -> Option<&BundleError> {
        match self {
            Self::Bundle(bundle)
            | Self::Encoder(EncoderError::Bundle(bundle))
            | Self::Intent(IntentError::Bundle(bundle))
            | Self::CrossEncoder(CrossEncoderError::Bundle(bundle))
            | Self::Projection(ProjectionLoadError::Bundle(bundle)) => Some(bundle),
            _ => None,
        }
    }

    /// Whether nothing is wrong but that there is no such model.
    fn is_absent(&self) -> bool {
        matches!(self.bundle(), Some(BundleError::NotFound { .. } | BundleError::NoProduction { .. }))
    }
}

/// Loads bundles, and gives each its place before the engine's threads.
pub(super) struct Loader {
    registry: Registry,
    batcher: Arc<Batcher>,
    limits: Limits,
    precision: PrecisionChoice,
    intents_precision: PrecisionChoice,
    query_precision: PrecisionChoice,
    models: BTreeMap<String, ModelOptions>,
}

impl Loader {
    pub(super) fn new(registry: Registry, batcher: Arc<Batcher>, options: &Options) -> Self {
        Self {
            registry,
            batcher,
            limits: options.limits(),
            precision: options.precision,
            intents_precision: options.intents_precision,
            query_precision: options.query_precision,
            models: options.models.clone(),
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What serves when the host starts, and the versions that the options pin.
    pub(super) fn first(&self, options: &Options) -> (Serving, BTreeSet<ModelRef>) {
        let mut serving = Serving::new(Roles::of(options));
        for name in serving.roles().names() {
            match self.registry.production(&name).map_err(LoadError::from) {
                Ok(model) => match self.load_into(&mut serving, &model) {
                    Ok(()) => drop(serving.produce(model)),
                    Err(error) => serving.miss(name, unusable(&error)),
                },
                // Hosts did without projections before there were any.
                Err(error) if error.is_absent() && serving.roles().is_optional(&name) => {}
                Err(error) => serving.miss(name, unusable(&error)),
            }
        }
        let pinned = self.pinned();
        for model in &pinned {
            if let Err(error) = self.load_into(&mut serving, model) {
                tracing::warn!(%model, %error, "a version that the configuration names is not loaded");
            }
        }
        self.first_shadow(&mut serving);
        (serving, pinned)
    }

    fn pinned(&self) -> BTreeSet<ModelRef> {
        let versions = self.models.iter().flat_map(|(name, model)| model.versions.iter().map(move |v| (name, v)));
        // The options were checked, so that every one of them is a name.
        versions.filter_map(|(name, version)| ModelRef::new(name, version).ok()).collect()
    }

    fn load_into(&self, serving: &mut Serving, model: &ModelRef) -> Result<(), LoadError> {
        if serving.loaded(model).is_none() {
            serving.add(self.load(model, serving)?);
        }
        Ok(())
    }

    fn first_shadow(&self, serving: &mut Serving) {
        let Ok(served) = serving.intent().map(|intent| intent.model.model().clone()) else { return };
        let Ok(Some(alias)) = self.registry.shadow(&served.name) else { return };
        let model = ModelRef { name: served.name.clone(), version: alias.version.clone() };
        match self.load_into(serving, &model) {
            Ok(()) => {
                if let Some(Loaded::Intent(intent)) = serving.loaded(&model).cloned() {
                    serving.set_shadow(Some(Arc::new(Shadow::new(intent, served, alias.share))));
                }
            }
            Err(error) => tracing::warn!(%model, %error, "the shadow is not loaded"),
        }
    }

    /// Loads a version, with the encoder that it reads if that is not in memory yet.
    pub(super) fn load(&self, model: &ModelRef, present: &Serving) -> Result<Vec<(ModelRef, Loaded)>, LoadError> {
        let bundle = self.registry.open(model)?;
        let loaded = match &bundle.manifest().model {
            ModelSpec::Encoder(_) => vec![(model.clone(), Loaded::Encoder(self.encoder(model, self.precision)?))],
            ModelSpec::Intent(_) => self.intent(model, present)?,
            ModelSpec::Projection(_) => vec![(model.clone(), Loaded::Projection(Projection::load(&bundle)?))],
            ModelSpec::CrossEncoder(_) => {
                let cross_encoder = Arc::new(CrossEncoder::load(&bundle, 1)?);
                warm_up(model, &*cross_encoder, |text| cross_encoder.tokenizer().encode_pair(text, text))?;
                let runtime = CrossEncoderRuntime::start(cross_encoder, &self.batcher, self.limits(&model.name));
                vec![(model.clone(), Loaded::CrossEncoder(Arc::new(runtime)))]
            }
        };
        tracing::info!(%model, kind = bundle.manifest().model.kind(), "model loaded");
        Ok(loaded)
    }

    /// Loads the encoder of a bundle, in the precision that is asked for by its name or else
    /// is `usual` for its kind.
    fn encoder(&self, model: &ModelRef, usual: PrecisionChoice) -> Result<Arc<EncoderRuntime>, LoadError> {
        let own = self.models.get(model.name.as_str()).and_then(|model| model.precision);
        let bundle = self.registry.open(model)?;
        let encoder = warmed(model, Encoder::load_with(&bundle, own.unwrap_or(usual), 1)?)?;
        let limits = self.limits(&model.name);
        let queries = self.query_encoder(&bundle, &encoder)?;
        let runtime = EncoderRuntime::start(encoder, &self.batcher, limits);
        Ok(Arc::new(match queries {
            Some(queries) => runtime.with_queries(queries, limits),
            None => runtime,
        }))
    }

    /// What encodes queries, where that is not what encodes passages.
    fn query_encoder(&self, bundle: &Bundle, passages: &Encoder) -> Result<Option<Arc<Encoder>>, LoadError> {
        let model = passages.model();
        let own = self.models.get(model.name.as_str()).and_then(|model| model.query_precision);
        let choice = own.unwrap_or(self.query_precision);
        let makes_vectors = matches!(bundle.manifest().model, ModelSpec::Encoder(_));
        if !makes_vectors || passages.precision() == Precision::Int8 || choice == PrecisionChoice::Fp32 {
            return Ok(None);
        }
        let queries = match Encoder::load_with(bundle, PrecisionChoice::Int8, 1) {
            Err(EncoderError::EightBits { .. }) if choice == PrecisionChoice::Auto => return Ok(None),
            queries => queries?,
        };
        if choice == PrecisionChoice::Auto {
            let cosine = queries.lowest_cosine(passages, &PROBES)?;
            if cosine < LEAST_QUERY_COSINE {
                tracing::info!(%model, cosine, "queries stay in 32 bits: eight would move them too far");
                return Ok(None);
            }
        }
        Ok(Some(warmed(model, queries)?))
    }

    fn intent(&self, model: &ModelRef, present: &Serving) -> Result<Vec<(ModelRef, Loaded)>, LoadError> {
        let bundle = self.registry.open(model)?;
        let intent = IntentModel::load(&bundle)?;
        let few_shot = bundle.intent()?.few_shot.keys().cloned().collect();
        let mut loaded = Vec::new();
        let base = intent.encoder().clone();
        let encoder = match present.loaded(&base) {
            Some(Loaded::Encoder(encoder)) => Arc::clone(encoder),
            _ if base == *model => self.encoder(model, self.intents_precision)?,
            _ => {
                let encoder = self.encoder(&base, self.precision)?;
                loaded.push((base, Loaded::Encoder(Arc::clone(&encoder))));
                encoder
            }
        };
        let (expected, found) = (intent.dimension(), encoder.encoder().spec().dimension);
        if expected != found {
            return Err(LoadError::Dimension { model: model.clone(), expected, found });
        }
        decide_once(&intent, encoder.encoder()).map_err(|source| LoadError::WarmUp { model: model.clone(), source })?;
        loaded.push((model.clone(), Loaded::Intent(Arc::new(IntentRuntime { model: intent, few_shot, encoder }))));
        Ok(loaded)
    }

    fn limits(&self, name: &ModelId) -> Limits {
        self.models.get(name.as_str()).map_or(self.limits, |model| model.limits(self.limits))
    }
}

/// An encoder that has run once at each length.
fn warmed(model: &ModelRef, encoder: Encoder) -> Result<Arc<Encoder>, LoadError> {
    warm_up(model, &encoder, |text| encoder.tokenizer().encode(text))?;
    Ok(Arc::new(encoder))
}

/// Runs a model on texts of several lengths.
fn warm_up<M: BatchModel>(
    model: &ModelRef,
    runs: &M,
    encode: impl Fn(&str) -> Result<crate::tokenize::Tokens, TokenizeError>,
) -> Result<(), LoadError> {
    let threads = Threads::new(1);
    let run = |words: usize| -> Result<(), WarmUpError> {
        let tokens = encode(&"warm up ".repeat(words / 2))?;
        runs.run(&TokenBatch::of([&tokens]), &threads)?;
        Ok(())
    };
    WARM_UP_WORDS.into_iter().try_for_each(run).map_err(|source| LoadError::WarmUp { model: model.clone(), source })
}

/// Decides on one text, so that a head that gives no probabilities never serves.
fn decide_once(intent: &IntentModel, encoder: &Encoder) -> Result<(), WarmUpError> {
    let tokens = encoder.tokenizer().encode("warm up")?;
    let vectors = encoder.run(&TokenBatch::of([&tokens]), &Threads::new(1))?;
    let confidence = vectors.first().map_or(f32::NAN, |vector| intent.decide(vector).confidence());
    if confidence.is_finite() { Ok(()) } else { Err(WarmUpError::NoProbability) }
}

/// The catalogue's error for calls to a model that does not serve; it names the file, what
/// was expected and what was found.
fn unusable(error: &LoadError) -> Error {
    match error.bundle() {
        Some(missing @ (BundleError::NotFound { .. } | BundleError::NoProduction { .. })) => {
            Error::new(Reason::NoModel, format!("no model serves: {missing}"))
        }
        _ => Error::new(Reason::ModelDamaged, error.to_string()),
    }
}
