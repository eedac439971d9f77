//! The router's calls, in terms of the contract's messages and the error catalogue.

mod past;

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::watch;
use tracing::Instrument;
use trivium_proto::router::v1::{
    Account, AuditCall, CheckLabelsRequest, CheckLabelsResponse, GetPolicyResponse, QueryOptions, QueryRequest,
    QueryResponse, QueryStreamRequest, RouteRequest, RouteResponse,
};
use trivium_service_kit::{Caller, Deadline, Error, Tenant};

use crate::{
    audit::{Audit, Audits, Call, Draft, Watched, Witness},
    cache::{Asked, Cache, Lookup},
    execute::{Engine, Event, answer, fold},
    policy::{LabelDifference, Policy},
    readiness::Gate,
    request::{ModelLabels, Query, Question},
    trace,
};

/// What serves the calls of all tenants. There is no way to it but through a caller, so that no call can forget whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Tenants {
    shared: Arc<Shared>,
    audits: Audits,
}

impl Tenants {
    /// Serves everybody with the same means, and records for each tenant by itself.
    pub fn new(shared: Shared, audits: Audits) -> Self {
        Self { shared: Arc::new(shared), audits }
    }

    /// What serves the calls of one caller.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for a service that works for nobody, `STORAGE_FAILED` when nothing can be recorded.
    pub fn of(&self, caller: Caller) -> Result<Service, Error> {
        let tenant = caller.tenant()?;
        let audit = self.audits.of(&tenant)?;
        Ok(Service { shared: Arc::clone(&self.shared), caller, tenant, audit })
    }
}

/// What serves the calls of one caller.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    shared: Arc<Shared>,
    caller: Caller,
    tenant: Tenant,
    /// The record of what was decided for the tenant.
    pub audit: Audit,
}

impl std::ops::Deref for Service {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// What all tenants are served with.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The services below.
    pub engine: Arc<Engine>,
    /// The policy that serves. Each query keeps the one that it began with.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The collections that are searched where the policy names none.
    pub collections: Arc<[String]>,
    /// Whether queries are taken.
    pub gate: watch::Receiver<Gate>,
    /// Answers that are given again, each to its tenant.
    pub cache: Cache,
}

impl Service {
    /// The decision alone.
    pub async fn route(&self, request: RouteRequest, deadline: Deadline) -> Result<RouteResponse, Error> {
        let question = Question::try_from(request)?;
        self.gate.borrow().pass()?;
        let span = trace::route(&question);
        let policy = self.policy.load_full();
        let witness = Arc::new(Witness::default());
        let mut draft = self.draft(AuditCall::Route, &question, &QueryOptions::default(), &policy, &witness);
        let outcome = self.engine.route(&policy, question, deadline, &witness).instrument(span.clone()).await;
        match (&outcome, &mut draft) {
            (Ok(response), Some(draft)) => draft.routed(response),
            (Err(error), Some(draft)) => draft.failed(error),
            (_, None) => {}
        }
        if let Err(error) = &outcome {
            trace::failed(&span, error);
        }
        outcome
    }

    /// The answer, whole.
    pub async fn query(&self, request: QueryRequest, deadline: Deadline) -> Result<QueryResponse, Error> {
        let options = request.options.clone();
        fold(self.answer(Query::try_from(request)?, AuditCall::Query, options, deadline)?).await
    }

    /// The answer, event by event.
    pub fn query_stream(
        &self,
        request: QueryStreamRequest,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + Send + use<>, Error> {
        let options = request.options.clone();
        self.answer(Query::try_from(request)?, AuditCall::QueryStream, options, deadline)
    }

    /// Where the labels of an intent model and the serving policy differ. Answered even
    /// while no query is taken: it may be the reason why none is.
    pub fn check_labels(&self, request: CheckLabelsRequest) -> Result<CheckLabelsResponse, Error> {
        let ModelLabels { labels, out_of_scope } = ModelLabels::try_from(request)?;
        let policy = self.policy.load_full();
        let LabelDifference { unmapped, unknown } = policy.compare_labels(&labels, &out_of_scope);
        Ok(CheckLabelsResponse { unmapped, unknown, policy_version: policy.version().to_owned() })
    }

    /// The policy that serves, for those who want to know what another would change. Answered even while no query is
    /// taken, as [`Self::check_labels`] is.
    pub fn get_policy(&self) -> GetPolicyResponse {
        let policy = self.policy.load();
        GetPolicyResponse {
            policy_version: policy.version().to_owned(),
            text: policy.text().to_owned(),
            default_collections: self.collections.to_vec(),
        }
    }

    /// The one place where a query starts.
    fn answer(
        &self,
        query: Query,
        call: AuditCall,
        options: Option<QueryOptions>,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + Send + use<>, Error> {
        self.gate.borrow().pass()?;
        let policy = self.policy.load_full();
        let witness = Arc::new(Witness::default());
        let options = options.unwrap_or_default();
        let draft = self.draft(call, &query.question, &options, &policy, &witness);
        let engine = Arc::clone(&self.engine);
        let fresh = Fresh { engine, policy, query, deadline, witness, tenant: self.tenant.clone() };
        let events = match self.cache.is_on() {
            // The lookup runs as the stream is polled, and belongs to the caller's span as a fresh run does.
            true => stream::once(fresh.or_cached(self.cache.clone(), options).in_current_span()).flatten().boxed(),
            false => fresh.run().boxed(),
        };
        Ok(Watched::new(self.booked(events), draft))
    }

    /// Events whose last has the tokens booked that the language model read and wrote.
    fn booked(&self, events: BoxStream<'static, Result<Event, Error>>) -> BoxStream<'static, Result<Event, Error>> {
        let caller = self.caller.clone();
        let book = move |event: &Result<Event, Error>| {
            if let Ok(Event::Account(account)) = event {
                book(&caller, account);
            }
        };
        events.inspect(book).boxed()
    }

    /// The record of a call that begins, where records are kept.
    fn draft(
        &self,
        call: AuditCall,
        question: &Question,
        options: &QueryOptions,
        policy: &Arc<Policy>,
        witness: &Arc<Witness>,
    ) -> Option<Draft> {
        self.audit.is_on().then(|| {
            let call = Call {
                call,
                query: question.text.clone(),
                request_id: question.request_id.clone(),
                options: options.clone(),
            };
            Draft::new(self.audit.clone(), call, Arc::clone(policy), Arc::clone(witness))
        })
    }
}

/// Books the tokens that a language model read and wrote for an answer.
fn book(caller: &Caller, account: &Account) {
    if let Some(usage) = account.usage.as_ref().filter(|_| !account.cached) {
        caller.used_tokens(u64::from(usage.input_tokens) + u64::from(usage.output_tokens));
    }
}

/// A query that is about to run.
struct Fresh {
    engine: Arc<Engine>,
    policy: Arc<Policy>,
    query: Query,
    deadline: Deadline,
    witness: Arc<Witness>,
    tenant: Tenant,
}

impl Fresh {
    fn run(self) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        let Self { engine, policy, query, deadline, witness, .. } = self;
        answer(engine, policy, query, deadline, witness)
    }

    /// The cached answer if there is one that still holds, else a fresh one.
    async fn or_cached(self, cache: Cache, options: QueryOptions) -> BoxStream<'static, Result<Event, Error>> {
        let asked = Asked {
            tenant: &self.tenant,
            question: &self.query.question,
            options: &options,
            policy: &self.policy,
            deadline: self.deadline,
        };
        match cache.find(&self.engine, asked, &self.witness).await {
            Lookup::Off => self.run().boxed(),
            Lookup::Hit(events) => stream::iter(events.into_iter().map(Ok)).boxed(),
            Lookup::Miss(miss) => {
                let witness = Arc::clone(&self.witness);
                miss.keep(self.run().boxed(), witness).boxed()
            }
        }
    }
}
