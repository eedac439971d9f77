//! Running a plan: the hops below in their order, as one stream of events.
//!
//! There is one core. It writes events into a bounded channel; a streamed query
//! forwards them, a unary query folds them. Nothing is spawned: the core runs
//! while the stream is polled, so dropping the stream drops every call below.

mod account;
mod analyze;
mod budget;
mod generate;
mod merge;
mod retrieve;
mod stream;

use std::sync::Arc;

use tokio::{sync::mpsc, time::Instant};
use tracing::Span;
use trivium_proto::{
    model::v1::{FinishReason, QueryVector},
    router::v1::{Decision, PassageList, RouteResponse},
};
use trivium_service_kit::{Deadline, Error, Reason, telemetry::metrics::Ended};

use self::{
    analyze::{Analysis, Wanted},
    budget::HopKind,
    generate::Writer,
};
use crate::{
    audit::Witness,
    clients::{ModelHost, Retriever},
    decision::decision,
    degrade::{Rung, is_outage, step_down},
    options::{HopOptions, Options},
    policy::{Direct, Legs, Opening, Overrides, Policy, Retrieval, RetrieverAway, Step, open},
    request::{Query, Question},
    trace::{self, Measured},
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
                let deadline = budget::deadline(deadline, HopKind::Analyze, &[], &self.hops);
                let analysis = self.analyze(&question.text, Wanted::Intent, deadline, &mut account).await?;
                let intent = analysis.intent.ok_or_else(analyze::no_intent)?;
                witness.understood(&intent);
                (open.decide(policy, &intent, &wishes), Some(intent))
            }
        };
        trace::decided(&Span::current(), "route", policy, &plan, intent.as_ref());
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

/// One query under way.
struct Run {
    engine: Arc<Engine>,
    policy: Arc<Policy>,
    query: Query,
    deadline: Deadline,
    account: AccountBuilder,
    measured: Measured,
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
        self.measured.ended = match &outcome {
            Ok(()) if self.account.is_degraded() => Ended::Degraded,
            Ok(()) => Ended::Whole,
            // Nobody waits for what the caller gave up.
            Err(error) if error.reason() == Reason::Cancelled => Ended::Abandoned,
            Err(_) => Ended::Failed,
        };
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
        let (mut plan, analysis) = match open(&self.policy, &question.text, *road, overrides) {
            Opening::Settled(plan) => {
                let analysis = match plan.step.needs_vector() {
                    true => self.understand(Wanted::Vector).await?,
                    false => Analysis::default(),
                };
                // A replay brings an intent, which settled nothing.
                (*plan, Analysis { intent: None, ..analysis })
            }
            Opening::Open(open) => {
                // The road is not known before the intent is. Both come out of one call and share its forward.
                let analysis = self.understand(Wanted::Both).await?;
                let plan = match &analysis.intent {
                    Some(intent) => {
                        self.witness.understood(intent);
                        open.decide(&self.policy, intent, &self.query.overrides)
                    }
                    None => open.without_intent(&self.policy, &self.query.overrides),
                };
                (plan, analysis)
            }
        };
        if let Some(error) = &analysis.lost_intent {
            self.degrade(Rung::Intent, error, "");
        }
        if let (Step::Retrieve(retrieval), Some(error)) = (&mut plan.step, &analysis.lost_vector) {
            self.do_without_vector(retrieval, error)?;
        }
        self.measured.road = Some(plan.step.road());
        trace::decided(&self.span, "query", &self.policy, &plan, analysis.intent.as_ref());
        Ok((decision(&self.policy, &plan, analysis.intent), plan.step, analysis.vectors))
    }

    /// Searches by words alone where the vector cannot be had. Whoever asked for the semantic road by name is told
    /// that it is not there.
    fn do_without_vector(&mut self, retrieval: &mut Retrieval, error: &Error) -> Result<(), Error> {
        match (retrieval.legs(), self.query.road) {
            (Legs::Lexical, _) => Ok(()),
            (Legs::Semantic, Some(_)) => Err(error.clone()),
            (Legs::Semantic | Legs::Hybrid, _) => {
                retrieval.searches.iter_mut().for_each(|search| search.legs = Legs::Lexical);
                self.degrade(Rung::Embedding, error, "");
                Ok(())
            }
        }
    }

    /// Asks the model host. A replay takes the intent from its record, and asks for the vector alone.
    async fn understand(&mut self, wanted: Wanted) -> Result<Analysis, Error> {
        let recorded = self.query.past.as_ref().and_then(|past| past.intent.clone());
        let wanted = if recorded.is_some() { Wanted::Vector } else { wanted };
        let later = budget::after(HopKind::Analyze, self.query.answer);
        let deadline = budget::deadline(self.deadline, HopKind::Analyze, later, &self.engine.hops);
        let text = &self.query.question.text;
        let mut analysis = self.engine.understand(text, wanted, deadline, &mut self.account).await?;
        if recorded.is_some() {
            analysis.intent = recorded;
        }
        Ok(analysis)
    }

    async fn retrieve_and_answer(&mut self, retrieval: Retrieval, vectors: Vec<QueryVector>) -> Result<(), Error> {
        let passages = match self.retrieve(&retrieval, vectors).await {
            Ok(passages) => passages,
            Err(error) => return self.answer_without_retriever(retrieval, error).await,
        };
        self.send(Event::Passages(PassageList { passages: passages.clone() })).await?;
        if !self.query.answer {
            return Ok(());
        }
        if passages.is_empty() {
            self.account.finish_reason = FinishReason::NotInPassages;
            return self.send(Event::Text(nothing_found(&retrieval.collections()))).await;
        }
        match self.generate(&passages, Writer::of(retrieval)).await {
            Err(error) if is_outage(error.reason()) => {
                let rung = if self.account.answer_chars == 0 { Rung::Generator } else { Rung::BrokenAnswer };
                self.degrade(rung, &error, "");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Answers without passages, where the policy allows that, an answer is wanted, and the generator has one.
    async fn answer_without_retriever(&mut self, retrieval: Retrieval, error: Error) -> Result<(), Error> {
        let may = self.policy.on_retriever_away() == RetrieverAway::Direct && self.query.road.is_none();
        if !may || !self.query.answer || !is_outage(error.reason()) {
            return Err(error);
        }
        match self.generate(&[], Writer::of(retrieval)).await {
            Ok(()) => {
                self.degrade(Rung::Retriever, &error, "");
                Ok(())
            }
            Err(broken) if self.account.answer_chars > 0 && is_outage(broken.reason()) => {
                self.degrade(Rung::Retriever, &error, "");
                self.degrade(Rung::BrokenAnswer, &broken, "");
                Ok(())
            }
            // What the generator says of itself would only hide what is wrong.
            Err(_) => Err(error),
        }
    }

    async fn answer_directly(&mut self, direct: Direct) -> Result<(), Error> {
        if !self.query.answer {
            return Ok(());
        }
        let writer = Writer { generator: direct.generator, prompt: direct.prompt };
        match (self.generate(&[], writer).await, direct.reply) {
            (Err(error), Some(text)) if error.reason() == Reason::NoGenerator => {
                self.degrade(Rung::FixedText, &error, "");
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

    /// Takes a step down the ladder: flagged in the answer, in the trace and in the counter.
    fn degrade(&mut self, rung: Rung, error: &Error, collection: &str) {
        self.span.record(rung.row().attribute, error.reason().as_str());
        self.account.degraded(step_down(rung, error.reason(), collection));
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
