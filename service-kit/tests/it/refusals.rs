//! What never reaches a service's own code is still an error of the catalogue.

use tokio_util::sync::CancellationToken;
use tonic::{Code, service::Routes, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use trivium_proto::model::v1::{AnalyzeRequest, GenerateRequest, GetTokenizerRequest};
use trivium_service_kit::{Error, Reason, Server, ServerOptions, Service};

use crate::support::{analyze, client_to, start};

#[tokio::test]
async fn a_message_over_the_limit_is_named_so() {
    let server = start(ServerOptions { max_message_bytes: 64 << 10, ..ServerOptions::default() }).await;
    let huge = AnalyzeRequest { text: "x".repeat(128 << 10), ..AnalyzeRequest::default() };
    let status = server.client().analyze(huge).await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(Error::from(status).reason(), Reason::MessageTooLarge);
}

#[tokio::test]
async fn a_call_over_the_limit_is_refused_with_a_hint_and_health_still_answers() {
    let server = start(ServerOptions { max_concurrent_requests: 1, ..ServerOptions::default() }).await;
    let endless = GenerateRequest { query: "3600000".into(), ..Default::default() };
    let running = server.client().generate(endless).await.expect("headers come at once");
    let refused = Error::from(server.client().analyze(analyze(0)).await.expect_err("one too many"));
    assert_eq!(refused.reason(), Reason::Overloaded);
    assert!(refused.retry_after().is_some());

    let endpoint = Endpoint::from_shared(format!("http://{}", server.handle.addr())).expect("an address");
    let health = HealthClient::new(endpoint.connect_lazy()).check(HealthCheckRequest { service: String::new() }).await;
    assert_eq!(health.expect("an answer").into_inner().status, 1);
    drop(running);
    // The place is free again once the server has noticed that the caller left.
    while server.client().analyze(analyze(0)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn health_says_not_serving_until_told_otherwise_and_keeps_its_own_statuses() {
    let server = Server::bind(Service::ModelHost, &ServerOptions::default()).await.expect("a free port");
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr())).expect("an address");
    let handle = server.serve(Routes::default(), &["trivium.model.v1.ModelService"], CancellationToken::new()).await;
    let mut health = HealthClient::new(endpoint.connect_lazy());
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.map(|answer| answer.into_inner().status())
    };
    for name in ["", "trivium.model.v1.ModelService"] {
        assert_eq!(check(name).await.expect("an answer"), ServingStatus::NotServing, "{name:?}");
    }
    assert_eq!(check("no.such.Service").await.expect_err("not registered").code(), Code::NotFound);
    handle.set_serving(true).await;
    assert_eq!(check("").await.expect("an answer"), ServingStatus::Serving);
}

#[tokio::test]
async fn an_error_of_the_service_arrives_whole() {
    let server = start(ServerOptions::default()).await;
    let status = server.client().get_tokenizer(GetTokenizerRequest::default()).await.expect_err("none");
    let error = Error::from(status);
    assert_eq!((error.reason(), error.field()), (Reason::ModelNotFound, Some("model")));
}

#[tokio::test]
async fn a_peer_that_is_away_is_named() {
    let free = Server::bind(Service::ModelHost, &ServerOptions::default()).await.expect("a free port");
    let port = free.addr().port();
    drop(free);
    let status = client_to(port).analyze(analyze(0)).await.expect_err("nobody listens");
    assert_eq!(Error::from(status).reason(), Reason::ModelHostUnavailable);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start(ServerOptions::default()).await;
    let again = ServerOptions { addr: server.handle.addr(), ..ServerOptions::default() };
    let error = Server::bind(Service::Router, &again).await.expect_err("in use");
    assert!(error.to_string().contains(&server.handle.addr().to_string()), "{error}");
}
