//! The router's calls, in terms of the contract's messages and the error catalogue.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::Stream;
use tokio::sync::watch;
use tracing::Instrument;
use trivium_proto::router::v1::{
    CheckLabelsRequest, CheckLabelsResponse, QueryRequest, QueryResponse, QueryStreamRequest, RouteRequest,
    RouteResponse,
};
use trivium_service_kit::{Deadline, Error};

use crate::{
    execute::{Engine, Event, answer, fold},
    policy::{LabelDifference, Policy},
    readiness::Gate,
    request::{ModelLabels, Query, Question},
    trace,
};

/// What serves the calls.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// The services below.
    pub engine: Arc<Engine>,
    /// The policy that serves. Each query keeps the one that it began with.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Whether queries are taken.
    pub gate: watch::Receiver<Gate>,
}

impl Service {
    /// The decision alone.
    pub async fn route(&self, request: RouteRequest, deadline: Deadline) -> Result<RouteResponse, Error> {
        let question = Question::try_from(request)?;
        self.gate.borrow().pass()?;
        let span = trace::route(&question);
        let policy = self.policy.load_full();
        let outcome = self.engine.route(&policy, question, deadline).instrument(span.clone()).await;
        if let Err(error) = &outcome {
            trace::failed(&span, error);
        }
        outcome
    }

    /// The answer, whole.
    pub async fn query(&self, request: QueryRequest, deadline: Deadline) -> Result<QueryResponse, Error> {
        fold(self.answer(Query::try_from(request)?, deadline)?).await
    }

    /// The answer, event by event.
    pub fn query_stream(
        &self,
        request: QueryStreamRequest,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + Send + use<>, Error> {
        self.answer(Query::try_from(request)?, deadline)
    }

    /// Where the labels of an intent model and the serving policy differ. Answered even
    /// while no query is taken: it may be the reason why none is.
    pub fn check_labels(&self, request: CheckLabelsRequest) -> Result<CheckLabelsResponse, Error> {
        let ModelLabels { labels, out_of_scope } = ModelLabels::try_from(request)?;
        let policy = self.policy.load_full();
        let LabelDifference { unmapped, unknown } = policy.compare_labels(&labels, &out_of_scope);
        Ok(CheckLabelsResponse { unmapped, unknown, policy_version: policy.version().to_owned() })
    }

    fn answer(
        &self,
        query: Query,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + Send + use<>, Error> {
        self.gate.borrow().pass()?;
        Ok(answer(Arc::clone(&self.engine), self.policy.load_full(), query, deadline))
    }
}
