//! What the services count: every instrument, by name, in one place.
//!
//! Metrics go over OTLP to whatever the standard `OTEL_*` variables name, and on request to a Prometheus endpoint.
//! Services that share a process have a meter provider each, as they have tracers of their own. The values of every
//! label come from closed sets of this code, never from a caller.

mod meters;
mod prometheus;

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider, NoopMeterProvider, UpDownCounter},
};

pub(super) use self::meters::Meters;
use crate::{Reason, Service, method::Class};

/// The names of the instruments. Those under `rpc.` are OpenTelemetry's RPC conventions.
pub mod name {
    /// How long a server took for a call, streams to their end, in seconds.
    pub const SERVER_CALL: &str = "rpc.server.call.duration";
    /// How long one attempt at a call of another service took, in seconds.
    pub const CLIENT_CALL: &str = "rpc.client.call.duration";
    /// Calls that a server works on now.
    pub const IN_FLIGHT: &str = "trivium.server.in_flight";
    /// Calls that a server refused because it has enough to do.
    pub const REFUSED: &str = "trivium.server.refused";
    /// Calls that a server lets in at once, as it has measured.
    pub const LIMIT: &str = "trivium.server.limit";
    /// Second and third attempts at calls of another service, and those that the budget did not allow.
    pub const RETRIES: &str = "trivium.client.retries";
    /// Changes of the circuit breakers.
    pub const BREAKER_CHANGES: &str = "trivium.client.breaker.changes";
    /// 1 while a circuit breaker lets no call through but its probes, else 0.
    pub const BREAKER_OPEN: &str = "trivium.client.breaker.open";
    /// Decisions of the router.
    pub const DECISIONS: &str = "trivium.router.decisions";
    /// Parts that answers did without.
    pub const DEGRADED: &str = "trivium.router.degraded";
    /// Look-ups in a cache.
    pub const CACHE: &str = "trivium.cache.lookups";
    /// Records that the router's audit log lost.
    pub const AUDIT_LOST: &str = "trivium.router.audit.lost";

    /// How long a commit of a collection took, from its first request to its publication, in seconds.
    pub const COMMIT: &str = "trivium.retriever.commit.duration";
    /// How long a merge of a table's small fragments took, in seconds. Writes wait for it.
    pub const COMPACTION: &str = "trivium.retriever.compaction.duration";
    /// Rows that merges of fragments rewrote.
    pub const COMPACTED_ROWS: &str = "trivium.retriever.compaction.rows";

    /// Every name.
    pub const ALL: [&str; 15] = [
        SERVER_CALL,
        CLIENT_CALL,
        IN_FLIGHT,
        REFUSED,
        LIMIT,
        RETRIES,
        BREAKER_CHANGES,
        BREAKER_OPEN,
        DECISIONS,
        DEGRADED,
        CACHE,
        AUDIT_LOST,
        COMMIT,
        COMPACTION,
        COMPACTED_ROWS,
    ];
}

/// Bounds of the buckets of a call's duration, in seconds (OpenTelemetry's RPC conventions).
const CALL_SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

static INSTALLED: [OnceLock<Instruments>; Service::ALL.len()] = [const { OnceLock::new() }; Service::ALL.len()];
static NOWHERE: LazyLock<Instruments> = LazyLock::new(|| Instruments::new(&NoopMeterProvider::new().meter("trivium")));

/// The instruments of a service. Before [`telemetry::init`](super::init), and in processes without it, they count nothing.
pub fn of(service: Service) -> &'static Instruments {
    INSTALLED[service as usize].get().unwrap_or(&NOWHERE)
}

/// Lets [`of`] give instruments that count. The first call for a service stands.
fn install(service: Service, meter: &Meter) {
    INSTALLED[service as usize].get_or_init(|| Instruments::new(meter));
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
    degraded: Counter<u64>,
    cache: Counter<u64>,
    audit_lost: Counter<u64>,
    commit: Histogram<f64>,
    compaction: Histogram<f64>,
    compacted_rows: Counter<u64>,
}

impl Instruments {
    fn new(meter: &Meter) -> Self {
        let duration = |name, description| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
            histogram.with_boundaries(CALL_SECONDS.to_vec()).build()
        };
        let counter =
            |name, unit, description| meter.u64_counter(name).with_unit(unit).with_description(description).build();
        let gauge =
            |name, unit, description| meter.u64_gauge(name).with_unit(unit).with_description(description).build();
        let in_flight = meter.i64_up_down_counter(name::IN_FLIGHT).with_unit("{call}");
        Self {
            server_call: duration(name::SERVER_CALL, "Duration of calls that the service answered"),
            client_call: duration(name::CLIENT_CALL, "Duration of each attempt at a call of another service"),
            in_flight: in_flight.with_description("Calls that the service works on").build(),
            refused: counter(name::REFUSED, "{call}", "Calls refused because the service has enough to do"),
            limit: gauge(name::LIMIT, "{call}", "Calls that are let in at once, as measured"),
            retries: counter(name::RETRIES, "{attempt}", "Further attempts at calls of another service"),
            breaker_changes: counter(name::BREAKER_CHANGES, "{change}", "Changes of circuit breakers"),
            breaker_open: gauge(name::BREAKER_OPEN, "1", "Whether a circuit breaker is open"),
            decisions: counter(name::DECISIONS, "{decision}", "Decisions of the router"),
            degraded: counter(name::DEGRADED, "{answer}", "Parts that answers did without"),
            cache: counter(name::CACHE, "{lookup}", "Look-ups in a cache"),
            commit: duration(name::COMMIT, "Duration of commits, from the first request to the publication"),
            compaction: duration(name::COMPACTION, "Duration of merges of small fragments"),
            compacted_rows: counter(name::COMPACTED_ROWS, "{row}", "Rows that merges of fragments rewrote"),
            audit_lost: counter(name::AUDIT_LOST, "{record}", "Records that the audit log lost"),
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
        let outcome = KeyValue::new("outcome", if allowed { "sent" } else { "over_budget" });
        self.retries.add(1, &[system, method, outcome]);
    }

    /// A circuit breaker that went into another state.
    pub fn breaker_changed(&self, peer: Service, class: Class, state: &'static str, is_open: bool) {
        let which = [KeyValue::new("peer", peer.name()), KeyValue::new("class", class.name())];
        self.breaker_open.record(is_open.into(), &which);
        let [peer, class] = which;
        self.breaker_changes.add(1, &[peer, class, KeyValue::new("state", state)]);
    }

    /// A decision. `road` and `reason` are names of the policy's own closed sets.
    pub fn decided(&self, road: &'static str, reason: &'static str) {
        self.decisions.add(1, &[KeyValue::new("road", road), KeyValue::new("reason", reason)]);
    }

    /// A part that an answer does without, and why.
    pub fn degraded(&self, part: &'static str, reason: Reason) {
        self.degraded.add(1, &[KeyValue::new("part", part), KeyValue::new("reason", reason.as_str())]);
    }

    /// Records that the audit log lost.
    pub fn unrecorded(&self, records: u64) {
        self.audit_lost.add(records, &[]);
    }

    /// A look-up in the cache of that name, found or not.
    pub fn looked_up(&self, cache: &'static str, found: bool) {
        let outcome = if found { "hit" } else { "miss" };
        self.cache.add(1, &[KeyValue::new("cache", cache), KeyValue::new("outcome", outcome)]);
    }

    /// A commit of a collection, published or failed.
    pub fn committed(&self, published: bool, elapsed: Duration) {
        let outcome = if published { "published" } else { "failed" };
        self.commit.record(elapsed.as_secs_f64(), &[KeyValue::new("outcome", outcome)]);
    }

    /// A merge of small fragments that rewrote so many rows.
    pub fn compacted(&self, rows: u64, elapsed: Duration) {
        self.compaction.record(elapsed.as_secs_f64(), &[]);
        self.compacted_rows.add(rows, &[]);
    }
}

fn rpc(method: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", method)]
}

fn ended(method: &'static str, code: &'static str) -> [KeyValue; 3] {
    let [system, method] = rpc(method);
    [system, method, KeyValue::new("rpc.response.status_code", code)]
}
