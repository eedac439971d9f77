//! What the services count: every instrument in one place. Names, units and bounds are those of the contract.
//!
//! Metrics go over OTLP to whatever the standard `OTEL_*` variables name, and on request to a Prometheus endpoint.
//! Services that share a process have a meter provider each, as they have tracers of their own. The values of every
//! label come from closed sets of this code or from the configuration, or are bounded ([`bounded`]): no caller can make
//! them many.

mod bounded;
mod meters;
mod prometheus;
mod state;

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider, NoopMeterProvider, UpDownCounter},
};

use self::bounded::Bounded;
pub(super) use self::meters::Meters;
pub use self::state::{Readings, observe};
use super::names::{Metric, attribute as key, metric};
use crate::{Reason, Service, method::Class};

/// Intents that are counted under their own names.
const MOST_INTENTS: usize = 64;

static INSTALLED: [OnceLock<Instruments>; Service::ALL.len()] = [const { OnceLock::new() }; Service::ALL.len()];
static NOWHERE: LazyLock<Instruments> = LazyLock::new(|| Instruments::new(&NoopMeterProvider::new().meter("trivium")));

/// The instruments of a service. Before [`telemetry::init`](super::init), and in processes without it, they count nothing.
pub fn of(service: Service) -> &'static Instruments {
    INSTALLED[service as usize].get().unwrap_or(&NOWHERE)
}

/// Lets [`of`] give instruments that count. The first call for a service stands.
fn install(service: Service, meter: &Meter, is_read: bool) {
    INSTALLED[service as usize].get_or_init(|| {
        if is_read {
            state::install(service, meter);
        }
        Instruments::new(meter)
    });
}

/// What one service counts.
#[derive(Debug)]
pub struct Instruments {
    server_call: Histogram<f64>,
    client_call: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
    refused: Counter<u64>,
    limit: Gauge<u64>,
    retries: Counter<u64>,
    breaker_changes: Counter<u64>,
    breaker_open: Gauge<u64>,
    decisions: Counter<u64>,
    intents: Counter<u64>,
    intent_labels: Bounded,
    confidence: Histogram<f64>,
    answer: Histogram<f64>,
    degraded: Counter<u64>,
    cache: Counter<u64>,
    audit_lost: Counter<u64>,
    leg: Histogram<f64>,
    commit: Histogram<f64>,
    compaction: Histogram<f64>,
    compacted_rows: Counter<u64>,
    queue_wait: Histogram<f64>,
    texts: Counter<u64>,
    batch_texts: Histogram<u64>,
    batch: Histogram<f64>,
    tokens: Counter<u64>,
    operation: Histogram<f64>,
    token_usage: Histogram<u64>,
    first_token: Histogram<f64>,
}

/// How a query ended, for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With all that it should have.
    Whole,
    /// Without a part.
    Degraded,
    /// With an error.
    Failed,
    /// Its caller left.
    Abandoned,
}

impl Ended {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What became of texts that came for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// They were computed.
    Done,
    /// Their deadline passed while they waited.
    Expired,
    /// The engine failed.
    Failed,
    /// There was no room for them.
    Refused,
}

impl Texts {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// A batch that ran.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The lane that its texts waited in.
    pub lane: &'static str,
    /// Its texts.
    pub texts: usize,
    /// Tokens of its texts.
    pub tokens: usize,
    /// Tokens that fill it up.
    pub padding: usize,
    /// Time of the forward pass and the pooling.
    pub elapsed: Duration,
}

/// Which tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Those that a model read.
    Input,
    /// Those that it wrote.
    Output,
}

impl TokenKind {
    fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// An operation of a model, in the terms of OpenTelemetry's generative AI conventions.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// `chat` or `embeddings`.
    pub name: &'static str,
    /// Who runs the model.
    pub provider: &'a str,
    /// The model, by its configured name.
    pub model: &'a str,
}

impl Operation<'_> {
    fn labels(self) -> Vec<KeyValue> {
        vec![
            KeyValue::new(key::GEN_AI_OPERATION_NAME, self.name),
            KeyValue::new(key::GEN_AI_PROVIDER_NAME, self.provider.to_owned()),
            KeyValue::new(key::GEN_AI_REQUEST_MODEL, self.model.to_owned()),
        ]
    }
}

impl Instruments {
    fn new(meter: &Meter) -> Self {
        let seconds = |made: &Metric| {
            let histogram = meter.f64_histogram(made.name).with_unit(made.unit).with_description(made.description);
            histogram.with_boundaries(made.bounds.to_vec()).build()
        };
        let sizes = |made: &Metric| {
            let histogram = meter.u64_histogram(made.name).with_unit(made.unit).with_description(made.description);
            histogram.with_boundaries(made.bounds.to_vec()).build()
        };
        let counter = |made: &Metric| {
            meter.u64_counter(made.name).with_unit(made.unit).with_description(made.description).build()
        };
        let gauge =
            |made: &Metric| meter.u64_gauge(made.name).with_unit(made.unit).with_description(made.description).build();
        let in_flight = &metric::TRIVIUM_SERVER_IN_FLIGHT;
        let in_flight =
            meter.i64_up_down_counter(in_flight.name).with_unit(in_flight.unit).with_description(in_flight.description);
        Self {
            server_call: seconds(&metric::RPC_SERVER_CALL_DURATION),
            client_call: seconds(&metric::RPC_CLIENT_CALL_DURATION),
            in_flight: in_flight.build(),
            refused: counter(&metric::TRIVIUM_SERVER_REFUSED),
            limit: gauge(&metric::TRIVIUM_SERVER_LIMIT),
            retries: counter(&metric::TRIVIUM_CLIENT_RETRIES),
            breaker_changes: counter(&metric::TRIVIUM_CLIENT_BREAKER_CHANGES),
            breaker_open: gauge(&metric::TRIVIUM_CLIENT_BREAKER_OPEN),
            decisions: counter(&metric::TRIVIUM_ROUTER_DECISIONS),
            intents: counter(&metric::TRIVIUM_ROUTER_INTENTS),
            intent_labels: Bounded::new(MOST_INTENTS),
            confidence: seconds(&metric::TRIVIUM_ROUTER_CONFIDENCE),
            answer: seconds(&metric::TRIVIUM_ROUTER_ANSWER_DURATION),
            degraded: counter(&metric::TRIVIUM_ROUTER_DEGRADED),
            cache: counter(&metric::TRIVIUM_CACHE_LOOKUPS),
            audit_lost: counter(&metric::TRIVIUM_ROUTER_AUDIT_LOST),
            leg: seconds(&metric::DB_CLIENT_OPERATION_DURATION),
            commit: seconds(&metric::TRIVIUM_RETRIEVER_COMMIT_DURATION),
            compaction: seconds(&metric::TRIVIUM_RETRIEVER_COMPACTION_DURATION),
            compacted_rows: counter(&metric::TRIVIUM_RETRIEVER_COMPACTION_ROWS),
            queue_wait: seconds(&metric::TRIVIUM_MODEL_QUEUE_WAIT),
            texts: counter(&metric::TRIVIUM_MODEL_TEXTS),
            batch_texts: sizes(&metric::TRIVIUM_MODEL_BATCH_TEXTS),
            batch: seconds(&metric::TRIVIUM_MODEL_BATCH_DURATION),
            tokens: counter(&metric::TRIVIUM_MODEL_TOKENS),
            operation: seconds(&metric::GEN_AI_CLIENT_OPERATION_DURATION),
            token_usage: sizes(&metric::GEN_AI_CLIENT_TOKEN_USAGE),
            first_token: seconds(&metric::GEN_AI_SERVER_TIME_TO_FIRST_TOKEN),
        }
    }

    /// One call more, or one less, that is worked on.
    pub(crate) fn works_on(&self, method: &'static str, change: i64) {
        self.in_flight.add(change, &rpc(method));
    }

    /// A call that was answered with a gRPC code, streams to their end.
    pub(crate) fn answered(&self, method: &'static str, code: &'static str, elapsed: Duration) {
        self.server_call.record(elapsed.as_secs_f64(), &ended(method, code));
    }

    /// An attempt at a call of another service that ended with a gRPC code.
    pub(crate) fn called(&self, method: &'static str, code: &'static str, elapsed: Duration) {
        self.client_call.record(elapsed.as_secs_f64(), &ended(method, code));
    }

    /// A call that was refused at the door.
    pub fn refused(&self, method: &'static str) {
        self.refused.add(1, &rpc(method));
    }

    /// How many calls the door lets in at once.
    pub fn limited_to(&self, calls: u64) {
        self.limit.record(calls, &[]);
    }

    /// A further attempt at a call, or one that the budget did not allow.
    pub fn retried(&self, method: &'static str, allowed: bool) {
        let [system, method] = rpc(method);
        let outcome = KeyValue::new(key::OUTCOME, if allowed { "sent" } else { "over_budget" });
        self.retries.add(1, &[system, method, outcome]);
    }

    /// A circuit breaker that went into another state.
    pub fn breaker_changed(&self, peer: Service, class: Class, state: &'static str, is_open: bool) {
        let which = [KeyValue::new(key::PEER, peer.name()), KeyValue::new(key::CLASS, class.name())];
        self.breaker_open.record(is_open.into(), &which);
        let [peer, class] = which;
        self.breaker_changes.add(1, &[peer, class, KeyValue::new(key::STATE, state)]);
    }

    /// A decision. `road` and `reason` are names of the policy's own closed sets.
    pub fn decided(&self, road: &'static str, reason: &'static str) {
        self.decisions.add(1, &[KeyValue::new(key::ROAD, road), KeyValue::new(key::REASON, reason)]);
    }

    /// A part that an answer does without, and why.
    pub fn degraded(&self, part: &'static str, reason: Reason) {
        self.degraded.add(1, &[KeyValue::new(key::PART, part), KeyValue::new(key::REASON, reason.as_str())]);
    }

    /// Records that the audit log lost.
    pub fn unrecorded(&self, records: u64) {
        self.audit_lost.add(records, &[]);
    }

    /// A look-up in the cache of that name, found or not.
    pub fn looked_up(&self, cache: &'static str, found: bool) {
        let outcome = if found { "hit" } else { "miss" };
        self.cache.add(1, &[KeyValue::new(key::CACHE, cache), KeyValue::new(key::OUTCOME, outcome)]);
    }

    /// What the intent model said of a query that was decided. `reason` is of the policy's own closed set.
    pub fn understood(&self, intent: &str, confidence: f64, reason: &'static str) {
        let why = KeyValue::new(key::REASON, reason);
        self.confidence.record(confidence, std::slice::from_ref(&why));
        self.intents.add(1, &[KeyValue::new(key::INTENT, self.intent_labels.of(intent)), why]);
    }

    /// A query that ended. `road` is `None` where there was no decision.
    pub fn ended(&self, road: Option<&'static str>, ended: Ended, elapsed: Duration) {
        let labels = [KeyValue::new(key::ROAD, road.unwrap_or("none")), KeyValue::new(key::OUTCOME, ended.name())];
        self.answer.record(elapsed.as_secs_f64(), &labels);
    }

    /// One leg of a search, on an engine of that name; `failed` says why it gave nothing.
    pub fn searched(&self, engine: &'static str, failed: Option<Reason>, elapsed: Duration) {
        let mut labels =
            vec![KeyValue::new(key::DB_SYSTEM_NAME, engine), KeyValue::new(key::DB_OPERATION_NAME, "search")];
        labels.extend(failed.map(|reason| KeyValue::new(key::ERROR_TYPE, reason.as_str())));
        self.leg.record(elapsed.as_secs_f64(), &labels);
    }

    /// Texts that came for a model in a lane of that name, and what became of them.
    pub fn texts(&self, lane: &'static str, became: Texts, texts: usize) {
        let labels = [KeyValue::new(key::LANE, lane), KeyValue::new(key::OUTCOME, became.name())];
        self.texts.add(texts as u64, &labels);
    }

    /// How long a text waited for its batch.
    pub fn waited(&self, lane: &'static str, elapsed: Duration) {
        self.queue_wait.record(elapsed.as_secs_f64(), &[KeyValue::new(key::LANE, lane)]);
    }

    /// A batch that ran.
    pub fn ran(&self, batch: Batch) {
        let lane = KeyValue::new(key::LANE, batch.lane);
        self.batch_texts.record(batch.texts as u64, std::slice::from_ref(&lane));
        self.batch.record(batch.elapsed.as_secs_f64(), std::slice::from_ref(&lane));
        for (kind, tokens) in [("text", batch.tokens), ("padding", batch.padding)] {
            self.tokens.add(tokens as u64, &[lane.clone(), KeyValue::new(key::KIND, kind)]);
        }
    }

    /// An operation of a model that ended; `failed` says why it gave nothing.
    pub fn operated(&self, operation: Operation<'_>, failed: Option<Reason>, elapsed: Duration) {
        let mut labels = operation.labels();
        labels.extend(failed.map(|reason| KeyValue::new(key::ERROR_TYPE, reason.as_str())));
        self.operation.record(elapsed.as_secs_f64(), &labels);
    }

    /// Tokens that an operation read or wrote.
    pub fn used(&self, operation: Operation<'_>, kind: TokenKind, tokens: u64) {
        let mut labels = operation.labels();
        labels.push(KeyValue::new(key::GEN_AI_TOKEN_TYPE, kind.name()));
        self.token_usage.record(tokens, &labels);
    }

    /// The first piece of an answer.
    pub fn began(&self, operation: Operation<'_>, elapsed: Duration) {
        self.first_token.record(elapsed.as_secs_f64(), &operation.labels());
    }

    /// A commit of a collection, published or failed.
    pub fn committed(&self, published: bool, elapsed: Duration) {
        let outcome = if published { "published" } else { "failed" };
        self.commit.record(elapsed.as_secs_f64(), &[KeyValue::new(key::OUTCOME, outcome)]);
    }

    /// A merge of small fragments that rewrote so many rows.
    pub fn compacted(&self, rows: u64, elapsed: Duration) {
        self.compaction.record(elapsed.as_secs_f64(), &[]);
        self.compacted_rows.add(rows, &[]);
    }
}

fn rpc(method: &'static str) -> [KeyValue; 2] {
    [KeyValue::new(key::RPC_SYSTEM_NAME, "grpc"), KeyValue::new(key::RPC_METHOD, method)]
}

fn ended(method: &'static str, code: &'static str) -> [KeyValue; 3] {
    let [system, method] = rpc(method);
    [system, method, KeyValue::new(key::RPC_RESPONSE_STATUS_CODE, code)]
}
