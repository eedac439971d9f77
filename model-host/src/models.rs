//! The models of a host: which are in memory, which serve, and how that changes while calls
//! come in.
//!
//! What serves is one immutable [`Serving`]. A call takes it once and keeps it to its end, so
//! that its answer's version and labels belong together, and a model lives as long as the
//! last call that uses it. A change loads and warms what is new beside the calls, makes its
//! name durable, and then puts another [`Serving`] in the place of the one before.

mod describe;
mod gauges;
mod load;
mod serving;
mod shadow;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use trivium_service_kit::{Error, Reason};

use crate::batcher::Batcher;
use crate::bundle::{BundleError, ModelId, ModelRef, Registry, ShadowAlias};
use crate::options::Options;

pub use describe::Description;
pub use load::{IntentRuntime, Loaded};
pub use serving::Serving;
pub use shadow::{Shadow, ShadowReport};

use load::{LoadError, Loader};

/// The models of a host.
pub struct Models {
    loader: Loader,
    max_loaded: usize,
    serving: ArcSwap<Serving>,
    /// Versions that stay in memory though no alias names them.
    pinned: Mutex<BTreeSet<ModelRef>>,
    /// Held while the set changes: changes come one after the other.
    changes: Mutex<()>,
}

/// A change of the version that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The version that serves now.
    pub model: ModelRef,
    /// The one that served before.
    pub previous: Option<ModelRef>,
    /// Whether this host serves models of that name.
    pub serving: bool,
}

impl Models {
    /// Loads what the options and the alias files name. Reads some hundred megabytes: call
    /// it where blocking is allowed. A damaged or absent bundle fails the requests that need
    /// it and no others.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn load(options: &Options) -> std::io::Result<Self> {
        let loader = Loader::new(Registry::new(options.models_dir()), Batcher::start(options.cores())?, options);
        let (serving, pinned) = loader.first(options);
        Ok(Self {
            loader,
            max_loaded: options.max_loaded_models,
            serving: ArcSwap::from_pointee(serving),
            pinned: Mutex::new(pinned),
            changes: Mutex::new(()),
        })
    }

    /// What serves now. A call takes it once.
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// Makes a version serve. Blocks while it is loaded.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND` when there is no such version; `MODEL_DAMAGED` when its files are
    /// not what they should be or its first passes fail; `FIELD_INVALID` when it is of
    /// another kind than its name serves as; `STORAGE_FAILED` when its name cannot be
    /// written. The version before then goes on serving.
    pub fn promote(&self, model: &ModelRef) -> Result<Promoted, Error> {
        self.switch(model, |registry| registry.name_production(model))
    }

    /// Makes the version serve that served before. Blocks while it is loaded.
    ///
    /// # Errors
    /// `NO_PREVIOUS_MODEL` when no version served before, and as [`Self::promote`].
    pub fn rollback(&self, name: &ModelId) -> Result<Promoted, Error> {
        let previous = self.loader.registry().previous(name).map_err(|error| refused(&error.into()))?;
        let Some(model) = previous else {
            let message = format!("no version of {name} served before the present one");
            return Err(Error::new(Reason::NoPreviousModel, message).with_field("name"));
        };
        self.switch(&model, |registry| registry.name_previous(name))
    }

    fn switch(
        &self,
        model: &ModelRef,
        make_durable: impl FnOnce(&Registry) -> Result<(), BundleError>,
    ) -> Result<Promoted, Error> {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.serving();
        let previous = self.loader.registry().production(&model.name).ok();
        let serves = before.roles().serves(&model.name);
        // What no call can reach is checked all the same: its name may come to serve later.
        let mut after = self.with(&before, model)?;
        after.check_role(model)?;
        make_durable(self.loader.registry()).map_err(|error| refused(&error.into()))?;
        if serves {
            let old = after.produce(model.clone());
            self.settle(&mut after, old.as_ref());
            self.serving.store(Arc::new(after));
            tracing::info!(%model, previous = previous.as_ref().map(ToString::to_string), "model promoted");
        }
        Ok(Promoted { model: model.clone(), previous: previous.filter(|previous| previous != model), serving: serves })
    }

    /// Lets go of a version that served before, and of the shadow of another.
    fn settle(&self, after: &mut Serving, old: Option<&ModelRef>) {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        // The vectors of collections were made by the encoder or projection before, and their
        // queries must be: it stays until it is unloaded.
        if let Some(old) = old.filter(|old| after.makes_vectors(old)) {
            pinned.insert(old.clone());
        }
        let serving = after.intent().map(|intent| intent.model.model().clone());
        let compared = |shadow: &Arc<Shadow>, serving: ModelRef| {
            (*shadow.model() != serving).then(|| Arc::new(shadow.against(serving)))
        };
        let shadow = match (after.shadow(), serving) {
            (Some(shadow), Ok(serving)) if *shadow.serving() != serving => compared(shadow, serving),
            (shadow, _) => shadow.cloned(),
        };
        after.set_shadow(shadow);
        after.drop_unneeded(&pinned);
    }

    /// Loads a version beside those that serve.
    ///
    /// # Errors
    /// As [`Self::promote`], and `TOO_MANY_MODELS`.
    pub fn load_version(&self, model: &ModelRef) -> Result<(), Error> {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let after = self.with(&self.serving(), model)?;
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).insert(model.clone());
        self.serving.store(Arc::new(after));
        Ok(())
    }

    /// Lets go of a version, and says whether it was in memory.
    ///
    /// # Errors
    /// `MODEL_IN_USE` when an alias names it, or an intent model reads its vectors.
    pub fn unload(&self, model: &ModelRef) -> Result<bool, Error> {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = Serving::clone(&self.serving());
        if let Some(user) = after.user_of(model) {
            let message = format!("{model} cannot be let go: {user}");
            return Err(Error::new(Reason::ModelInUse, message).with_field("model"));
        }
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.remove(model);
        let was_loaded = after.loaded(model).is_some();
        after.drop_unneeded(&pinned);
        self.serving.store(Arc::new(after));
        Ok(was_loaded)
    }

    /// Lets a version see a share of the queries from now on.
    ///
    /// # Errors
    /// `NO_MODEL` when no intent model serves; `FIELD_INVALID` when the name or version
    /// cannot be compared with what serves; and as [`Self::promote`].
    pub fn set_shadow(&self, name: &ModelId, alias: ShadowAlias) -> Result<ShadowReport, Error> {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.serving();
        let serving = served_intents(&before, name)?.clone();
        let model = ModelRef { name: name.clone(), version: alias.version.clone() };
        if model == serving {
            let message = format!("{model} serves already; a shadow is another version");
            return Err(Error::new(Reason::FieldInvalid, message).with_field("set.version"));
        }
        let mut after = self.with(&before, &model)?;
        let Some(Loaded::Intent(intent)) = after.loaded(&model).cloned() else {
            let message = format!("{model} is no intent model");
            return Err(Error::new(Reason::FieldInvalid, message).with_field("set.version"));
        };
        let shadow = Shadow::new(intent, serving, alias.share);
        let registry = self.loader.registry();
        registry.name_shadow(name, Some(alias)).map_err(|error| refused(&error.into()))?;
        let report = shadow.report();
        after.set_shadow(Some(Arc::new(shadow)));
        after.drop_unneeded(&self.pinned.lock().unwrap_or_else(PoisonError::into_inner));
        self.serving.store(Arc::new(after));
        Ok(report)
    }

    /// Ends the shadow, and gives its last report.
    ///
    /// # Errors
    /// As [`Self::set_shadow`].
    pub fn end_shadow(&self, name: &ModelId) -> Result<Option<ShadowReport>, Error> {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = Serving::clone(&self.serving());
        served_intents(&after, name)?;
        self.loader.registry().name_shadow(name, None).map_err(|error| refused(&error.into()))?;
        let report = after.shadow().map(|shadow| shadow.report());
        after.set_shadow(None);
        after.drop_unneeded(&self.pinned.lock().unwrap_or_else(PoisonError::into_inner));
        self.serving.store(Arc::new(after));
        Ok(report)
    }

    /// What the shadow has found, if there is one.
    ///
    /// # Errors
    /// As [`Self::set_shadow`].
    pub fn shadow_report(&self, name: &ModelId) -> Result<Option<ShadowReport>, Error> {
        let serving = self.serving();
        served_intents(&serving, name)?;
        Ok(serving.shadow().map(|shadow| shadow.report()))
    }

    /// What is in memory, and `model` as well.
    fn with(&self, before: &Serving, model: &ModelRef) -> Result<Serving, Error> {
        let mut after = before.clone();
        if before.loaded(model).is_some() {
            return Ok(after);
        }
        let new = self.loader.load(model, before).map_err(|error| refused(&error))?;
        after.add(new);
        if after.len() > self.max_loaded {
            let message =
                format!("{} models are in memory, and max_loaded_models is {}", before.len(), self.max_loaded);
            return Err(Error::new(Reason::TooManyModels, message).with_field("model"));
        }
        Ok(after)
    }
}

/// The intent model that serves under a name.
fn served_intents<'a>(serving: &'a Serving, name: &ModelId) -> Result<&'a ModelRef, Error> {
    let model = serving.intent()?.model.model();
    if model.name == *name {
        return Ok(model);
    }
    let message = format!("the intent model that serves is {}, not {name}", model.name);
    Err(Error::new(Reason::FieldInvalid, message).with_field("name"))
}

/// The catalogue's error for a change that was not made.
fn refused(error: &LoadError) -> Error {
    let reason = match error.bundle() {
        None if error.has_no_eight_bits() => Reason::FieldInvalid,
        Some(BundleError::NotFound { .. } | BundleError::NoProduction { .. }) => Reason::ModelNotFound,
        Some(BundleError::WrongKind { .. } | BundleError::InvalidId(_)) => Reason::FieldInvalid,
        Some(BundleError::Io { .. }) => Reason::StorageFailed,
        _ => Reason::ModelDamaged,
    };
    Error::new(reason, error.to_string()).with_field("model")
}
