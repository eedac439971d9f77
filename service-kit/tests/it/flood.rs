//! More than a server can take is refused at once, call by call, and nothing is lost count of.

use tokio::task::JoinSet;
use trivium_proto::model::v1::AnalyzeRequest;
use trivium_service_kit::{ClientOptions, Error, Reason, ServerOptions, Service};

use crate::support::{Running, analyze, client_of, start};

const CALLS: usize = 10_000;
const CONNECTIONS: usize = 100;
const AT_ONCE: usize = 50;
/// Longer than any machine takes.
const PATIENCE_MS: u64 = 600_000;

/// How the calls of a flood ended.
#[derive(Debug, Default)]
struct Tally {
    served: usize,
    refused: usize,
}

/// Makes all calls at the same time, over many connections.
async fn flood(server: &Running) -> Tally {
    // However slow the machine, a call that is neither served nor refused is a fault, and not a matter of time.
    let options = ClientOptions {
        default_timeout_ms: PATIENCE_MS,
        connect_timeout_ms: PATIENCE_MS,
        keepalive_ms: PATIENCE_MS,
        ..ClientOptions::to(server.handle.addr().port())
    };
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| client_of(Service::Cli, &options)).collect();
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let mut client = clients[number % CONNECTIONS].clone();
        calls.spawn(async move { client.analyze(analyze(1)).await });
    }
    let mut tally = Tally::default();
    while let Some(ended) = calls.join_next().await {
        match ended.expect("no call panics") {
            Ok(_) => tally.served += 1,
            Err(status) => {
                let error = Error::from(status);
                assert_eq!(error.reason(), Reason::Overloaded, "{error}");
                assert!(error.retry_after().is_some_and(|delay| !delay.is_zero()), "{error:?} has no hint");
                tally.refused += 1;
            }
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_at_once_are_each_answered_or_refused_with_a_hint() {
    for max_slowdown_percent in [0, 200] {
        let options = ServerOptions {
            max_concurrent_requests: AT_ONCE,
            max_slowdown_percent,
            keepalive_ms: PATIENCE_MS,
            ..ServerOptions::default()
        };
        let server = start(options).await;
        let tally = flood(&server).await;
        assert_eq!(tally.served + tally.refused, CALLS, "{tally:?}");
        assert_eq!(tally.served, server.calls(), "a refused call never reaches the service");
        assert!(tally.refused > 0 && tally.served > 0, "{tally:?}");
        assert!(server.most_running() <= AT_ONCE, "{} ran at once", server.most_running());
        // What was taken is given back: the next call is served as if nothing had been.
        server.client().analyze(analyze(0)).await.expect("served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_over_the_limit_is_refused_and_the_server_goes_on() {
    let server = start(ServerOptions { max_message_bytes: 64 << 10, ..ServerOptions::default() }).await;
    let client = client_of(Service::Cli, &ClientOptions::to(server.handle.addr().port()));
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let mut client = client.clone();
        let huge = AnalyzeRequest { text: "x".repeat(1 << 20), ..AnalyzeRequest::default() };
        calls.spawn(async move { client.analyze(huge).await });
    }
    while let Some(ended) = calls.join_next().await {
        let error = Error::from(ended.expect("no call panics").expect_err("too large"));
        assert_eq!(error.reason(), Reason::MessageTooLarge, "{error}");
    }
    assert_eq!(server.calls(), 0);
    client.clone().analyze(analyze(0)).await.expect("served");
}
