//! The one writer: streams, groups of requests, and clients that race.

use crate::service::{DOCS, Running, batch, plain, search};
use std::collections::BTreeSet;
use trivium_proto::retriever::v1::*;
use trivium_service_kit::Reason;

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_is_acknowledged_in_order_and_visible() {
    let mut running = Running::with_collection().await;
    let batches =
        (0..5).map(|n| batch(&format!("b{n}"), vec![plain(&format!("d{n}"), &format!("text number{n}"))])).collect();
    let (acknowledged, refused) = running.stream(batches).await;
    assert!(refused.is_none());
    let names: Vec<_> = acknowledged.iter().map(|answer| answer.batch_id.as_str()).collect();
    assert_eq!(names, ["b0", "b1", "b2", "b3", "b4"]);
    let versions: Vec<_> = acknowledged.iter().map(|answer| answer.snapshot.as_ref().unwrap().version).collect();
    assert!(versions.is_sorted());
    let response = running.search(search("number4")).await.unwrap();
    assert!(response.snapshot.unwrap().version >= versions[4]);
    assert_eq!(response.hits[0].document_id, "d4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_changes_a_document_and_changes_it_back_ends_where_it_began() {
    let mut running = Running::with_collection().await;
    running.upsert(vec![plain("a", "first")]).await;
    // The second batch looks unchanged while the first one is still on its way.
    let batches = vec![batch("1", vec![plain("a", "second")]), batch("2", vec![plain("a", "first")])];
    let (acknowledged, _) = running.stream(batches).await;
    assert_eq!(acknowledged.iter().map(|answer| answer.upserted).sum::<u32>(), 2);
    assert_eq!(running.get(&["a"]).await.documents[0].document.as_ref().unwrap().text, "first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_clients_lose_nothing() {
    const CLIENTS: usize = 8;
    const BATCHES: usize = 6;
    let mut running = Running::with_collection().await;
    let before = running.describe(DOCS).await.snapshot.unwrap().version;
    let clients = (0..CLIENTS).map(|client| {
        let mut connection = running.client.clone();
        tokio::spawn(async move {
            for number in 0..BATCHES {
                let own = plain(&format!("own-{client}-{number}"), &format!("words of client{client}"));
                let shared = plain(&format!("shared-{number}"), &format!("shared words by client{client}"));
                let batches = tokio_stream::iter(vec![batch("b", vec![own, shared])]);
                let mut answers = connection.upsert_documents(batches).await.unwrap().into_inner();
                assert_eq!(answers.message().await.unwrap().unwrap().upserted, 2);
                let document_ids = vec![format!("own-{client}-0")];
                if number == 3 {
                    let request = DeleteDocumentsRequest { collection: DOCS.into(), document_ids };
                    assert_eq!(connection.delete_documents(request).await.unwrap().into_inner().deleted, 1);
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let expected: BTreeSet<String> = (0..CLIENTS)
        .flat_map(|client| (1..BATCHES).map(move |number| format!("own-{client}-{number}")))
        .chain((0..BATCHES).map(|number| format!("shared-{number}")))
        .collect();
    for leg in [Leg::Lexical, Leg::Semantic] {
        let found: BTreeSet<String> = running.found_by(leg, "words").await.into_iter().collect();
        assert_eq!(found, expected, "{leg:?}");
    }
    let described = running.describe(DOCS).await;
    assert_eq!((described.documents, described.chunks), (expected.len() as u64, expected.len() as u64));
    let commits = described.snapshot.unwrap().version - before;
    assert!(commits <= (CLIENTS * (BATCHES + 1)) as u64, "{commits} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_ends_the_stream_and_leaves_what_was_acknowledged() {
    let mut running = Running::with_collection().await;
    let batches = vec![
        batch("good", vec![plain("a", "alpha")]),
        batch("bad", vec![plain("b", "beta"), plain("", "no id")]),
        batch("late", vec![plain("c", "gamma")]),
    ];
    let (acknowledged, refused) = running.stream(batches).await;
    assert_eq!(acknowledged.len(), 1);
    let error = trivium_service_kit::Error::from(refused.unwrap());
    assert_eq!((error.reason(), error.field()), (Reason::FieldInvalid, Some("documents[1].id")));
    assert!(error.message().contains("\"bad\""), "{error}");
    assert_eq!(running.get(&["a", "b", "c"]).await.missing_document_ids, ["b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_is_there_after_a_restart() {
    let mut running = Running::with_collection().await;
    for start in [0, 20, 40] {
        running
            .upsert((start..start + 30).map(|n| plain(&format!("d{n:02}"), &format!("common text{n}"))).collect())
            .await;
    }
    running.delete(&["d00", "d69"]).await;
    let before = running.describe(DOCS).await;
    assert_eq!(before.documents, 68);
    let mut restarted = running.restart_after(|_| {}).await;
    assert_eq!(restarted.describe(DOCS).await, before);
    let expected: Vec<_> = (1..69).map(|n| format!("d{n:02}")).collect();
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(restarted.found_by(leg, "common").await, expected, "{leg:?}");
    }
    assert_eq!(restarted.upsert(vec![plain("d01", "common text1")]).await.unchanged, 1);
}
