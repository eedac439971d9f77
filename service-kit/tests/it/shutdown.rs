//! A stop lets running calls finish, and cuts what outlasts the drain.

use std::time::Duration;

use tonic::Code;
use trivium_proto::model::v1::GenerateRequest;
use trivium_service_kit::ServerOptions;

use crate::support::{analyze, start};

#[tokio::test]
async fn a_running_call_finishes_and_new_connections_are_refused() {
    let server = start(ServerOptions::default()).await;
    let request = GenerateRequest { query: "30".into(), ..Default::default() };
    let mut stream = server.client().generate(request).await.expect("a stream").into_inner();
    server.stop.cancel();
    let mut messages = 0;
    while stream.message().await.expect("not cut").is_some() {
        messages += 1;
    }
    assert_eq!(messages, 3);
    let mut late = server.client();
    server.handle.stopped().await;
    assert!(late.analyze(analyze(0)).await.is_err());
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut() {
    let server = start(ServerOptions { drain_ms: 50, ..ServerOptions::default() }).await;
    let mut client = server.client();
    let endless = GenerateRequest { query: "3600000".into(), ..Default::default() };
    let mut stream = client.generate(endless).await.expect("a stream").into_inner();
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.handle.stopped()).await.expect("the drain is bounded");
    let status = stream.message().await.expect_err("cut");
    assert_ne!(status.code(), Code::Ok);
}
