//! The hop that understands the query.

use tokio::time::Instant;
use trivium_proto::model::v1::{AnalyzeRequest, Intent, QueryVector};
use trivium_service_kit::{Deadline, Error, Reason};

use super::{AccountBuilder, Engine, Hop, ms_since};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Intent,
    Vector,
    Both,
}

/// What came back.
#[derive(Default)]
pub(super) struct Analysis {
    pub intent: Option<Intent>,
    /// One vector for each encoder that serves.
    pub vectors: Vec<QueryVector>,
}

impl Analysis {
    /// The intent, where it was asked for.
    pub fn into_intent(self) -> Result<Intent, Error> {
        self.intent.ok_or_else(|| Error::new(Reason::Internal, "the model host gave no intent when asked for one"))
    }
}

impl Engine {
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
            ..AnalyzeRequest::default()
        };
        let started = Instant::now();
        let response = self.model_host.analyze(request, Hop::new(deadline, self.hops.analyze()).deadline).await?;
        account.took("analyze", ms_since(started));
        if let Some(timings) = &response.timings {
            account.computed(timings);
        }
        if let Some(intent) = &response.intent {
            account.used("intent", intent.model.clone());
        }
        for vector in &response.vectors {
            account.used("embedder", vector.embedder.clone());
        }
        Ok(Analysis { intent: response.intent, vectors: response.vectors })
    }
}
