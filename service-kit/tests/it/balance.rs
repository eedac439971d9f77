//! Calls over several replicas: all of them work, and none that can be made elsewhere is lost with one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use trivium_proto::model::v1::{LoadModelRequest, model_service_client::ModelServiceClient};
use trivium_service_kit::{ClientOptions, Error, GrpcChannel, Reason, ServerOptions, Service};

use crate::support::{Running, analyze, client_of, start};

async fn replicas(count: usize) -> Vec<Running> {
    let mut running = Vec::new();
    for _ in 0..count {
        running.push(start(ServerOptions { drain_ms: 0, ..ServerOptions::default() }).await);
    }
    running
}

fn options(replicas: &[Running]) -> ClientOptions {
    let list: Vec<String> = replicas.iter().map(|replica| replica.handle.addr().to_string()).collect();
    ClientOptions { endpoint: list.join(","), ..ClientOptions::default() }
}

fn client(replicas: &[Running]) -> ModelServiceClient<GrpcChannel> {
    client_of(Service::Router, &options(replicas))
}

#[tokio::test]
async fn every_replica_gets_its_share() {
    let replicas = replicas(3).await;
    let client = client(&replicas);
    let calls = (0..300).map(|_| {
        let mut client = client.clone();
        async move { client.analyze(analyze(1)).await.map(drop) }
    });
    for outcome in futures::future::join_all(calls).await {
        outcome.expect("answered");
    }
    for replica in &replicas {
        // By the choice of the less busy of two, each is within a few calls of the others.
        assert!((60..=140).contains(&replica.calls()), "{} of 300 calls", replica.calls());
    }
}

#[tokio::test]
async fn a_name_is_resolved_and_called() {
    let replicas = replicas(1).await;
    let port = replicas[0].handle.addr().port();
    let named = ClientOptions { endpoint: format!("dns:///127.0.0.1:{port}"), ..ClientOptions::default() };
    client_of(Service::Router, &named).analyze(analyze(0)).await.expect("answered");
    let nobody = ClientOptions { endpoint: "dns:///name.invalid:1".into(), ..ClientOptions::default() };
    let status = client_of(Service::Cli, &nobody).analyze(analyze(0)).await.expect_err("no such name");
    let error = Error::from(status);
    assert_eq!(error.reason(), Reason::ModelHostUnavailable);
    assert!(error.message().contains("cannot be found"), "{error}");
}

/// Thirty-two callers, each with one call after the other, until told to stop. Gives the calls that were made.
async fn under_load(client: &ModelServiceClient<GrpcChannel>, meanwhile: impl Future<Output = ()>) -> usize {
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let (mut client, stop, made) = (client.clone(), Arc::clone(&stop), Arc::clone(&made));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.analyze(analyze(2)).await?;
                    made.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), tonic::Status>(())
            })
        })
        .collect();
    let reached = |count| {
        let made = Arc::clone(&made);
        async move {
            while made.load(Ordering::Relaxed) < count {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    };
    reached(2_000).await;
    meanwhile.await;
    reached(made.load(Ordering::Relaxed) + 2_000).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic").expect("no call fails");
    }
    made.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_under_load_costs_no_call() {
    let mut replicas = replicas(3).await;
    let client = client(&replicas);
    let killed = replicas.pop().expect("three");
    let made = under_load(&client, async {
        // Without a drain its connections are cut in the middle of their calls.
        killed.stop.cancel();
        killed.handle.stopped().await;
    })
    .await;
    assert!(made >= 4_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_replaced_one_after_the_other_cost_no_call() {
    let mut serving = Vec::new();
    for _ in 0..2 {
        serving.push(start(ServerOptions::default()).await);
    }
    let client = client(&serving);
    let made = under_load(&client, async {
        for old in serving {
            let addr = old.handle.addr();
            old.stop.cancel();
            old.handle.stopped().await;
            let options = ServerOptions { addr, ..ServerOptions::default() };
            let new = start(options).await;
            // The next one goes when this one has been found.
            while new.calls() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            std::mem::forget(new.stop);
        }
    })
    .await;
    assert!(made >= 4_000);
}

#[tokio::test]
async fn a_call_that_changes_something_goes_elsewhere_when_it_was_never_sent() {
    let living = start(ServerOptions::default()).await;
    let list = format!("127.0.0.1:1,{}", living.handle.addr());
    for _ in 0..20 {
        // A client of its own each time, which has not learnt yet that nobody is at the first address.
        let options = ClientOptions { endpoint: list.clone(), ..ClientOptions::default() };
        let status = client_of(Service::Router, &options).load_model(LoadModelRequest::default()).await;
        assert_eq!(status.expect_err("the test's service loads none").code(), tonic::Code::Unimplemented);
    }
    let nobody = ClientOptions { endpoint: "127.0.0.1:1,127.0.0.1:2".into(), ..ClientOptions::default() };
    let status = client_of(Service::Router, &nobody).load_model(LoadModelRequest::default()).await;
    assert_eq!(Error::from(status.expect_err("nobody is there")).reason(), Reason::ModelHostUnavailable);
}
