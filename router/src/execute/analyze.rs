//! The hop that understands the query.

use tokio::time::Instant;
use trivium_proto::model::v1::{AnalyzeRequest, Intent, QueryVector};
use trivium_service_kit::{Deadline, Error, Reason};

use super::{AccountBuilder, Engine, ms_since};
use crate::degrade::is_outage;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Intent,
    Vector,
    Both,
}

/// What came back, and what did not.
#[derive(Default)]
pub(super) struct Analysis {
    /// The intent, where it was asked for and could be had.
    pub intent: Option<Intent>,
    /// Why there is no intent although it was asked for.
    pub lost_intent: Option<Error>,
    /// One vector for each encoder that serves. None where the retriever is to encode the query itself.
    pub vectors: Vec<QueryVector>,
    /// Why the query cannot be encoded.
    pub lost_vector: Option<Error>,
}

/// The fault of a model host that gives no intent when asked for one.
pub(super) fn no_intent() -> Error {
    Error::new(Reason::Internal, "the model host gave no intent when asked for one")
}

impl Analysis {
    /// What is known when the model host says nothing.
    fn lost(wanted: Wanted, error: Error) -> Self {
        Self {
            lost_intent: (wanted != Wanted::Vector).then(|| error.clone()),
            lost_vector: (wanted != Wanted::Intent).then_some(error),
            ..Self::default()
        }
    }
}

impl Engine {
    /// Asks for the intent, the vector, or both, and does without what cannot be had.
    ///
    /// # Errors
    /// When the query itself is refused.
    pub(super) async fn understand(
        &self,
        text: &str,
        wanted: Wanted,
        deadline: Deadline,
        account: &mut AccountBuilder,
    ) -> Result<Analysis, Error> {
        let error = match self.analyze(text, wanted, deadline, account).await {
            Ok(analysis) => return Ok(analysis),
            Err(error) => error,
        };
        match error.reason() {
            // One of the two models does not serve. If it is the intent model, the vector can still be had.
            Reason::NoModel if wanted == Wanted::Both => {
                let vector = Box::pin(self.understand(text, Wanted::Vector, deadline, account)).await?;
                Ok(Analysis { lost_intent: Some(error), ..vector })
            }
            Reason::NoModel => Ok(Analysis::lost(wanted, error)),
            reason if is_outage(reason) => Ok(Analysis::lost(wanted, error)),
            _ => Err(error),
        }
    }

    /// Asks for the intent, the vector, or both in one call.
    pub(super) async fn analyze(
        &self,
        text: &str,
        wanted: Wanted,
        deadline: Deadline,
        account: &mut AccountBuilder,
    ) -> Result<Analysis, Error> {
        let request = AnalyzeRequest {
            text: text.to_owned(),
            intent: wanted != Wanted::Vector,
            vector: wanted != Wanted::Intent,
            // A second stage reads them; from the same forward pass they cost next to nothing.
            token_vectors: wanted != Wanted::Intent,
            ..AnalyzeRequest::default()
        };
        let started = Instant::now();
        let outcome = self.model_host.analyze(request, deadline).await;
        account.took("analyze", ms_since(started));
        let response = outcome?;
        if let Some(timings) = &response.timings {
            account.computed(timings);
        }
        if let Some(intent) = &response.intent {
            account.used("intent", intent.model.clone());
        }
        for vector in &response.vectors {
            account.used("embedder", vector.embedder.clone());
        }
        let lost_intent = (wanted != Wanted::Vector && response.intent.is_none()).then(no_intent);
        Ok(Analysis { intent: response.intent, lost_intent, vectors: response.vectors, lost_vector: None })
    }
}
