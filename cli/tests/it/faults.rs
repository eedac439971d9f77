//! The table of faults: each hop of a query, broken in each way, with real processes and a proxy between them.
//!
//! What a caller gets must come in time, and what it lacks must be flagged. `cargo test ... faults -- --nocapture` prints
//! the table.

pub mod proxy;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use trivium_proto::{
    retriever::v1::{SearchRequest, retriever_service_client::RetrieverServiceClient},
    router::v1::{AnswerMode, QueryOptions, QueryRequest, Road, router_service_client::RouterServiceClient},
};
use trivium_service_kit::{ClientOptions, Deadline, Error, GrpcChannel, Service};

use self::proxy::{Fault, Proxy};
use crate::process::{Running, run, trivium};

/// The deadline of every call.
const DEADLINE: Duration = Duration::from_millis(1_500);

/// What a call may take beyond its deadline before the test fails: that of the services is 50 ms, the rest is for a
/// machine that is busy with other tests. The table shows the time itself.
const SLACK: Duration = Duration::from_millis(550);

const FAULTS: [Fault; 5] = [
    Fault::Down,
    Fault::Hangs,
    Fault::Garbage,
    Fault::CutAfter(120),
    // Late, and in time: nothing is missing.
    Fault::Slow(Duration::from_millis(40)),
];

/// A hop of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Analyze,
    Search,
    Generate,
    Embed,
}

/// What a caller got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// An answer, with each part that it lacks and why.
    Answer(Vec<(String, String)>),
    /// The reason of an error.
    Error(&'static str),
}

/// The three services, each behind a proxy of its own for each of its callers.
struct System {
    router_to_model_host: Proxy,
    router_to_retriever: Proxy,
    retriever_to_model_host: Proxy,
    router: RouterServiceClient<GrpcChannel>,
    retriever: RetrieverServiceClient<GrpcChannel>,
    _processes: [Running; 3],
}

impl System {
    async fn start(folder: &Path) -> Self {
        let any = ["--addr", "127.0.0.1:0"];
        let model_host = started(trivium(&[&["serve", "model-host"][..], &any].concat())).await;
        let router_to_model_host = Proxy::to(model_host.addr("model-host")).await;
        let retriever_to_model_host = Proxy::to(model_host.addr("model-host")).await;

        let mut command = trivium(&[&["serve", "retriever"][..], &any].concat());
        command.arg("--data").arg(folder.join("data"));
        command.env("TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT", retriever_to_model_host.url());
        let retriever = started(command).await;
        let router_to_retriever = Proxy::to(retriever.addr("retriever")).await;
        ingest(folder, &retriever).await;

        let routes = folder.join("routes.toml");
        let text = "version = 1\n[default]\nroute = \"hybrid\"\n[out_of_scope]\nroute = \"hybrid\"\n";
        fs_err::write(&routes, text).expect("written");
        let mut command = trivium(&[&["serve", "router"][..], &any].concat());
        command.env("TRIVIUM_ROUTER__MODEL_HOST__ENDPOINT", router_to_model_host.url());
        command.env("TRIVIUM_ROUTER__RETRIEVER__ENDPOINT", router_to_retriever.url());
        command.env("TRIVIUM_ROUTER__ROUTES_FILE", &routes);
        let router = started(command).await;

        Self {
            router: RouterServiceClient::new(channel(Service::Router, router.addr("router"))),
            retriever: RetrieverServiceClient::new(channel(Service::Retriever, retriever.addr("retriever"))),
            router_to_model_host,
            router_to_retriever,
            retriever_to_model_host,
            _processes: [router, retriever, model_host],
        }
    }

    fn proxy(&self, hop: Hop) -> &Proxy {
        match hop {
            Hop::Analyze | Hop::Generate => &self.router_to_model_host,
            Hop::Search => &self.router_to_retriever,
            Hop::Embed => &self.retriever_to_model_host,
        }
    }

    /// Makes the call in which the hop takes part, and no other hop of the same proxy.
    async fn call(&self, hop: Hop) -> Got {
        let outcome = match hop {
            Hop::Analyze => self.query(Road::Unspecified, AnswerMode::None).await,
            Hop::Search => self.query(Road::Lexical, AnswerMode::None).await,
            Hop::Generate => self.query(Road::Lexical, AnswerMode::Generate).await,
            Hop::Embed => self.search().await,
        };
        match outcome {
            Ok(flags) => Got::Answer(flags),
            Err(error) => Got::Error(error.reason().as_str()),
        }
    }

    async fn query(&self, road: Road, mode: AnswerMode) -> Result<Vec<(String, String)>, Error> {
        let options = QueryOptions { road: road.into(), answer_mode: mode.into(), ..QueryOptions::default() };
        let request =
            QueryRequest { query: "How are keys rotated?".into(), options: Some(options), ..Default::default() };
        let response = self.router.clone().query(in_time(request)).await?.into_inner();
        assert!(!response.passages.is_empty(), "an answer has passages: {response:?}");
        let degraded = response.account.expect("an account").degraded;
        let lacks_answer = mode == AnswerMode::Generate && response.answer.is_empty();
        assert!(!lacks_answer || !degraded.is_empty(), "there is no answer, and nothing says why");
        Ok(degraded.into_iter().map(|flag| (flag.part, flag.reason)).collect())
    }

    async fn search(&self) -> Result<Vec<(String, String)>, Error> {
        let query = "How are keys rotated?".to_owned();
        let request =
            SearchRequest { collection: "docs".into(), query, allow_partial: true, ..SearchRequest::default() };
        let response = self.retriever.clone().search(in_time(request)).await?.into_inner();
        assert!(!response.hits.is_empty(), "a search finds something: {response:?}");
        let missing = response.legs.into_iter().filter(|leg| leg.missing);
        Ok(missing.map(|leg| (leg.leg().as_str_name().to_owned(), leg.reason)).collect())
    }

    /// Waits until the hop works under a fault that leaves it working: a few calls may fail until the connection is a
    /// new one and the breaker before the hop is closed.
    async fn settle(&self, hop: Hop, fault: Fault) {
        self.proxy(hop).set(fault);
        for _ in 0..100 {
            if self.call(hop).await == Got::Answer(Vec::new()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{hop:?} does not recover");
    }
}

async fn started(command: std::process::Command) -> Running {
    // The proxies must run while a service starts.
    tokio::task::spawn_blocking(move || Running::start(command)).await.expect("started")
}

async fn ingest(folder: &Path, retriever: &Running) {
    let page = folder.join("keys.md");
    let text = "# Keys\n\nSigning keys are rotated every ninety days by the platform team.\n";
    fs_err::write(&page, text).expect("written");
    let url = format!("http://{}", retriever.addr("retriever"));
    let mut ingest = trivium(&["ingest", "--endpoint", &url]);
    ingest.arg(&page);
    let ended = tokio::task::spawn_blocking(move || run(ingest)).await.expect("run");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn channel(peer: Service, addr: &str) -> GrpcChannel {
    let to = ClientOptions { endpoint: format!("http://{addr}"), ..ClientOptions::default() };
    GrpcChannel::connect(Service::Cli, peer, &to).expect("an address")
}

fn in_time<T>(message: T) -> tonic::Request<T> {
    Deadline::after(DEADLINE).request(message)
}

/// The parts that the answer of a broken hop must be flagged with; `None` where nothing can be had without the hop, and
/// the call fails.
fn flags(hop: Hop) -> Option<&'static [&'static str]> {
    match hop {
        Hop::Analyze => Some(&["intent", "embedding"]),
        Hop::Search => None,
        Hop::Generate => Some(&["generator"]),
        Hop::Embed => Some(&["LEG_SEMANTIC"]),
    }
}

fn check(hop: Hop, fault: Fault, got: &Got, elapsed: Duration) {
    let cell = format!("{hop:?} {fault:?}: {got:?} after {elapsed:?}");
    assert!(elapsed < DEADLINE + SLACK, "{cell}");
    let reasons: Vec<&str> = match (got, flags(hop), fault) {
        (Got::Answer(found), _, Fault::None | Fault::Slow(_)) => {
            assert!(found.is_empty(), "{cell}");
            return;
        }
        (Got::Answer(found), Some(parts), _) => {
            let found_parts: Vec<&str> = found.iter().map(|(part, _)| part.as_str()).collect();
            assert_eq!(found_parts, parts, "{cell}");
            found.iter().map(|(_, reason)| reason.as_str()).collect()
        }
        (Got::Error(reason), None, _) => vec![reason],
        _ => panic!("{cell}"),
    };
    let away = if hop == Hop::Search { "RETRIEVER_UNAVAILABLE" } else { "MODEL_HOST_UNAVAILABLE" };
    let expected = if fault == Fault::Hangs { "DEADLINE_EXCEEDED" } else { away };
    assert!(reasons.iter().all(|reason| *reason == expected), "{cell}: not {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hop_broken_in_each_way_gives_a_flagged_answer_or_a_clear_error_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = System::start(folder.path()).await;
    println!("deadline {} ms\n| hop | fault | got | ms |\n|---|---|---|---|", DEADLINE.as_millis());
    for hop in [Hop::Analyze, Hop::Search, Hop::Generate, Hop::Embed] {
        for fault in FAULTS {
            system.settle(hop, Fault::None).await;
            match fault {
                Fault::None | Fault::Slow(_) => system.settle(hop, fault).await,
                _ => system.proxy(hop).set(fault),
            }
            let started = Instant::now();
            let got = system.call(hop).await;
            let elapsed = started.elapsed();
            println!("| {hop:?} | {fault:?} | {got:?} | {} |", elapsed.as_millis());
            check(hop, fault, &got, elapsed);
        }
        system.settle(hop, Fault::None).await;
    }
}
