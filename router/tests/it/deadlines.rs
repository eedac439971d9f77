//! Deadlines, and callers who leave. The hops below hang for ever in these
//! tests, so a deadline that is not kept shows as a test that does not end.

use std::time::Duration;

use tokio_stream::StreamExt;
use trivium_proto::router::v1::{Degradation, QueryOptions, Road, query_stream_response::Event};
use trivium_service_kit::{Error, Reason};

use crate::{
    fake_model_host::{Analysis, Generation},
    world::{Plan, World, stream_request},
};

fn hanging_analysis() -> Plan {
    let mut plan = Plan { default_deadline_ms: Some(300), ..Plan::default() };
    plan.model_host.analysis = Analysis::Hangs;
    plan
}

fn flags(degraded: &[Degradation]) -> Vec<(&str, &str)> {
    degraded.iter().map(|flag| (flag.part.as_str(), flag.reason.as_str())).collect()
}

#[tokio::test]
async fn a_deadline_ends_a_decision() {
    let world = World::start(hanging_analysis()).await;
    assert_eq!(world.route().await.expect_err("too late").reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn an_analysis_that_hangs_leaves_time_to_search_by_words() {
    let mut plan = Plan { analyze_ms: Some(50), ..Plan::default() };
    plan.model_host.analysis = Analysis::Hangs;
    let world = World::start(plan).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    assert_eq!(response.passages.len(), 2);
    let late = "DEADLINE_EXCEEDED";
    assert_eq!(flags(&response.account.expect("an account").degraded), [("intent", late), ("embedding", late)]);
}

#[tokio::test]
async fn a_deadline_that_nothing_can_meet_is_told_as_that() {
    let mut plan = hanging_analysis();
    plan.retriever.hangs = true;
    let world = World::start(plan).await;
    let error = world.query(QueryOptions::default()).await.expect_err("too late");
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    world.retriever.running.subscribe().wait_for(|count| *count == 0).await.expect("it lives");
}

#[tokio::test]
async fn a_deadline_ends_a_streamed_answer_in_the_middle() {
    let generation = Generation::Hangs("It is ");
    let world = World::start(Plan { default_deadline_ms: Some(1_000), ..Plan::of_generation(generation) }).await;
    let (events, error) = world.events(QueryOptions::default()).await;
    assert!(events.iter().any(|event| matches!(event, Event::Text(text) if text == "It is ")), "{events:?}");
    // The hop's share of the time ends before the deadline, so that the account is in time, unless the machine is busy.
    match (events.last(), error) {
        (Some(Event::Account(account)), None) => {
            assert_eq!(flags(&account.degraded), [("generator", "DEADLINE_EXCEEDED")]);
        }
        (_, error) => assert_eq!(error.map(|error| error.reason()), Some(Reason::DeadlineExceeded)),
    }
}

/// The callers' deadlines that leave no time for anything. The answer, if there is one, says what it lacks.
#[tokio::test]
async fn hardly_any_time_is_a_deadline_exceeded_or_a_flag() {
    let world = World::start(hanging_analysis()).await;
    for budget in [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(1)] {
        let mut request = tonic::Request::new(stream_request(QueryOptions::default()));
        request.set_timeout(budget);
        let events: Result<Vec<_>, _> = match world.router.clone().query_stream(request).await {
            Ok(response) => response.into_inner().collect::<Vec<_>>().await.into_iter().collect(),
            Err(status) => Err(status),
        };
        match events {
            Err(status) => assert_eq!(Error::from(status).reason(), Reason::DeadlineExceeded, "{budget:?}"),
            Ok(events) => {
                let last = events.last().and_then(|message| message.event.as_ref());
                assert!(matches!(last, Some(Event::Account(account)) if !account.degraded.is_empty()), "{events:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_generator_over_its_own_limit_leaves_the_passages() {
    let generation = Generation::Hangs("It is ");
    let world = World::start(Plan { generate_ms: Some(100), ..Plan::of_generation(generation) }).await;
    let response = world.query(QueryOptions::default()).await.expect("passages");
    assert_eq!(response.passages.len(), 2);
    let degraded = response.account.expect("an account").degraded;
    assert_eq!((degraded[0].part.as_str(), degraded[0].reason.as_str()), ("generator", "DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_generation() {
    let world = World::start(Plan::of_generation(Generation::Hangs("It is "))).await;
    let mut let_go = world.model_host.let_go.subscribe();
    let mut stream = world
        .router
        .clone()
        .query_stream(stream_request(QueryOptions::default()))
        .await
        .expect("a stream")
        .into_inner();
    loop {
        let message = stream.message().await.expect("an event").expect("more events");
        if matches!(message.event, Some(Event::Text(_))) {
            break;
        }
    }
    assert!(!*let_go.borrow());
    drop(stream);
    let_go.wait_for(|gone| *gone).await.expect("the stand-in lives as long as the world");
}

#[tokio::test]
async fn the_decision_comes_before_the_passages_are_there() {
    let mut plan = Plan::default();
    plan.retriever.hangs = true;
    let world = World::start(plan).await;
    let request = stream_request(QueryOptions::default());
    let mut stream = world.router.clone().query_stream(request).await.expect("a stream").into_inner();
    // The retriever never answers, and yet this comes.
    let first = stream.message().await.expect("an event").expect("more events");
    assert!(matches!(first.event, Some(Event::Decision(decision)) if decision.road() == Road::Hybrid));
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_search_and_starts_nothing_more() {
    let mut plan = Plan::default();
    plan.retriever.hangs = true;
    let world = World::start(plan).await;
    let request = stream_request(QueryOptions::default());
    let stream = world.router.clone().query_stream(request).await.expect("a stream").into_inner();
    let mut running = world.retriever.running.subscribe();
    running.wait_for(|count| *count == 1).await.expect("it lives");
    drop(stream);
    running.wait_for(|count| *count == 0).await.expect("it lives");
    // The search ended because the query did: nobody is left who could start anything.
    assert!(world.model_host.generated.lock().expect("no test panics with it").is_empty());
    assert_eq!(world.retriever.searched.lock().expect("no test panics with it").len(), 1);
}

#[tokio::test]
async fn a_unary_caller_who_leaves_ends_the_search_too() {
    let mut plan = Plan::default();
    plan.retriever.hangs = true;
    let world = World::start(plan).await;
    let mut running = world.retriever.running.subscribe();
    tokio::select! {
        answer = world.query(QueryOptions::default()) => panic!("the search hangs, and yet: {answer:?}"),
        waited = running.wait_for(|count| *count == 1) => { waited.expect("it lives"); }
    }
    running.wait_for(|count| *count == 0).await.expect("it lives");
}

#[tokio::test]
async fn a_caller_who_reads_nothing_ends_the_generation_at_the_deadline() {
    let piece = "It is somewhere in here, and there is more of it than anybody wants to read. ";
    let world = World::start(Plan::of_generation(Generation::Floods(piece))).await;
    let mut let_go = world.model_host.let_go.subscribe();
    let mut request = tonic::Request::new(stream_request(QueryOptions::default()));
    request.set_timeout(Duration::from_millis(500));
    let mut client = world.router.clone();
    let stream = client.query_stream(request).await.expect("a stream").into_inner();
    let_go.wait_for(|gone| *gone).await.expect("the stand-in lives as long as the world");
    drop(stream);
}
