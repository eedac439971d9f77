//! A purge leaves nothing of a document, in any file.

use crate::service::{DOCS, Running, plain, search};
use std::path::Path;
use trivium_proto::retriever::v1::as_of::State;
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{Error, Reason};

/// Words that only the document that is to be purged has, in ids, titles and texts.
const MARKERS: [&str; 3] = ["secretidmarker", "secrettitlemarker", "secrettextmarker"];

fn secret() -> Document {
    Document { title: MARKERS[1].into(), uri: "https://secret".into(), ..plain(MARKERS[0], MARKERS[2]) }
}

/// Files below a folder that hold the bytes of a word.
pub fn holding(folder: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if std::fs::read(&path).unwrap().windows(word.len()).any(|bytes| bytes == word.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

pub async fn purge(running: &mut Running, ids: &[&str]) -> Result<PurgeDocumentsResponse, Error> {
    let document_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let request = PurgeDocumentsRequest { collection: DOCS.into(), document_ids };
    Ok(running.client.purge_documents(request).await.map_err(Error::from)?.into_inner())
}

async fn tag(running: &mut Running, tag: &str) {
    let request = TagSnapshotRequest { collection: DOCS.into(), tag: tag.into(), version: 0 };
    running.client.tag_snapshot(request).await.unwrap();
}

/// Twenty documents, of which one is secret, with a history and a tag.
async fn with_a_secret() -> Running {
    let mut running = Running::with_collection().await;
    let others = (0..19).map(|n| plain(&format!("d{n:02}"), &format!("common words {n}")));
    running.upsert(others.chain([secret()]).collect()).await;
    tag(&mut running, "before").await;
    running.upsert(vec![plain("d00", "common words replaced")]).await;
    running
}

fn others() -> Vec<String> {
    (0..19).map(|n| format!("d{n:02}")).collect()
}

async fn nothing_is_left(mut running: Running) {
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(running.found_by(leg, "common").await, others(), "{leg:?}");
    }
    assert!(running.found_by(Leg::Lexical, MARKERS[2]).await.is_empty());
    assert_eq!(running.check().await.problems, [""; 0]);
    for marker in MARKERS {
        assert_eq!(holding(running.folder(), marker), [""; 0], "{marker}");
    }
    // The collection goes on, and comes back.
    running.upsert(vec![plain("new", "common fresh")]).await;
    running.delete(&["new"]).await;
    let mut restarted = running.restart_after(|_| {}).await;
    assert_eq!(restarted.found_by(Leg::Semantic, "common").await, others());
    assert_eq!(restarted.check().await.problems, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_document_is_in_no_file() {
    let mut running = with_a_secret().await;
    for marker in MARKERS {
        assert!(!holding(running.folder(), marker).is_empty(), "{marker} is there before");
    }
    let before = running.describe(DOCS).await.snapshot.unwrap().version;
    let purged = purge(&mut running, &[MARKERS[0]]).await.unwrap();
    assert_eq!((purged.deleted, purged.removed_tags.as_slice()), (1, ["before".to_owned()].as_slice()));
    assert!(purged.removed_versions.contains(&before) && purged.removed_bytes > 0, "{purged:?}");
    assert!(purged.snapshot.unwrap().version > before);
    let as_of = Some(AsOf { state: Some(State::Tag("before".into())) });
    let error = running.search(SearchRequest { as_of, ..search("common") }).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SnapshotNotFound, "{error}");
    let as_of = Some(AsOf { state: Some(State::Version(before)) });
    let error = running.search(SearchRequest { as_of, ..search("common") }).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SnapshotExpired, "{error}");
    nothing_is_left(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_was_deleted_before_is_purged_from_the_history() {
    let mut running = with_a_secret().await;
    running.delete(&[MARKERS[0]]).await;
    let left = MARKERS.map(|marker| holding(running.folder(), marker).len());
    assert!(left.iter().all(|files| *files > 0), "a deletion alone leaves the bytes: {left:?}");
    assert_eq!(purge(&mut running, &[MARKERS[0], "never there"]).await.unwrap().deleted, 0);
    nothing_is_left(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_can_be_repeated_and_races_with_nothing() {
    let mut running = with_a_secret().await;
    let searches = (0..4).map(|_| {
        let mut client = running.client.clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                let request = SearchRequest { k: Some(100), legs: vec![Leg::Lexical.into()], ..search("common") };
                assert_eq!(client.search(request).await.unwrap().into_inner().hits.len(), 19);
            }
        })
    });
    let searches: Vec<_> = searches.collect();
    assert_eq!(purge(&mut running, &[MARKERS[0]]).await.unwrap().deleted, 1);
    for search in searches {
        search.await.unwrap();
    }
    let again = purge(&mut running, &[MARKERS[0]]).await.unwrap();
    assert_eq!((again.deleted, again.removed_tags.len()), (0, 0));
    nothing_is_left(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_purged_names_its_field() {
    let mut running = Running::with_collection().await;
    for (ids, field) in [(&[][..], "document_ids"), (&["a", ""][..], "document_ids[1]")] {
        assert_eq!(purge(&mut running, ids).await.unwrap_err().field(), Some(field));
    }
    let request = PurgeDocumentsRequest { collection: "unknown".into(), document_ids: vec!["a".into()] };
    let error = Error::from(running.client.purge_documents(request).await.unwrap_err());
    assert_eq!((error.reason(), error.field()), (Reason::CollectionNotFound, Some("collection")), "{error}");
}
