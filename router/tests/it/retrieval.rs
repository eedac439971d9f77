//! Retrieval over one collection and over several.

use trivium_proto::retriever::v1::{AsOf, as_of};
use trivium_proto::router::v1::QueryOptions;
use trivium_service_kit::Reason;

use crate::{
    fake_retriever::{Script, WRONG_FILTER, hit},
    world::{Plan, World},
};

#[tokio::test]
async fn a_collection_of_another_embedder_is_searched_again_without_a_vector() {
    let mut plan = Plan::of_intent("factual", 0.9);
    plan.retriever = Script { other_embedder: true, ..Script::default() };
    let world = World::start(plan).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    assert_eq!(response.passages.len(), 2);
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    let vectors: Vec<_> = searched.iter().map(|request| request.vectors.len()).collect();
    assert_eq!(vectors, [1, 0]);
    let models = response.account.expect("an account").models;
    let embedders: Vec<_> = models
        .iter()
        .filter(|part| part.role == "embedder")
        .map(|part| part.model.as_ref().expect("a model").name.as_str())
        .collect();
    assert_eq!(embedders, ["minilm", "other"]);
}

#[tokio::test]
async fn two_collections_become_one_ranking() {
    let mut plan = Plan::of_intent("lookup", 0.9);
    plan.retriever.collections.insert("faq", vec![hit("billing.md", 5.0, 0.7)]);
    let world = World::start(plan).await;
    let options = QueryOptions { collections: vec!["docs".into(), "faq".into()], ..QueryOptions::default() };
    let response = world.query(options).await.expect("an answer");
    let passages: Vec<_> = response
        .passages
        .iter()
        .map(|passage| {
            let hit = passage.hit.as_ref().expect("a hit");
            (passage.number, passage.collection.as_str(), hit.document_id.as_str(), hit.legs[0].rank)
        })
        .collect();
    assert_eq!(passages, [(1, "docs", "guide.md", 1), (2, "faq", "billing.md", 2), (3, "docs", "faq.md", 3)]);
    let snapshots = response.account.expect("an account").snapshots;
    let names: Vec<_> = snapshots.iter().map(|snapshot| snapshot.collection.as_str()).collect();
    assert_eq!(names, ["docs", "faq"]);
}

#[tokio::test]
async fn no_more_passages_come_than_were_asked_for() {
    let mut plan = Plan::of_intent("how_to", 0.9);
    plan.retriever.collections.insert("faq", vec![hit("billing.md", 5.0, 0.7)]);
    let world = World::start(plan).await;
    let options =
        QueryOptions { collections: vec!["docs".into(), "faq".into()], k: Some(2), ..QueryOptions::default() };
    assert_eq!(world.query(options).await.expect("an answer").passages.len(), 2);
}

#[tokio::test]
async fn an_unknown_collection_is_not_found_and_names_the_callers_field() {
    let world = World::start(Plan::default()).await;
    let options = QueryOptions { collections: vec!["docs".into(), "nowhere".into()], ..QueryOptions::default() };
    let error = world.query(options).await.expect_err("no such collection");
    assert_eq!((error.reason(), error.field()), (Reason::CollectionNotFound, Some("options.collections")));
    assert!(error.message().contains("nowhere"), "{error}");
}

#[tokio::test]
async fn a_filter_goes_to_each_collection_as_it_is() {
    let mut plan = Plan::of_intent("how_to", 0.9);
    plan.retriever.collections.insert("faq", vec![hit("billing.md", 5.0, 0.7)]);
    let world = World::start(plan).await;
    let filter = r#"lang = "en""#;
    let collections = vec!["docs".into(), "faq".into()];
    let options = QueryOptions { collections, filter: filter.into(), ..QueryOptions::default() };
    world.query(options).await.expect("an answer");
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    assert_eq!(searched.iter().map(|request| request.filter.as_str()).collect::<Vec<_>>(), [filter, filter]);
}

#[tokio::test]
async fn a_filter_that_the_retriever_refuses_names_the_callers_field() {
    let world = World::start(Plan::of_intent("how_to", 0.9)).await;
    let options = QueryOptions { filter: WRONG_FILTER.into(), ..QueryOptions::default() };
    let error = world.query(options).await.expect_err("no filter");
    assert_eq!((error.reason(), error.field()), (Reason::FilterInvalid, Some("options.filter")));
}

#[tokio::test]
async fn the_wanted_state_goes_to_each_collection() {
    let mut plan = Plan::of_intent("how_to", 0.9);
    plan.retriever.collections.insert("faq", vec![hit("billing.md", 5.0, 0.7)]);
    let world = World::start(plan).await;
    let as_of = AsOf { state: Some(as_of::State::Tag("release-3".to_owned())) };
    let options = QueryOptions {
        collections: vec!["docs".into(), "faq".into()],
        as_of: Some(as_of.clone()),
        min_versions: [("faq".to_owned(), 7), ("elsewhere".to_owned(), 9)].into(),
        ..QueryOptions::default()
    };
    world.query(options).await.expect("an answer");
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    let mut states: Vec<_> =
        searched.into_iter().map(|request| (request.collection, request.as_of, request.min_version)).collect();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states, [("docs".to_owned(), Some(as_of.clone()), 0), ("faq".to_owned(), Some(as_of), 7)]);
}
