//! Whatever a client sends, the service says what is wrong with it and goes on.

use crate::service::{DOCS, Running, batch, plain, search};
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{Error, Reason};

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_are_refused_and_the_service_goes_on() {
    let mut running = Running::with_collection().await;
    let elsewhere =
        |name: &str| UpsertDocumentsRequest { collection: name.into(), ..batch("b", vec![plain("a", "x")]) };
    let strange = Document { content_type: 9, ..plain("a", "x") };
    let cases = [
        (elsewhere("unknown"), Reason::CollectionNotFound, "collection"),
        (elsewhere("../docs"), Reason::FieldInvalid, "collection"),
        (batch("b", Vec::new()), Reason::FieldOutOfRange, "documents"),
        (batch("b", vec![plain("a", "x"); 1_025]), Reason::FieldOutOfRange, "documents"),
        (batch(&"b".repeat(129), vec![plain("a", "x")]), Reason::FieldInvalid, "batch_id"),
        (batch("b", vec![plain("a", "x"), plain("a", "y")]), Reason::DuplicateId, "documents[1].id"),
        (batch("b", vec![plain("a", &"x".repeat((1 << 20) + 1))]), Reason::DocumentTooLarge, "documents[0].text"),
        (batch("b", vec![plain("a\u{1}", "x")]), Reason::FieldInvalid, "documents[0].id"),
        (batch("b", vec![plain("a", "")]), Reason::FieldMissing, "documents[0].text"),
        (batch("b", vec![strange]), Reason::FieldInvalid, "documents[0].content_type"),
    ];
    for (request, reason, field) in cases {
        let error = running.refused(request).await;
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
    assert_eq!(running.upsert(vec![plain("a", "still alive")]).await.upserted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_stays_with_its_collection() {
    let mut running = Running::with_collection().await;
    running.create("other", Vec::new()).await.unwrap();
    let elsewhere = UpsertDocumentsRequest { collection: "other".into(), ..batch("2", vec![plain("b", "x")]) };
    let (acknowledged, refused) = running.stream(vec![batch("1", vec![plain("a", "x")]), elsewhere]).await;
    assert_eq!(acknowledged.len(), 1);
    assert_eq!(Error::from(refused.unwrap()).field(), Some("collection"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_searches_name_their_field() {
    let mut running = Running::with_collection().await;
    let cases = [
        (SearchRequest { collection: "unknown".into(), ..search("x") }, Reason::CollectionNotFound, "collection"),
        (search(""), Reason::QueryEmpty, "query"),
        (search(&"word ".repeat(200_000)), Reason::QueryTooLong, "query"),
        (SearchRequest { k: Some(1_000_000_000), ..search("x") }, Reason::FieldOutOfRange, "k"),
        (SearchRequest { legs: vec![7], ..search("x") }, Reason::FieldInvalid, "legs[0]"),
        (SearchRequest { filter: "a = 1".into(), ..search("x") }, Reason::FilterInvalid, "filter"),
    ];
    for (request, reason, field) in cases {
        let error = running.search(request).await.unwrap_err();
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_ids_are_refused() {
    let mut running = Running::with_collection().await;
    let too_many: Vec<String> = (0..1_025).map(|n| n.to_string()).collect();
    let cases =
        [(vec![], "document_ids"), (too_many, "document_ids"), (vec!["a".into(), String::new()], "document_ids[1]")];
    for (document_ids, field) in cases {
        let get = GetDocumentsRequest { collection: DOCS.into(), document_ids: document_ids.clone() };
        let delete = DeleteDocumentsRequest { collection: DOCS.into(), document_ids };
        let got = Error::from(running.client.get_documents(get).await.unwrap_err());
        let deleted = Error::from(running.client.delete_documents(delete).await.unwrap_err());
        assert_eq!((got.field(), deleted.field()), (Some(field), Some(field)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_a_seam_is_taken() {
    let mut running = Running::with_collection().await;
    let endless = "x".repeat(1 << 19);
    let answer = running.upsert(vec![plain("a", &endless)]).await;
    assert!(answer.chunks > 1);
    assert_eq!(running.get(&["a"]).await.documents[0].document.as_ref().unwrap().text, endless);
}
