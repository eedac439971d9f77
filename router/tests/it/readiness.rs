//! Starting: policies that do not fit, services that are not there yet, files that change.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use trivium_proto::router::v1::{QueryOptions, RouteRequest};
use trivium_router::{Error, Options};
use trivium_service_kit::{Error as CallError, Reason};

use crate::{
    fake_model_host::{FakeModelHost, Script},
    fake_retriever::FakeRetriever,
    world::{self, Below, Plan, ROUTES, World},
};

/// An address on which nothing listens: it was free a moment ago.
async fn nowhere() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("it is bound")
}

async fn alone(routes: &str) -> (Options, tempfile::TempDir) {
    let below = Below { model_host: nowhere().await, retriever: nowhere().await };
    let files = tempfile::tempdir().expect("a folder");
    let options = world::options(&below, world::write_routes(&files, routes));
    (options, files)
}

/// What health checks are told of the router's service.
async fn health(addr: SocketAddr) -> ServingStatus {
    let mut client = HealthClient::new(world::channel(addr).await);
    let request = HealthCheckRequest { service: "trivium.router.v1.RouterService".into() };
    client.check(request).await.expect("a known service").into_inner().status()
}

#[tokio::test]
async fn an_intent_that_the_model_lacks_is_refused() {
    let stop = CancellationToken::new();
    let model_host = FakeModelHost::new(Script { labels: vec!["lookup", "out_of_scope"], ..Script::default() });
    let (mut options, _files) = alone(ROUTES).await;
    let addr = world::serve_model_host(&model_host, &stop).await;
    options.model_host.endpoint = format!("http://{addr}");
    let mut handle = trivium_router::start(options, stop.clone()).await.expect("it listens");
    let error = handle.ready().await.expect_err("the policy does not fit");
    assert!(error.is_configuration());
    let text = error.to_string();
    for part in ["routes.toml", "line 12, column 10", "\"factual\"", "lookup, out_of_scope"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let request = RouteRequest { query: "a".into(), ..RouteRequest::default() };
    let status = world::connect(handle.addr()).await.route(request).await.expect_err("it does not serve");
    assert_eq!(CallError::from(status).reason(), Reason::NoModel);
    assert_eq!(health(handle.addr()).await, ServingStatus::NotServing);
    stop.cancel();
    handle.stopped().await.expect("it stops");
}

#[tokio::test]
async fn calls_before_the_labels_are_known_are_told_so_and_later_ones_are_served() {
    let stop = CancellationToken::new();
    let (mut options, _files) = alone(ROUTES).await;
    // The address is taken now, and the model host comes later.
    let late = nowhere().await;
    options.model_host.endpoint = format!("http://{late}");
    let mut handle = trivium_router::start(options, stop.clone()).await.expect("it listens");
    let mut client = world::connect(handle.addr()).await;
    let request = RouteRequest { query: "a".into(), ..RouteRequest::default() };
    let error = CallError::from(client.route(request.clone()).await.expect_err("not yet"));
    assert_eq!(error.reason(), Reason::ModelHostUnavailable);
    assert!(error.retry_after().is_some());
    assert_eq!(health(handle.addr()).await, ServingStatus::NotServing);
    let model_host = FakeModelHost::new(Script::default());
    world::serve_model_host_at(late, &model_host, &stop).await;
    handle.ready().await.expect("it serves once the model host is there");
    client.route(request).await.expect("a decision");
    assert_eq!(health(handle.addr()).await, ServingStatus::Serving);
    stop.cancel();
    handle.stopped().await.expect("it stops");
}

#[tokio::test]
async fn a_router_that_is_stopped_first_is_never_ready() {
    let stop = CancellationToken::new();
    let (options, _files) = alone(ROUTES).await;
    let mut handle = trivium_router::start(options, stop.clone()).await.expect("it listens");
    stop.cancel();
    assert!(matches!(handle.ready().await, Err(Error::Stopped)));
    handle.stopped().await.expect("it stops");
}

#[tokio::test]
async fn without_an_intent_model_a_chosen_road_is_still_served() {
    let mut plan = Plan::default();
    plan.model_host.labels = Vec::new();
    let world = World::start(plan).await;
    let options = QueryOptions { road: trivium_proto::router::v1::Road::Lexical.into(), ..QueryOptions::default() };
    assert_eq!(world.query(options).await.expect("an answer").passages.len(), 2);
}

#[tokio::test]
async fn a_broken_policy_is_refused_before_the_port_is_taken() {
    let (options, _files) = alone("version = 1\n[default]\nroute = \"lexcial\"\n").await;
    let error = trivium_router::start(options, CancellationToken::new()).await.expect_err("a broken policy");
    assert!(error.is_configuration());
    let text = error.to_string();
    assert!(text.contains("line 3, column 9") && text.contains("lexcial"), "{text}");
}

#[tokio::test]
async fn a_policy_file_that_is_not_there_is_named() {
    let (mut options, _files) = alone(ROUTES).await;
    options.routes_file = Some("/nowhere/routes.toml".into());
    let error = trivium_router::start(options, CancellationToken::new()).await.expect_err("no file");
    assert!(error.is_configuration() && error.to_string().contains("/nowhere/routes.toml"), "{error}");
}

#[tokio::test]
async fn a_bad_option_is_refused_by_its_key() {
    let (mut options, _files) = alone(ROUTES).await;
    options.collections.clear();
    match trivium_router::start(options, CancellationToken::new()).await {
        Err(Error::Config(error)) => assert_eq!(error.key, "collections"),
        other => panic!("not {other:?}"),
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (mut options, _files) = alone(ROUTES).await;
    options.server.addr = taken.local_addr().expect("it is bound");
    let error = trivium_router::start(options, CancellationToken::new()).await.expect_err("the port is in use");
    assert!(!error.is_configuration());
    assert!(error.to_string().contains(&taken.local_addr().expect("it is bound").to_string()), "{error}");
}

#[tokio::test]
async fn a_changed_policy_serves_and_a_broken_one_does_not() {
    let stop = CancellationToken::new();
    let below = Below {
        model_host: world::serve_model_host(&FakeModelHost::new(Script::default()), &stop).await,
        retriever: world::serve_retriever(&FakeRetriever::new(Default::default()), &stop).await,
    };
    let files = tempfile::tempdir().expect("a folder");
    let options = world::options(&below, world::write_routes(&files, ROUTES));
    let mut handle = trivium_router::start(options, stop.clone()).await.expect("it starts");
    handle.ready().await.expect("it serves");
    let mut client = world::connect(handle.addr()).await;
    let request = RouteRequest { query: "a".into(), ..RouteRequest::default() };
    let mut road_and_version = async || {
        let response = client.route(request.clone()).await.expect("a decision").into_inner();
        let decision = response.decision.expect("a decision");
        (decision.road().as_str_name(), decision.policy_version)
    };
    let (road, first) = road_and_version().await;
    assert_eq!(road, "ROAD_HYBRID");
    // A broken file, and one for another model, change nothing; then comes one that is right.
    world::write_routes(&files, "version = 1\n[intents.how_to]\nroute = \"nowhere\"\n");
    assert_eq!(road_and_version().await.1, first);
    world::write_routes(&files, "version = 1\n[intents.unheard_of]\nroute = \"lexical\"\n");
    assert_eq!(road_and_version().await.1, first);
    // Half of a file may be right as far as it goes; an empty one is not.
    world::write_routes(&files, "");
    assert_eq!(road_and_version().await.1, first);
    world::write_routes(&files, "version = 1\n[intents.how_to]\nroute = \"lexical\"\n");
    loop {
        let (road, version) = road_and_version().await;
        if version != first {
            assert_eq!(road, "ROAD_LEXICAL");
            break;
        }
    }
    stop.cancel();
    handle.stopped().await.expect("it stops");
}
