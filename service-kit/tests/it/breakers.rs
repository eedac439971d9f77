//! A peer that does not answer is left alone, and found again when it is back.

use trivium_proto::model::v1::{GenerateRequest, ListModelsRequest};
use trivium_service_kit::{BreakerOptions, ClientOptions, Error, Reason, Server, ServerOptions, Service};

use crate::support::{analyze, client_of, start};

/// A port on which nobody listens.
async fn free_port() -> u16 {
    Server::bind(Service::ModelHost, &ServerOptions::default()).await.expect("a free port").addr().port()
}

fn options(port: u16, pause_ms: u64) -> ClientOptions {
    let breaker = BreakerOptions { calls: 4, pause_ms, ..BreakerOptions::default() };
    ClientOptions { retry_percent: 0, breaker, ..ClientOptions::to(port) }
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached_is_left_alone_after_some_calls() {
    let client = client_of(Service::Router, &options(free_port().await, 3_600_000));
    let mut refusals = Vec::new();
    for _ in 0..6 {
        let error = Error::from(client.clone().analyze(analyze(0)).await.expect_err("nobody listens"));
        assert_eq!(error.reason(), Reason::ModelHostUnavailable);
        refusals.push(error.retry_after().is_some());
    }
    assert_eq!(refusals, [false, false, false, false, true, true], "the first four calls go to the wire");

    // Other classes of calls, and those by which a peer is found again, still go to the wire.
    let other = client.clone().generate(GenerateRequest::default()).await.expect_err("nobody listens");
    assert_eq!(Error::from(other).retry_after(), None);
    let probe = client.clone().list_models(ListModelsRequest {}).await.expect_err("nobody listens");
    assert_eq!(Error::from(probe).retry_after(), None);
}

#[tokio::test]
async fn a_peer_that_is_back_is_found_by_a_probe() {
    let port = free_port().await;
    let client = client_of(Service::Router, &options(port, 1));
    let mut left_alone = false;
    while !left_alone {
        let error = Error::from(client.clone().analyze(analyze(0)).await.expect_err("nobody listens"));
        left_alone = error.retry_after().is_some();
    }
    let addr = ([127, 0, 0, 1], port).into();
    let server = start(ServerOptions { addr, ..ServerOptions::default() }).await;
    while client.clone().analyze(analyze(0)).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(server.calls() > 0);
}

#[tokio::test]
async fn errors_that_a_peer_answers_with_and_callers_without_patience_open_nothing() {
    let server = start(ServerOptions::default()).await;
    let client = client_of(Service::Router, &options(server.handle.addr().port(), 3_600_000));
    for _ in 0..8 {
        let hurried = trivium_service_kit::Deadline::after(std::time::Duration::from_millis(20));
        let status = client.clone().analyze(hurried.request(analyze(3_600_000))).await.expect_err("too late");
        assert_eq!(Error::from(status).reason(), Reason::DeadlineExceeded);
        client.clone().get_tokenizer(trivium_proto::model::v1::GetTokenizerRequest::default()).await.expect_err("none");
    }
    client.clone().analyze(analyze(0)).await.expect("answered");
}

#[tokio::test]
async fn the_command_line_asks_however_often_it_failed() {
    let client = client_of(Service::Cli, &options(free_port().await, 3_600_000));
    for _ in 0..8 {
        let error = Error::from(client.clone().analyze(analyze(0)).await.expect_err("nobody listens"));
        assert_eq!(error.retry_after(), None);
    }
}
