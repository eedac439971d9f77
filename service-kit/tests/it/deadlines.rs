//! A deadline ends every call, unary or streamed, as DEADLINE_EXCEEDED.

use std::time::Duration;

use tonic::Code;
use trivium_proto::model::v1::{GenerateRequest, ListModelsRequest};
use trivium_service_kit::{Deadline, Error, Reason, ServerOptions};

use crate::support::{analyze, start};

/// Far longer than any test waits.
const NEVER_MS: u64 = 3_600_000;

#[tokio::test]
async fn a_unary_call_ends_at_the_callers_deadline() {
    let server = start(ServerOptions::default()).await;
    let request = Deadline::after(Duration::from_millis(50)).request(analyze(NEVER_MS));
    let status = server.client().analyze(request).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(Error::from(status).reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn the_server_ends_it_for_a_client_that_only_sends_the_header() {
    let server = start(ServerOptions::default()).await;
    let endpoint = format!("http://{}", server.handle.addr());
    let channel = tonic::transport::Endpoint::from_shared(endpoint).expect("an address").connect_lazy();
    // A bare header, and none of the client's own time-out machinery, so that what ends the call is the server.
    let mut client = trivium_proto::model::v1::model_service_client::ModelServiceClient::with_interceptor(
        channel,
        |request: tonic::Request<()>| Ok(request),
    );
    let mut request = tonic::Request::new(GenerateRequest { query: NEVER_MS.to_string(), ..Default::default() });
    request.metadata_mut().insert("grpc-timeout", "50m".parse().expect("ascii"));
    let mut stream = client.generate(request).await.expect("headers come at once").into_inner();
    let status = stream.message().await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_default_stands_in_for_a_missing_deadline() {
    let server = start(ServerOptions { default_deadline_ms: 50, ..ServerOptions::default() }).await;
    let endpoint = format!("http://{}", server.handle.addr());
    let channel = tonic::transport::Endpoint::from_shared(endpoint).expect("an address").connect_lazy();
    let mut client = trivium_proto::model::v1::model_service_client::ModelServiceClient::new(channel);
    let status = client.analyze(analyze(NEVER_MS)).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_ends_at_the_deadline_after_its_first_messages() {
    let server = start(ServerOptions::default()).await;
    let request = GenerateRequest { query: "40".into(), ..Default::default() };
    let mut stream = server
        .client()
        .generate(Deadline::after(Duration::from_millis(70)).request(request))
        .await
        .expect("a stream")
        .into_inner();
    let mut messages = 0;
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => messages += 1,
            Ok(None) => panic!("the stream outlived its deadline"),
            Err(status) => break status,
        }
    };
    assert!(messages < 3);
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_hop_is_told_less_than_its_caller_has() {
    let server = start(ServerOptions::default()).await;
    let request = Deadline::after(Duration::from_secs(100)).request(ListModelsRequest {});
    let status = server.client().list_models(request).await.expect_err("the remaining time");
    let left: u64 = status.message().parse().expect("milliseconds");
    assert!((1..100_000 - 4).contains(&left), "{left}");
}

#[tokio::test]
async fn a_deadline_of_nothing_is_refused_at_once() {
    let server = start(ServerOptions::default()).await;
    let request = Deadline::after(Duration::ZERO).request(analyze(0));
    let status = server.client().analyze(request).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
