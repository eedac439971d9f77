//! Running a plan: the hops below in their order, as one stream of events.
//!
//! There is one core. It writes events into a bounded channel; a streamed query
//! forwards them, a unary query folds them. Nothing is spawned: the core runs
//! while the stream is polled, so dropping the stream drops every call below.

mod account;
mod analyze;
mod generate;
mod merge;
mod retrieve;
mod stream;

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tracing::Span;
use trivium_proto::{
    model::v1::{FinishReason, QueryVector},
    router::v1::{Decision, PassageList, RouteResponse},
};
use trivium_service_kit::{Deadline, Error, Reason};

use self::{
    analyze::{Analysis, Wanted},
    generate::Writer,
};
use crate::{
    audit::Witness,
    clients::{ModelHost, Retriever},
    decision::decision,
    options::{HopOptions, Options},
    policy::{Direct, Opening, Overrides, Policy, Retrieval, Step, open},
    request::{Query, Question},
    trace,
};

pub(crate) use self::account::AccountBuilder;
pub(crate) use self::stream::{Event, answer, fold};

/// The services below, and what each may take.
#[derive(Debug)]
pub(crate) struct Engine {
    model_host: ModelHost,
    retriever: Retriever,
    hops: HopOptions,
}

impl Engine {
    /// Clients for the services below. Nothing is connected yet.
    pub fn connect(options: &Options) -> Result<Self, trivium_service_kit::ConfigError> {
        let model_host = ModelHost::connect(&options.model_host).map_err(|error| error.within("model_host"))?;
        let retriever = Retriever::connect(&options.retriever).map_err(|error| error.within("retriever"))?;
        Ok(Self { model_host, retriever, hops: options.hops.clone() })
    }

    /// The model host, for questions that belong to no query.
    pub fn model_host(&self) -> &ModelHost {
        &self.model_host
    }

    /// The retriever, for questions that belong to no query.
    pub fn retriever(&self) -> &Retriever {
        &self.retriever
    }

    /// The decision alone: one hop, which is asked for the intent alone, or none where a guard matches.
    pub async fn route(
        &self,
        policy: &Policy,
        question: Question,
        deadline: Deadline,
        witness: &Witness,
    ) -> Result<RouteResponse, Error> {
        let mut account = AccountBuilder::new(question.request_id);
        witness.traced(account.trace_id());
        let wishes = Overrides::default();
        let (plan, intent) = match open(policy, &question.text, None, &wishes) {
            Opening::Settled(plan) => (*plan, None),
            Opening::Open(open) => {
                let analysis = self.analyze(&question.text, Wanted::Intent, deadline, &mut account).await?;
                let intent = analysis.into_intent()?;
                witness.understood(&intent);
                (open.decide(policy, &intent, &wishes), Some(intent))
            }
        };
        trace::decided(&Span::current(), &plan, intent.as_ref());
        let account = account.finish();
        Ok(RouteResponse {
            decision: Some(decision(policy, &plan, intent)),
            models: account.models,
            timings_ms: account.timings_ms,
            trace_id: account.trace_id,
            request_id: account.request_id,
        })
    }
}

/// The deadline of one hop.
#[derive(Clone, Copy, Debug)]
struct Hop {
    deadline: Deadline,
    /// Whether the hop's own limit comes before the caller's deadline. Only
    /// then is there time left to do without the hop.
    is_capped: bool,
}

impl Hop {
    fn new(deadline: Deadline, cap: Duration) -> Self {
        let cap = Deadline::after(cap);
        Self { deadline: deadline.min(cap), is_capped: cap < deadline }
    }
}

/// One query under way.
struct Run {
    engine: Arc<Engine>,
    policy: Arc<Policy>,
    query: Query,
    deadline: Deadline,
    account: AccountBuilder,
    /// What the audit log hears of the run besides its events.
    witness: Arc<Witness>,
    events: mpsc::Sender<Result<Event, Error>>,
    span: Span,
}

impl Run {
    /// Runs the query to its end, and sends its error when it has one.
    async fn run(mut self) {
        let outcome = self.take_the_road().await;
        trace::finished(&self.span, &self.account, outcome.as_ref().err());
        let last = match outcome {
            Ok(()) => Ok(Event::Account(self.account.finish())),
            Err(error) => Err(error),
        };
        // The receiver is polled together with this future, so it is gone only when nobody waits any more.
        let _ = self.events.send(last).await;
    }

    async fn take_the_road(&mut self) -> Result<(), Error> {
        let (decision, step, vectors) = self.decide().await?;
        self.send(Event::Decision(decision)).await?;
        match step {
            Step::Retrieve(retrieval) => self.retrieve_and_answer(retrieval, vectors).await,
            Step::Direct(direct) => self.answer_directly(direct).await,
            Step::Reply(text) => self.reply(text).await,
        }
    }

    async fn decide(&mut self) -> Result<(Decision, Step, Vec<QueryVector>), Error> {
        let Query { question, road, overrides, .. } = &self.query;
        let (plan, intent, vectors) = match open(&self.policy, &question.text, *road, overrides) {
            Opening::Settled(plan) => {
                let vectors = match plan.step.needs_vector() {
                    true => self.understand(Wanted::Vector).await?.vectors,
                    false => Vec::new(),
                };
                (*plan, None, vectors)
            }
            Opening::Open(open) => {
                // The road is not known before the intent is. Both come out of one call and share its forward.
                let mut analysis = self.understand(Wanted::Both).await?;
                let vectors = std::mem::take(&mut analysis.vectors);
                let intent = analysis.into_intent()?;
                self.witness.understood(&intent);
                (open.decide(&self.policy, &intent, &self.query.overrides), Some(intent), vectors)
            }
        };
        trace::decided(&self.span, &plan, intent.as_ref());
        Ok((decision(&self.policy, &plan, intent), plan.step, vectors))
    }

    /// Asks the model host. A replay takes the intent from its record, and asks for the vector alone.
    async fn understand(&mut self, wanted: Wanted) -> Result<Analysis, Error> {
        let recorded = self.query.past.as_ref().and_then(|past| past.intent.clone());
        let wanted = if recorded.is_some() { Wanted::Vector } else { wanted };
        let text = &self.query.question.text;
        let mut analysis = self.engine.analyze(text, wanted, self.deadline, &mut self.account).await?;
        if recorded.is_some() {
            analysis.intent = recorded;
        }
        Ok(analysis)
    }

    async fn retrieve_and_answer(&mut self, retrieval: Retrieval, vectors: Vec<QueryVector>) -> Result<(), Error> {
        let passages = self.retrieve(&retrieval, vectors).await?;
        self.send(Event::Passages(PassageList { passages: passages.clone() })).await?;
        if !self.query.answer {
            return Ok(());
        }
        if passages.is_empty() {
            self.account.finish_reason = FinishReason::NotInPassages;
            return self.send(Event::Text(nothing_found(&retrieval.collections()))).await;
        }
        let hop = Hop::new(self.deadline, self.engine.hops.generate());
        let Retrieval { generator, prompt, .. } = retrieval;
        match self.generate(&passages, Writer { generator, prompt }, hop).await {
            Err(error) if can_do_without(&error, hop) => {
                tracing::warn!(reason = error.reason().as_str(), "the generator failed: passages without an answer");
                let detail = match self.account.answer_chars {
                    0 => "the passages stand without an answer",
                    _ => "the answer breaks off; the passages are complete",
                };
                self.account.degrade("generator", error.reason(), detail);
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn answer_directly(&mut self, direct: Direct) -> Result<(), Error> {
        if !self.query.answer {
            return Ok(());
        }
        let hop = Hop::new(self.deadline, self.engine.hops.generate());
        let writer = Writer { generator: direct.generator, prompt: direct.prompt };
        match (self.generate(&[], writer, hop).await, direct.reply) {
            (Err(error), Some(text)) if error.reason() == Reason::NoGenerator => {
                self.account.degrade("generator", error.reason(), "the policy's fixed text stands in for an answer");
                self.send(Event::Text(text)).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn reply(&mut self, text: String) -> Result<(), Error> {
        if !self.query.answer {
            return Ok(());
        }
        self.account.finish_reason = FinishReason::Stop;
        self.send(Event::Text(text)).await
    }

    /// Hands an event on, and waits while the caller is behind.
    async fn send(&mut self, event: Event) -> Result<(), Error> {
        if let Event::Text(text) = &event {
            self.account.answered(text);
        }
        let gone = |_| Error::new(Reason::Cancelled, "the caller went away");
        self.events.send(Ok(event)).await.map_err(gone)
    }
}

/// Whether the passages are worth having without an answer: the generator could
/// not be had, and the caller still has time.
fn can_do_without(error: &Error, hop: Hop) -> bool {
    match error.reason() {
        Reason::ModelHostUnavailable | Reason::GeneratorFailed | Reason::Overloaded | Reason::ShuttingDown => true,
        Reason::DeadlineExceeded => hop.is_capped,
        _ => false,
    }
}

/// What is said when no passage was found. No generator is asked: without
/// passages it could only make something up.
fn nothing_found(collections: &[String]) -> String {
    match collections {
        [one] => format!("I found no passage about this in the collection {one}."),
        several => format!("I found no passage about this in the collections {}.", several.join(", ")),
    }
}

/// Milliseconds since a moment.
fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1_000.0
}
