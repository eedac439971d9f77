//! Searches of which one leg fails or is late.

use crate::hashing_embedder::Queries;
use crate::service::{Running, plain, search};
use trivium_proto::retriever::v1::*;
use trivium_service_kit::Reason;

async fn library() -> Running {
    let mut running = Running::with_collection().await;
    let documents = [("cats", "cats purr and sleep in the sun"), ("dogs", "dogs bark and run in the park")];
    running.upsert(documents.map(|(id, text)| plain(id, text)).into()).await;
    running
}

/// A search of both legs that may answer with one.
fn partial() -> SearchRequest {
    SearchRequest { allow_partial: true, leg_budget_ms: 100, ..search("cats purr") }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_alone_answer_where_the_vector_cannot_be_had() {
    let mut running = library().await;
    for (queries, reason) in [
        (Queries::Fail(Reason::ModelHostUnavailable), Reason::ModelHostUnavailable),
        (Queries::Fail(Reason::Overloaded), Reason::Overloaded),
        (Queries::Fail(Reason::ModelNotFound), Reason::ModelNotFound),
        (Queries::Hang, Reason::DeadlineExceeded),
    ] {
        running.embedder.queries(queries);
        let found = running.search(partial()).await.unwrap();
        assert_eq!(found.hits[0].document_id, "cats", "{queries:?}");
        assert!(!found.hits[0].highlights.is_empty());
        for hit in &found.hits {
            assert_eq!((hit.legs.len(), hit.legs[0].leg()), (1, Leg::Lexical));
            assert_eq!((hit.score, hit.legs[0].share), (hit.legs[0].score, hit.score), "its own score, as of one leg");
        }
        let legs: Vec<_> =
            found.legs.iter().map(|leg| (leg.leg(), leg.missing, leg.reason.as_str(), leg.candidates)).collect();
        assert_eq!(legs, [(Leg::Lexical, false, "", 1), (Leg::Semantic, true, reason.as_str(), 0)], "{queries:?}");
        assert!(!found.legs[1].detail.is_empty());
        assert_eq!((found.embedder, found.fusion), (None, None));
        running.embedder.waited_for(0).await;
    }
    running.embedder.queries(Queries::Work);
    let found = running.search(partial()).await.unwrap();
    assert!(found.legs.iter().all(|leg| !leg.missing && leg.reason.is_empty()), "{:?}", found.legs);
    assert!(found.fusion.is_some() && found.embedder.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_out_of_a_search_that_does_not_allow_it() {
    let mut running = library().await;
    running.embedder.queries(Queries::Fail(Reason::ModelHostUnavailable));
    let strict = search("cats purr");
    let semantic = SearchRequest { legs: vec![Leg::Semantic.into()], ..partial() };
    for request in [strict, semantic] {
        let error = running.search(request).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ModelHostUnavailable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_no_missing_leg() {
    let mut running = library().await;
    let error = running.search(SearchRequest { filter: "= 1".into(), ..partial() }).await.unwrap_err();
    assert_eq!((error.reason(), error.field()), (Reason::FilterInvalid, Some("filter")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_is_embedded_for_no_longer() {
    let running = library().await;
    running.embedder.queries(Queries::Hang);
    let embedded = running.embedder.embedded();
    let mut client = running.client.clone();
    let call = tokio::spawn(async move { client.search(search("cats purr")).await });
    running.embedder.waited_for(1).await;
    call.abort();
    // This would wait for ever if the retriever went on.
    running.embedder.waited_for(0).await;
    assert_eq!(running.embedder.embedded(), embedded);
}
