//! The calls that are measured, and the loop that makes them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinSet;
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{Leg, SearchRequest},
    router::v1::{AnswerMode, CacheMode, QueryOptions, QueryRequest, Road, RouteRequest},
};
use trivium_service_kit::{Error, Reason};

use super::{distinct::distinct, latency::Latencies};
use crate::clients::{Retriever, Router};

/// Passages that each search and each query asks for.
const K: u32 = 10;

/// When a refused call that was given no time is made again.
const SOON: Duration = Duration::from_millis(100);

/// The hop of the forward pass.
const FORWARD: &str = "forward";

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The decision alone.
    Route,
    /// Full-text retrieval.
    SearchLexical,
    /// Vector retrieval, the query's vector included.
    SearchSemantic,
    /// Both, fused.
    SearchHybrid,
    /// Whatever the policy decides, without an answer.
    QueryRouted,
    /// Passages of the lexical road.
    QueryLexical,
    /// Passages of the semantic road.
    QuerySemantic,
    /// Passages of the hybrid road.
    QueryWithoutAnswer,
    /// Passages of the hybrid road, and an answer.
    Query,
}

impl Call {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Route,
        Self::SearchLexical,
        Self::SearchSemantic,
        Self::SearchHybrid,
        Self::QueryRouted,
        Self::QueryLexical,
        Self::QuerySemantic,
        Self::QueryWithoutAnswer,
        Self::Query,
    ];

    /// The searches, which the retriever answers alone.
    pub const SEARCHES: [Self; 3] = [Self::SearchLexical, Self::SearchSemantic, Self::SearchHybrid];

    /// The kind of that name.
    ///
    /// # Errors
    /// Which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|call| call.name() == name).ok_or_else(|| format!("must be one of {}", known()))
    }

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::SearchLexical => "search_lexical",
            Self::SearchSemantic => "search_semantic",
            Self::SearchHybrid => "search_hybrid",
            Self::QueryRouted => "query_routed",
            Self::QueryLexical => "query_lexical",
            Self::QuerySemantic => "query_semantic",
            Self::QueryWithoutAnswer => "query_no_answer",
            Self::Query => "query",
        }
    }
}

/// What the calls go to, and what they ask.
#[derive(Debug, Clone)]
pub struct Target {
    /// The router.
    pub router: Router,
    /// The retriever.
    pub retriever: Retriever,
    /// The collection.
    pub collection: String,
    /// The queries, taken in turns; at least one.
    pub queries: Vec<String>,
    /// The vector of each query, in their order; empty for the retriever to have them made.
    pub vectors: Vec<QueryVector>,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The kind of call.
    pub name: &'static str,
    /// Clients that called at the same time, each one call after the other.
    pub clients: usize,
    /// Median latency.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Calls per second of all clients together.
    pub per_second: f64,
    /// Calls that were measured.
    pub calls: usize,
    /// How often a call was refused and made again after the time that the refusal named; its latency has all of it.
    pub refused: usize,
    /// Median of the forward pass that the service itself reports, where it does. Of two that ran side by side it is the
    /// longer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_p50_ms: Option<f64>,
    /// Median of what a call took beyond its own forward pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead_p50_ms: Option<f64>,
    /// Median of each hop that the services report, in milliseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hops_p50_ms: BTreeMap<String, f64>,
}

/// Milliseconds by hop, as an answer reports them.
pub type Hops = HashMap<String, f64>;

impl Target {
    /// Makes `calls` calls of one kind from `clients` clients, and measures each.
    ///
    /// # Errors
    /// The first call that fails: figures of failing calls mean nothing.
    pub async fn measure(&self, call: Call, clients: usize, calls: usize) -> Result<Row, Error> {
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(self.clone().client(call, next.clone(), calls));
        }
        let mut all = Measured::default();
        while let Some(client) = running.join_next().await {
            let measured = client
                .map_err(|error| Error::new(Reason::Internal, format!("a client ended abnormally: {error}")))??;
            all.latencies.extend(measured.latencies);
            all.refused += measured.refused;
            all.hops.extend(measured.hops);
        }
        Ok(all.row(call, clients, started.elapsed().as_secs_f64()))
    }

    /// One client: calls until all are made.
    async fn client(self, call: Call, next: Arc<AtomicUsize>, calls: usize) -> Result<Measured, Error> {
        let mut measured = Measured::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= calls {
                return Ok(measured);
            }
            let started = Instant::now();
            let hops = loop {
                match self.call(call, number).await {
                    Err(error) if is_refusal(&error) => {
                        measured.refused += 1;
                        tokio::time::sleep(error.retry_after().unwrap_or(SOON)).await;
                    }
                    outcome => break outcome?,
                }
            };
            let elapsed = started.elapsed();
            measured.latencies.push(elapsed);
            measured.hops.push((elapsed.as_secs_f64() * 1_000.0, hops));
        }
    }

    /// Makes the call of that number, with the query whose turn it is. Gives the time of each hop, where the answer says
    /// it.
    ///
    /// # Errors
    /// What the service answered.
    pub async fn call(&self, call: Call, number: usize) -> Result<Hops, Error> {
        let place = number % self.queries.len();
        let query = distinct(&self.queries[place]);
        match call {
            Call::Route => {
                let answer = self.router.route(RouteRequest { query, ..RouteRequest::default() }).await?;
                Ok(answer.timings_ms)
            }
            Call::SearchLexical => self.search(place, &[Leg::Lexical]).await,
            Call::SearchSemantic => self.search(place, &[Leg::Semantic]).await,
            Call::SearchHybrid => self.search(place, &[Leg::Lexical, Leg::Semantic]).await,
            Call::QueryRouted => self.query(query, Road::Unspecified, AnswerMode::None).await,
            Call::QueryLexical => self.query(query, Road::Lexical, AnswerMode::None).await,
            Call::QuerySemantic => self.query(query, Road::Semantic, AnswerMode::None).await,
            Call::QueryWithoutAnswer => self.query(query, Road::Hybrid, AnswerMode::None).await,
            // The road is fixed to the costliest, so that the figures do not depend on the intents of the queries.
            Call::Query => self.query(query, Road::Hybrid, AnswerMode::Generate).await,
        }
    }

    async fn search(&self, place: usize, legs: &[Leg]) -> Result<Hops, Error> {
        let request = SearchRequest {
            collection: self.collection.clone(),
            query: self.queries[place].clone(),
            vectors: self.vectors.get(place).cloned().into_iter().collect(),
            legs: legs.iter().map(|leg| (*leg).into()).collect(),
            k: Some(K),
            ..SearchRequest::default()
        };
        self.retriever.search(request).await.map(|_| Hops::new())
    }

    async fn query(&self, query: String, road: Road, mode: AnswerMode) -> Result<Hops, Error> {
        let options = QueryOptions {
            collections: vec![self.collection.clone()],
            road: road.into(),
            k: Some(K),
            answer_mode: mode.into(),
            cache: CacheMode::Bypass.into(),
            ..QueryOptions::default()
        };
        let request = QueryRequest { query, options: Some(options), ..QueryRequest::default() };
        let answer = self.router.query(request).await?;
        Ok(answer.account.map(|account| account.timings_ms).unwrap_or_default())
    }
}

/// Whether a server refused a call because it has enough to do.
pub fn is_refusal(error: &Error) -> bool {
    error.reason() == Reason::Overloaded
}

#[derive(Debug, Default)]
struct Measured {
    latencies: Latencies,
    refused: usize,
    /// The latency of each call, and its hops.
    hops: Vec<(f64, Hops)>,
}

impl Measured {
    fn row(self, call: Call, clients: usize, seconds: f64) -> Row {
        let hops_p50_ms = self.hops_p50_ms();
        let beyond = self.hops.iter().filter_map(|(elapsed, hops)| Some(elapsed - hops.get(FORWARD)?));
        Row {
            name: call.name(),
            clients,
            p50_ms: self.latencies.percentile_ms(0.5),
            p95_ms: self.latencies.percentile_ms(0.95),
            p99_ms: self.latencies.percentile_ms(0.99),
            per_second: if seconds > 0.0 { self.latencies.len() as f64 / seconds } else { 0.0 },
            calls: self.latencies.len(),
            refused: self.refused,
            forward_p50_ms: hops_p50_ms.get(FORWARD).copied(),
            overhead_p50_ms: median(beyond.collect()),
            hops_p50_ms,
        }
    }

    fn hops_p50_ms(&self) -> BTreeMap<String, f64> {
        let mut hops: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
        for (hop, ms) in self.hops.iter().flat_map(|(_, hops)| hops) {
            hops.entry(hop).or_default().push(*ms);
        }
        hops.into_iter().filter_map(|(hop, ms)| Some((hop.clone(), median(ms)?))).collect()
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_row_has_the_median_of_each_hop_and_of_what_lies_beyond_the_forward_pass() {
        let mut measured = Measured::default();
        for (elapsed, forward) in [(10.0, 4.0), (20.0, 5.0), (30.0, 29.0)] {
            measured.latencies.push(Duration::from_secs_f64(elapsed / 1_000.0));
            measured.hops.push((elapsed, [("forward".to_owned(), forward), ("total".to_owned(), elapsed)].into()));
        }
        let row = measured.row(Call::Route, 1, 0.5);
        assert_eq!((row.name, row.calls, row.per_second), ("route", 3, 6.0));
        assert_eq!((row.forward_p50_ms, row.overhead_p50_ms), (Some(5.0), Some(6.0)));
        assert_eq!(row.hops_p50_ms, [("forward".to_owned(), 5.0), ("total".to_owned(), 20.0)].into());
        let row = Measured::default().row(Call::SearchLexical, 1, 0.5);
        assert_eq!((row.forward_p50_ms, row.overhead_p50_ms), (None, None));
        let json = serde_json::to_value(&row).expect("JSON");
        assert!(json.get("hops_p50_ms").is_none() && json.get("forward_p50_ms").is_none(), "{json}");
    }
}
