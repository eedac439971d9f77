//! Waiting for a version, and the check of every row.

use crate::service::{DOCS, Running, plain, search};
use std::time::Duration;
use tonic::Request;
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{Deadline, Error, Reason};

fn least(min_version: u64) -> SearchRequest {
    SearchRequest { min_version, ..search("words") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_waits_for_the_version_that_it_asks_for() {
    let mut running = Running::with_collection().await;
    let published = running.upsert(vec![plain("a", "words")]).await.snapshot.unwrap().version;
    assert_eq!(running.search(least(published)).await.unwrap().snapshot.unwrap().version, published);
    let mut other = running.client.clone();
    let waiting = tokio::spawn(async move { other.search(least(published + 1)).await });
    running.upsert(vec![plain("b", "more words")]).await;
    let found = waiting.await.unwrap().unwrap().into_inner();
    assert!(found.snapshot.unwrap().version > published);
    assert_eq!(found.hits.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_come_in_time_is_told_with_the_one_that_is_there() {
    let mut running = Running::with_collection().await;
    let published = running.upsert(vec![plain("a", "words")]).await.snapshot.unwrap().version;
    let short = |message| -> Request<SearchRequest> { Deadline::after(Duration::from_millis(300)).request(message) };
    for version in [published + 1, u64::MAX] {
        let error = Error::from(running.client.search(short(least(version))).await.unwrap_err());
        assert_eq!((error.reason(), error.field()), (Reason::DeadlineExceeded, Some("min_version")), "{error}");
        assert!(error.message().contains(&format!("it is at version {published}")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_the_collection_is_deleted() {
    let mut running = Running::with_collection().await;
    let mut other = running.client.clone();
    let waiting = tokio::spawn(async move { other.search(least(u64::MAX)).await });
    // Whichever comes first, the search finds no collection.
    running.client.delete_collection(DeleteCollectionRequest { name: DOCS.into() }).await.unwrap();
    let error = Error::from(waiting.await.unwrap().unwrap_err());
    assert_eq!(error.reason(), Reason::CollectionNotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_in_step_has_no_problems() {
    let mut running = Running::with_collection().await;
    let text = "# One\n\nSome words of one.\n\n# Two\n\n".to_owned() + &"Many more words follow here. ".repeat(60);
    for round in 0..3 {
        let documents = (0..10).map(|n| plain(&format!("d{n}"), &format!("{text} round {}", round * (n % 2))));
        running.upsert(documents.collect()).await;
    }
    running.delete(&["d3"]).await;
    let described = running.describe(DOCS).await;
    let report = running.check().await;
    assert_eq!(report.problems, [""; 0]);
    let counts = (report.table_rows, report.lexical_rows, report.vectors_in_memory, report.problem_count);
    assert_eq!(counts, (described.chunks, described.chunks, described.chunks, 0));
    assert_eq!(report.snapshot, described.snapshot);
    let mut in_table = running.restart_with(|options| options.exact_vectors_bytes = 0).await;
    let report = in_table.check().await;
    assert_eq!((report.problem_count, report.vectors_in_memory), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_collection_can_be_checked() {
    let mut running = Running::start().await;
    for (name, reason) in [("unknown", Reason::CollectionNotFound), ("No Name", Reason::FieldInvalid)] {
        let request = CheckCollectionRequest { name: name.into() };
        let error = Error::from(running.client.check_collection(request).await.unwrap_err());
        assert_eq!((error.reason(), error.field()), (reason, Some("name")), "{error}");
    }
}
