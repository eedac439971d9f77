//! What callers may get wrong, as it looks to them. The fields are tabled beside
//! the code that checks them.

use tonic::Code;
use trivium_proto::{
    model::v1::Turn,
    retriever::v1::AsOf,
    router::v1::{QueryOptions, QueryRequest, QueryStreamRequest, RouteRequest},
};
use trivium_service_kit::{Error, Reason};

use crate::world::{Plan, World};

fn request(query: &str, options: QueryOptions) -> QueryRequest {
    QueryRequest { query: query.to_owned(), options: Some(options), ..QueryRequest::default() }
}

fn table() -> Vec<(QueryRequest, Code, Reason, &'static str)> {
    let none = QueryOptions::default;
    let long = "x".repeat(1 << 20);
    let turns = QueryRequest { query: "a".into(), earlier_turns: vec![Turn::default()], ..QueryRequest::default() };
    vec![
        (request("", none()), Code::InvalidArgument, Reason::QueryEmpty, "query"),
        (request(&long, none()), Code::InvalidArgument, Reason::QueryTooLong, "query"),
        (request("a\u{7}b", none()), Code::InvalidArgument, Reason::FieldInvalid, "query"),
        (
            request("a", QueryOptions { k: Some(1_000_000_000), ..none() }),
            Code::InvalidArgument,
            Reason::FieldOutOfRange,
            "options.k",
        ),
        (
            request("a", QueryOptions { road: 99, ..none() }),
            Code::InvalidArgument,
            Reason::FieldInvalid,
            "options.road",
        ),
        (
            request("a", QueryOptions { as_of: Some(AsOf::default()), ..none() }),
            Code::InvalidArgument,
            Reason::FieldMissing,
            "options.as_of",
        ),
        (turns, Code::Unimplemented, Reason::NotServed, "earlier_turns"),
    ]
}

#[tokio::test]
async fn bad_queries_get_their_code_reason_and_field_whole_and_streamed() {
    let world = World::start(Plan::default()).await;
    for (request, code, reason, field) in table() {
        let QueryRequest { query, request_id, earlier_turns, options } = request.clone();
        let streamed = QueryStreamRequest { query, request_id, earlier_turns, options };
        let whole = world.router.clone().query(request).await.expect_err(field);
        let streamed = world.router.clone().query_stream(streamed).await.expect_err(field);
        for status in [whole, streamed] {
            assert_eq!(status.code(), code, "{status}");
            let error = Error::from(status);
            assert_eq!((error.reason(), error.field()), (reason, Some(field)));
        }
    }
    assert!(world.model_host.analyzed.lock().expect("no test panics with it").is_empty(), "no hop was troubled");
    world.query(QueryOptions::default()).await.expect("the service goes on");
}

#[tokio::test]
async fn bad_questions_are_refused_too() {
    let world = World::start(Plan::default()).await;
    let request = RouteRequest { query: " ".into(), ..RouteRequest::default() };
    let status = world.router.clone().route(request).await.expect_err("blank");
    assert_eq!(Error::from(status).reason(), Reason::QueryEmpty);
}

#[tokio::test]
async fn a_message_over_the_servers_limit_is_called_that() {
    let world = World::start(Plan::default()).await;
    let request = request(&"x".repeat(5 << 20), QueryOptions::default());
    let error = Error::from(world.router.clone().query(request).await.expect_err("too large"));
    assert_eq!(error.reason(), Reason::MessageTooLarge);
    world.query(QueryOptions::default()).await.expect("the service goes on");
}
