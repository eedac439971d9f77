//! A collection's own second stage.

use crate::service::{DOCS, Running, plain, search};
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{Error, Reason};

async fn with_tokens() -> Running {
    let mut running = Running::start().await;
    *running.embedder.projection.lock().unwrap() = Some("1");
    running.create(DOCS, Vec::new()).await.unwrap();
    running.upsert(vec![plain("cats", "cats purr in the sun"), plain("dogs", "dogs bark in the sun")]).await;
    running
}

async fn set(running: &mut Running, method: RerankMethod) -> RerankMethod {
    let request = SetRerankRequest { name: DOCS.into(), method: method.into() };
    running.client.set_rerank(request).await.unwrap().into_inner().method()
}

/// The method that a search came to; `None` where there was no second stage.
async fn used(running: &mut Running, method: RerankMethod, legs: &[Leg]) -> Option<RerankMethod> {
    let rerank = Some(Rerank { method: method.into(), depth: None, weight: None });
    let legs = legs.iter().map(|leg| (*leg).into()).collect();
    let found = running.search(SearchRequest { rerank, legs, ..search("cats in the sun") }).await.unwrap();
    found.rerank.map(|report| report.method())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_goes_before_the_collection_and_that_before_the_default() {
    use RerankMethod::{CrossEncoder, LateInteraction, None as Nothing, Unspecified};
    let mut running = with_tokens().await;
    let table = [
        (Unspecified, Unspecified, Some(LateInteraction)),
        (Nothing, Unspecified, None),
        (Nothing, LateInteraction, Some(LateInteraction)),
        (CrossEncoder, Unspecified, Some(CrossEncoder)),
        (CrossEncoder, Nothing, None),
        (LateInteraction, Unspecified, Some(LateInteraction)),
    ];
    for (own, asked, expected) in table {
        assert_eq!(set(&mut running, own).await, own);
        assert_eq!(running.describe(DOCS).await.rerank(), own);
        assert_eq!(used(&mut running, asked, &[]).await, expected, "{own:?} {asked:?}");
    }
    // What a collection chose is done where the default would not be: the query is encoded for it.
    assert_eq!(used(&mut running, Unspecified, &[Leg::Lexical]).await, Some(LateInteraction));
    set(&mut running, Unspecified).await;
    assert_eq!(used(&mut running, Unspecified, &[Leg::Lexical]).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_outlives_a_restart_and_can_be_taken_back() {
    let mut running = with_tokens().await;
    set(&mut running, RerankMethod::None).await;
    let mut running = running.restart_after(|_| {}).await;
    assert_eq!(running.describe(DOCS).await.rerank(), RerankMethod::None);
    set(&mut running, RerankMethod::Unspecified).await;
    let mut running = running.restart_after(|_| {}).await;
    assert_eq!(running.describe(DOCS).await.rerank(), RerankMethod::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_names_its_field_and_changes_nothing() {
    let mut running = with_tokens().await;
    set(&mut running, RerankMethod::CrossEncoder).await;
    let request = |name: &str, method: i32| SetRerankRequest { name: name.into(), method };
    let table = [
        (request(DOCS, 77), Reason::FieldInvalid, "method"),
        (request("unknown", 1), Reason::CollectionNotFound, "name"),
        (request("No Name", 1), Reason::FieldInvalid, "name"),
    ];
    for (request, reason, field) in table {
        let error = Error::from(running.client.set_rerank(request).await.unwrap_err());
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
    assert_eq!(running.describe(DOCS).await.rerank(), RerankMethod::CrossEncoder);
}
