//! Deadlines, and callers who leave. The hops below hang for ever in these
//! tests, so a deadline that is not kept shows as a test that does not end.

use trivium_proto::router::v1::{QueryOptions, query_stream_response::Event};
use trivium_service_kit::Reason;

use crate::{
    fake_model_host::Generation,
    world::{Plan, World, stream_request},
};

fn hanging_analysis() -> Plan {
    let mut plan = Plan { default_deadline_ms: Some(100), ..Plan::default() };
    plan.model_host.analyze_hangs = true;
    plan
}

#[tokio::test]
async fn a_deadline_ends_a_decision() {
    let world = World::start(hanging_analysis()).await;
    assert_eq!(world.route().await.expect_err("too late").reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_ends_a_unary_answer() {
    let world = World::start(hanging_analysis()).await;
    let error = world.query(QueryOptions::default()).await.expect_err("too late");
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_ends_a_streamed_answer_in_the_middle() {
    let generation = Generation::Hangs("It is ");
    let world = World::start(Plan { default_deadline_ms: Some(500), ..Plan::of_generation(generation) }).await;
    let (events, error) = world.events(QueryOptions::default()).await;
    assert!(matches!(events.last(), Some(Event::Text(text)) if text == "It is "), "{events:?}");
    assert_eq!(error.map(|error| error.reason()), Some(Reason::DeadlineExceeded));
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
