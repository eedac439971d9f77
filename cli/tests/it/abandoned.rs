//! Callers that go away leave no work behind, on any hop.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::task::JoinSet;
use trivium_proto::router::v1::{
    AnswerMode, QueryOptions, QueryStreamRequest, Road, query_stream_response::Event,
    router_service_client::RouterServiceClient,
};
use trivium_service_kit::{ClientOptions, Deadline, GrpcChannel, Service};

use crate::{
    collector::{Collector, Span},
    process::{Running, run, trivium, up_command},
};

/// Calls that are under way when their callers leave.
const CALLS: usize = 48;

/// How much later than the leaving a step may begin. The services keep within 50 ms; the rest is for a machine that is
/// busy with other tests, and is still far below the second and more that the abandoned work would take.
const SLACK: Duration = Duration::from_millis(550);

/// The steps that cost something: a batch, a leg, an answer.
fn is_work(span: &Span) -> bool {
    span.name == "forward" || span.name.starts_with("chat ") || span.attribute("trivium.retrieval.leg").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_for_callers_that_went_away() {
    let (collector, endpoint) = Collector::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let services = up(folder.path(), &endpoint).await;
    let left = leave_after_the_first_passages(services.addr("router")).await;
    // What they left behind would take longer than this.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stopped = tokio::task::spawn_blocking(move || services.stop()).await.expect("stopped");
    assert_eq!(stopped, Some(0));

    let spans = collector.spans();
    let work: Vec<&Span> = spans.iter().filter(|span| is_work(span)).collect();
    let answers = work.iter().filter(|span| span.name.starts_with("chat ")).count();
    assert!(!work.is_empty() && answers < CALLS, "{answers} of {CALLS} answers were begun: nobody left in time");
    let left_ns = u64::try_from(left.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos());
    let left_ns = left_ns.expect("before 2554");
    let last = work.iter().max_by_key(|span| span.started_ns).expect("some work");
    let late = Duration::from_nanos(last.started_ns.saturating_sub(left_ns));
    println!(
        "{} steps were begun; the last, {}, {} ms after the callers left",
        work.len(),
        last.name,
        late.as_millis()
    );
    assert!(late < SLACK, "{} began {late:?} after its caller had left", last.name);
}

async fn up(folder: &Path, collector: &str) -> Running {
    let mut command = up_command(&folder.join("data"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
    let page = folder.join("keys.md");
    fs_err::write(&page, "# Keys\n\nSigning keys are rotated every ninety days.\n").expect("written");
    let started = move || {
        let services = Running::start(command);
        let url = format!("http://{}", services.addr("retriever"));
        let mut ingest = trivium(&["ingest", "--endpoint", &url]);
        ingest.arg(&page);
        assert_eq!(run(ingest).code, Some(0));
        services
    };
    tokio::task::spawn_blocking(started).await.expect("started")
}

/// Makes all calls, each with a connection of its own, and drops them as soon as one of them has its passages. Gives the
/// moment.
async fn leave_after_the_first_passages(router: &str) -> SystemTime {
    let to = ClientOptions { endpoint: format!("http://{router}"), ..ClientOptions::default() };
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let channel = GrpcChannel::connect(Service::Cli, Service::Router, &to).expect("an address");
        calls.spawn(async move { first_passages(RouterServiceClient::new(channel), call).await });
    }
    calls.join_next().await.expect("calls").expect("no panic");
    calls.abort_all();
    let left = SystemTime::now();
    while calls.join_next().await.is_some() {}
    left
}

async fn first_passages(mut router: RouterServiceClient<GrpcChannel>, call: usize) {
    // As long as the encoder reads, and different for each, so that each costs a whole forward pass.
    let query = format!("{call} {}", "how are the signing keys of the platform rotated ".repeat(40));
    let options =
        QueryOptions { road: Road::Hybrid.into(), answer_mode: AnswerMode::Generate.into(), ..QueryOptions::default() };
    let request = QueryStreamRequest { query, options: Some(options), ..Default::default() };
    let request = Deadline::after(Duration::from_secs(30)).request(request);
    let Ok(events) = router.query_stream(request).await else {
        // Turned away by a busy router: another call is the first.
        return std::future::pending().await;
    };
    let mut events = events.into_inner();
    while let Ok(Some(event)) = events.message().await {
        if let Some(Event::Passages(_)) = event.event {
            return;
        }
    }
    std::future::pending::<()>().await;
}
