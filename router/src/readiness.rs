//! Whether the router may serve: its policy must fit the labels of the intent model.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use trivium_proto::model::v1::{Model, ModelKind};
use trivium_service_kit::{Deadline, Error, Reason, server::HealthHandle};

use crate::{
    execute::Engine,
    policy::{Policy, PolicyError},
};

/// The first pause between two attempts to reach a service.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Whether queries are taken.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    /// Not yet, and what callers are told.
    Waiting(Error),
    /// They are.
    Open,
    /// Never: the policy does not fit the model.
    Refused(PolicyError),
}

impl Gate {
    /// The gate of a router that has not reached its model host yet.
    pub fn closed() -> Self {
        let why = "the router has not reached the model host yet";
        Self::Waiting(Error::new(Reason::ModelHostUnavailable, why).with_retry_after(FIRST_PAUSE * 4))
    }

    /// Lets a query through, or says why not.
    pub fn pass(&self) -> Result<(), Error> {
        match self {
            Self::Open => Ok(()),
            Self::Waiting(error) => Err(error.clone()),
            Self::Refused(error) => {
                Err(Error::new(Reason::NoModel, format!("the policy does not fit the intent model: {error}")))
            }
        }
    }
}

/// The labels of an intent model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Labels {
    /// All of them; `None` when no intent model serves.
    known: Option<Vec<String>>,
    /// The one for queries outside its scope; empty when it has none.
    out_of_scope: String,
}

impl Labels {
    fn of(models: Vec<Model>) -> Self {
        let serving = models.into_iter().find(|model| model.kind() == ModelKind::Intent && model.serving);
        match serving {
            Some(model) => Self { known: Some(model.labels), out_of_scope: model.out_of_scope_label },
            None => Self::default(),
        }
    }

    /// The labels of the model that serves now, which may be another than at the start; those
    /// known so far when the model host does not answer.
    pub async fn refreshed(self, engine: &Engine) -> Self {
        match engine.model_host().list_models(Deadline::after(ATTEMPT)).await {
            Ok(models) => Self::of(models),
            Err(error) => {
                tracing::debug!(%error, "the model host does not tell its models; the labels known so far are used");
                self
            }
        }
    }

    /// Checks a policy against the labels, where there are any to check against.
    pub fn check(&self, policy: &Policy) -> Result<(), PolicyError> {
        match &self.known {
            Some(labels) => policy.check_labels(labels, &self.out_of_scope),
            None => Ok(()),
        }
    }
}

/// Asks the model host for its labels until it answers, checks the policy against
/// them, and opens the gate. Gives the labels, or `None` when the policy is refused.
pub(crate) async fn open(
    engine: &Engine,
    policy: &Policy,
    gate: &watch::Sender<Gate>,
    health: &HealthHandle,
) -> Option<Labels> {
    let labels = labels(engine, gate).await;
    if let Err(error) = labels.check(policy) {
        tracing::error!(%error, "the policy does not fit the intent model");
        gate.send_replace(Gate::Refused(error));
        return None;
    }
    if labels.known.is_none() {
        tracing::warn!(
            "the model host serves no intent model: only queries whose caller chooses the road can be answered"
        );
    }
    health.set(true).await;
    gate.send_replace(Gate::Open);
    Some(labels)
}

async fn labels(engine: &Engine, gate: &watch::Sender<Gate>) -> Labels {
    let mut pause = FIRST_PAUSE;
    loop {
        match engine.model_host().list_models(Deadline::after(ATTEMPT)).await {
            Ok(models) => return Labels::of(models),
            Err(error) => {
                tracing::warn!(%error, "the model host does not tell its models yet");
                gate.send_replace(Gate::Waiting(unavailable(&error, pause)));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn unavailable(cause: &Error, pause: Duration) -> Error {
    let why = format!("the model host does not tell its models yet: {}", cause.message());
    Error::new(Reason::ModelHostUnavailable, why).with_retry_after(pause)
}

/// Warns of collections that the policy names and the retriever does not have. A
/// query that needs one is answered with NOT_FOUND; by then it may exist.
pub(crate) async fn warn_of_missing_collections(engine: &Engine, policy: &Policy) {
    let mut pause = FIRST_PAUSE;
    loop {
        match engine.retriever().list_collections(Deadline::after(ATTEMPT)).await {
            Ok(present) => {
                for collection in policy.collections() {
                    if !present.iter().any(|name| name == collection) {
                        tracing::warn!(collection, "the policy names a collection that does not exist yet");
                    }
                }
                return;
            }
            Err(error) => tracing::debug!(%error, "the retriever does not tell its collections yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
