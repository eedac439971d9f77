//! Calls that change nothing are sent again, within bounds.

use trivium_proto::model::v1::GenerateRequest;
use trivium_service_kit::{BreakerOptions, ClientOptions, Error, Reason, ServerOptions, Service};

use crate::support::{AWAY, AWAY_ONCE, Running, analyze_text, client_of, start};

fn options(server: &Running) -> ClientOptions {
    let breaker = BreakerOptions { calls: 0, ..BreakerOptions::default() };
    ClientOptions { breaker, ..ClientOptions::to(server.handle.addr().port()) }
}

#[tokio::test]
async fn a_call_that_was_turned_away_is_answered_by_the_next_attempt() {
    let server = start(ServerOptions::default()).await;
    let mut client = client_of(Service::Router, &options(&server));
    client.analyze(analyze_text(AWAY_ONCE)).await.expect("the second attempt is answered");
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_call_is_made_three_times_and_then_given_up() {
    let server = start(ServerOptions::default()).await;
    let status = client_of(Service::Router, &options(&server)).analyze(analyze_text(AWAY)).await.expect_err("away");
    assert_eq!(Error::from(status).reason(), Reason::ShuttingDown);
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn nothing_is_sent_twice_by_a_stream_or_the_command_line_or_when_turned_off() {
    let server = start(ServerOptions::default()).await;
    let query = GenerateRequest { query: AWAY.to_owned(), ..GenerateRequest::default() };
    client_of(Service::Router, &options(&server)).generate(query).await.expect_err("away");
    assert_eq!(server.calls(), 1, "a stream");
    client_of(Service::Cli, &options(&server)).analyze(analyze_text(AWAY)).await.expect_err("away");
    assert_eq!(server.calls(), 2, "the command line");
    let off = ClientOptions { retry_percent: 0, ..options(&server) };
    client_of(Service::Router, &off).analyze(analyze_text(AWAY)).await.expect_err("away");
    assert_eq!(server.calls(), 3, "turned off");
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_little_more_than_without_retries() {
    let server = start(ServerOptions::default()).await;
    let client = client_of(Service::Router, &options(&server));
    let calls = 200;
    for _ in 0..calls {
        client.clone().analyze(analyze_text(AWAY)).await.expect_err("away");
    }
    // A tenth of the calls, and ten that are allowed however few calls there are.
    let most = calls + calls / 10 + 10;
    assert!((calls + 1..=most).contains(&server.calls()), "{} attempts at {calls} calls", server.calls());
}
