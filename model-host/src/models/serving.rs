//! What serves at one moment. It never changes: a change makes another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trivium_service_kit::{Error, Reason};

use super::load::{IntentRuntime, Loaded};
use super::shadow::Shadow;
use crate::bundle::{ModelId, ModelRef};
use crate::options::Options;
use crate::projection::{Projection, projection_name};
use crate::runtime::{CrossEncoderRuntime, EncoderRuntime};

/// Which bundles serve as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    encoder: Option<ModelId>,
    intents: Option<ModelId>,
    reranker: Option<ModelId>,
    /// Projections of the encoder.
    projection: Option<ModelId>,
    others: BTreeSet<ModelId>,
}

impl Roles {
    /// The roles that checked options give.
    pub fn of(options: &Options) -> Self {
        let encoder = options.encoder_name().ok();
        Self {
            projection: encoder.as_ref().and_then(|encoder| projection_name(encoder).ok()),
            encoder,
            intents: options.intents_name().ok(),
            reranker: options.reranker_name().ok().flatten(),
            others: options.models.keys().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    /// All names, the encoder's first: the intent model may read its vectors.
    pub fn names(&self) -> Vec<ModelId> {
        let mut names: Vec<ModelId> = Vec::new();
        for name in
            [&self.encoder, &self.projection, &self.intents, &self.reranker].into_iter().flatten().chain(&self.others)
        {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Whether a host is whole without a bundle of this name.
    pub(super) fn is_optional(&self, name: &ModelId) -> bool {
        self.projection.as_ref() == Some(name) && !self.others.contains(name)
    }

    /// Whether a bundle of this name serves.
    pub fn serves(&self, name: &ModelId) -> bool {
        self.names().contains(name)
    }
}

/// The models in memory, and which of them serve.
#[derive(Clone)]
pub struct Serving {
    roles: Arc<Roles>,
    loaded: BTreeMap<ModelRef, Loaded>,
    /// The version of each name that serves, or why none does.
    production: BTreeMap<ModelId, Result<ModelRef, Error>>,
    shadow: Option<Arc<Shadow>>,
}

impl Serving {
    pub(super) fn new(roles: Roles) -> Self {
        Self { roles: Arc::new(roles), loaded: BTreeMap::new(), production: BTreeMap::new(), shadow: None }
    }

    /// Which bundles serve as what.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The encoder that makes query and passage vectors unless a call names another.
    ///
    /// # Errors
    /// `NO_MODEL` or `MODEL_DAMAGED` when none serves.
    pub fn encoder(&self) -> Result<&Arc<EncoderRuntime>, Error> {
        match self.role(self.roles.encoder.as_ref(), "encoder")? {
            Loaded::Encoder(encoder) => Ok(encoder),
            _ => Err(wrong_kind("encoder")),
        }
    }

    /// The intent model.
    ///
    /// # Errors
    /// As [`Self::encoder`].
    pub fn intent(&self) -> Result<&Arc<IntentRuntime>, Error> {
        match self.role(self.roles.intents.as_ref(), "intents")? {
            Loaded::Intent(intent) => Ok(intent),
            _ => Err(wrong_kind("intents")),
        }
    }

    /// The encoder that a request asks for: by name and version, or the one that serves.
    /// An empty version means the one that serves under that name.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND` when no such encoder is in memory; as [`Self::encoder`] when the
    /// request names none.
    pub fn encoder_named(&self, asked: Option<(&str, &str)>) -> Result<&Arc<EncoderRuntime>, Error> {
        let Some((name, version)) = asked else {
            return self.encoder();
        };
        let name = if name.is_empty() { self.roles.encoder.as_ref().map_or("", ModelId::as_str) } else { name };
        match self.named(name, version) {
            Some(Loaded::Encoder(encoder)) => Ok(encoder),
            _ => Err(self.not_loaded("encoder", name, version)),
        }
    }

    /// The cross-encoder that a request asks for, or the one that serves.
    ///
    /// # Errors
    /// As [`Self::encoder_named`].
    pub fn cross_encoder_named(&self, asked: Option<(&str, &str)>) -> Result<&Arc<CrossEncoderRuntime>, Error> {
        let loaded = match asked {
            None => self.role(self.roles.reranker.as_ref(), "reranker")?,
            Some((name, version)) => {
                self.named(name, version).ok_or_else(|| self.not_loaded("cross-encoder", name, version))?
            }
        };
        match (loaded, asked) {
            (Loaded::CrossEncoder(cross_encoder), _) => Ok(cross_encoder),
            (_, None) => Err(wrong_kind("reranker")),
            (_, Some((name, version))) => Err(self.not_loaded("cross-encoder", name, version)),
        }
    }

    /// The projection that makes token vectors of an encoder's states: the one that a request asks for by name and
    /// version, or the one that serves.
    ///
    /// # Errors
    /// `NO_MODEL` when none serves, or the one that does belongs to another encoder; `MODEL_NOT_FOUND` when the one that is
    /// asked for is not in memory; `MODEL_DAMAGED`; `FIELD_INVALID` when it belongs to another encoder.
    pub fn projection(&self, encoder: &ModelRef, asked: Option<(&str, &str)>) -> Result<&Arc<Projection>, Error> {
        let found = match asked {
            None if self.roles.projection.as_ref().is_some_and(|name| !self.production.contains_key(name)) => {
                let message = format!("no projection of {encoder} serves; `trivium models project` fits one");
                return Err(Error::new(Reason::NoModel, message));
            }
            None => self.role(self.roles.projection.as_ref(), "projection")?,
            Some((name, version)) => {
                self.named(name, version).ok_or_else(|| self.not_loaded("projection", name, version))?
            }
        };
        let Loaded::Projection(projection) = found else { return Err(wrong_kind("projection")) };
        if projection.base() == encoder {
            return Ok(projection);
        }
        let message = format!("{} belongs to {}, not to {encoder}", projection.model(), projection.base());
        match asked {
            None => Err(Error::new(Reason::NoModel, message)),
            Some(_) => Err(Error::new(Reason::FieldInvalid, message).with_field("token_vectors.projection")),
        }
    }

    /// The version of a name that serves, if one does.
    pub fn production(&self, name: &ModelId) -> Option<&ModelRef> {
        self.production.get(name).and_then(|model| model.as_ref().ok())
    }

    /// The second version of the intent model, if there is one.
    pub fn shadow(&self) -> Option<&Arc<Shadow>> {
        self.shadow.as_ref()
    }

    /// A version that is in memory.
    pub fn loaded(&self, model: &ModelRef) -> Option<&Loaded> {
        self.loaded.get(model)
    }

    /// All versions in memory.
    pub fn all(&self) -> impl Iterator<Item = (&ModelRef, &Loaded)> {
        self.loaded.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.loaded.len()
    }

    /// Whether collections may hold vectors that this version made.
    pub(super) fn makes_vectors(&self, model: &ModelRef) -> bool {
        matches!(self.loaded(model), Some(Loaded::Encoder(_) | Loaded::Projection(_)))
    }

    pub(super) fn add(&mut self, new: Vec<(ModelRef, Loaded)>) {
        self.loaded.extend(new);
    }

    /// Lets a version that is in memory serve under its name; gives the one before.
    pub(super) fn produce(&mut self, model: ModelRef) -> Option<ModelRef> {
        self.production.insert(model.name.clone(), Ok(model)).and_then(Result::ok)
    }

    /// Says why no version of a name serves.
    pub(super) fn miss(&mut self, name: ModelId, error: Error) {
        tracing::warn!(%name, %error, "no model serves under this name");
        self.production.insert(name, Err(error));
    }

    pub(super) fn set_shadow(&mut self, shadow: Option<Arc<Shadow>>) {
        self.shadow = shadow;
    }

    /// Whether a version in memory is of the kind that its name serves as.
    pub(super) fn check_role(&self, model: &ModelRef) -> Result<(), Error> {
        let roles = &self.roles;
        let is = |role: &Option<ModelId>| role.as_ref() == Some(&model.name);
        let fits = match self.loaded(model) {
            Some(Loaded::Encoder(_)) => !is(&roles.intents) && !is(&roles.reranker) && !is(&roles.projection),
            Some(Loaded::Intent(_)) => !is(&roles.encoder) && !is(&roles.reranker) && !is(&roles.projection),
            Some(Loaded::CrossEncoder(_)) => !is(&roles.encoder) && !is(&roles.intents) && !is(&roles.projection),
            Some(Loaded::Projection(_)) => !is(&roles.encoder) && !is(&roles.intents) && !is(&roles.reranker),
            None => false,
        };
        if fits {
            return Ok(());
        }
        let message = format!("{model} is of another kind than what {} serves as", model.name);
        Err(Error::new(Reason::FieldInvalid, message).with_field("model"))
    }

    /// What needs a version in memory, in words, if anything does besides a pin.
    pub(super) fn user_of(&self, model: &ModelRef) -> Option<String> {
        if self.production(&model.name) == Some(model) {
            return Some("it serves".to_owned());
        }
        if self.shadow.as_ref().is_some_and(|shadow| shadow.model() == model) {
            return Some("it is the shadow".to_owned());
        }
        let reads = |(reader, loaded): (&ModelRef, &Loaded)| match loaded {
            Loaded::Intent(intent) if intent.encoder.model() == model && reader != model => {
                Some(format!("{reader} reads its vectors"))
            }
            _ => None,
        };
        self.loaded.iter().find_map(reads)
    }

    /// Lets go of what nothing needs. What calls in flight use lives until they end.
    pub(super) fn drop_unneeded(&mut self, pinned: &BTreeSet<ModelRef>) {
        let unneeded = |serving: &Self, kind: fn(&Loaded) -> bool| -> Vec<ModelRef> {
            let idle = |model: &&ModelRef| !pinned.contains(*model) && serving.user_of(model).is_none();
            let of_kind = serving.loaded.iter().filter(|(_, loaded)| kind(loaded)).map(|(model, _)| model);
            of_kind.filter(idle).cloned().collect()
        };
        // Readers first: an encoder may be needed by nothing else.
        for kind in [
            |loaded: &Loaded| !matches!(loaded, Loaded::Encoder(_)),
            |loaded: &Loaded| matches!(loaded, Loaded::Encoder(_)),
        ] {
            for model in unneeded(self, kind) {
                self.loaded.remove(&model);
            }
        }
    }

    fn role(&self, name: Option<&ModelId>, key: &str) -> Result<&Loaded, Error> {
        let none = || Error::new(Reason::NoModel, format!("no model is configured as {key}"));
        let name = name.ok_or_else(none)?;
        let model = match self.production.get(name) {
            Some(Ok(model)) => model,
            Some(Err(error)) => return Err(error.clone()),
            None => return Err(none()),
        };
        self.loaded.get(model).ok_or_else(none)
    }

    fn named(&self, name: &str, version: &str) -> Option<&Loaded> {
        let name: ModelId = name.parse().ok()?;
        let model = match version {
            "" => self.production(&name)?.clone(),
            version => ModelRef { name, version: version.parse().ok()? },
        };
        self.loaded.get(&model)
    }

    fn not_loaded(&self, kind: &str, name: &str, version: &str) -> Error {
        let loaded: Vec<String> = self.loaded.keys().map(ToString::to_string).collect();
        let separator = if version.is_empty() { "" } else { "/" };
        let message = format!("{kind} {name}{separator}{version} is not loaded; loaded are {}", loaded.join(", "));
        Error::new(Reason::ModelNotFound, message).with_field("model")
    }
}

fn wrong_kind(key: &str) -> Error {
    Error::new(Reason::NoModel, format!("the model that is configured as {key} is of another kind"))
}
