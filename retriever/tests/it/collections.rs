//! Collections are made, described, listed and removed.

use crate::hashing_embedder::{DIMENSION, model};
use crate::service::{DOCS, Running, options, plain};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use trivium_proto::model::v1::ModelRef;
use trivium_proto::retriever::v1::*;
use trivium_retriever::{StartError, start_with};
use trivium_service_kit::{Error, Reason};

fn field(name: &str, kind: MetadataType) -> MetadataField {
    MetadataField { name: name.into(), r#type: kind.into() }
}

fn reason(result: Result<impl std::fmt::Debug, Status>) -> Reason {
    Error::from(result.unwrap_err()).reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_collection_describes_itself() {
    let mut running = Running::start().await;
    let fields = vec![field("lang", MetadataType::String), field("tags", MetadataType::StringList)];
    let made = running.create(DOCS, fields.clone()).await.unwrap();
    assert_eq!((made.name.as_str(), made.dimension as usize, made.documents, made.chunks), (DOCS, DIMENSION, 0, 0));
    assert_eq!(made.embedder, Some(ModelRef { name: model().name, version: model().version }));
    assert_eq!(made.metadata_fields, fields);
    assert_eq!(running.describe(DOCS).await, made);
    let mut restarted = running.restart_after(|_| {}).await;
    assert_eq!(restarted.describe(DOCS).await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_listed_in_order_and_taken_once() {
    let mut running = Running::start().await;
    for name in ["b", "a", "c-1"] {
        running.create(name, Vec::new()).await.unwrap();
    }
    let listed = running.client.list_collections(ListCollectionsRequest {}).await.unwrap().into_inner().collections;
    assert_eq!(listed.iter().map(|collection| collection.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c-1"]);
    assert_eq!(reason(running.create("a", Vec::new()).await), Reason::CollectionExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_collection_is_welcome_only_when_it_fits() {
    let mut running = Running::start().await;
    let asked = CreateCollectionRequest {
        name: DOCS.into(),
        embedder: Some(ModelRef { name: model().name, version: String::new() }),
        metadata_fields: vec![field("lang", MetadataType::String)],
        if_absent: true,
    };
    for _ in 0..2 {
        running.client.create_collection(asked.clone()).await.unwrap();
    }
    let other_fields = CreateCollectionRequest { metadata_fields: Vec::new(), ..asked.clone() };
    assert_eq!(reason(running.client.create_collection(other_fields).await), Reason::CollectionExists);
    let other_version = ModelRef { name: model().name, version: "2".into() };
    let other_embedder = CreateCollectionRequest { embedder: Some(other_version), ..asked };
    assert_eq!(reason(running.client.create_collection(other_embedder).await), Reason::CollectionExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_names_its_field() {
    let mut running = Running::start().await;
    let good = CreateCollectionRequest { name: "good".into(), ..CreateCollectionRequest::default() };
    let with_fields = |metadata_fields| CreateCollectionRequest { metadata_fields, ..good.clone() };
    let with_embedder = |name: &str| CreateCollectionRequest {
        embedder: Some(ModelRef { name: name.into(), version: String::new() }),
        ..good.clone()
    };
    let cases = [
        (CreateCollectionRequest { name: "Bad Name".into(), ..good.clone() }, Reason::FieldInvalid, Some("name")),
        (CreateCollectionRequest { name: "..".into(), ..good.clone() }, Reason::FieldInvalid, Some("name")),
        (with_fields(vec![field("1st", MetadataType::String)]), Reason::FieldInvalid, Some("metadata_fields")),
        (
            with_fields(vec![field("a", MetadataType::Unspecified)]),
            Reason::FieldInvalid,
            Some("metadata_fields[0].type"),
        ),
        (with_embedder(""), Reason::FieldMissing, Some("embedder.name")),
        (with_embedder("unknown"), Reason::ModelNotFound, None),
    ];
    for (request, reason, field) in cases {
        let error = Error::from(running.client.create_collection(request).await.unwrap_err());
        assert_eq!((error.reason(), error.field()), (reason, field), "{error}");
    }
    assert!(
        running.client.list_collections(ListCollectionsRequest {}).await.unwrap().into_inner().collections.is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_collection_is_gone_and_its_name_is_free() {
    let mut running = Running::with_collection().await;
    running.upsert(vec![plain("a", "some words")]).await;
    let request = DeleteCollectionRequest { name: DOCS.into() };
    running.client.delete_collection(request.clone()).await.unwrap();
    assert_eq!(running.client.delete_collection(request).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(std::fs::read_dir(running.folder().join("collections")).unwrap().count(), 0);
    running.create(DOCS, Vec::new()).await.unwrap();
    assert_eq!(running.describe(DOCS).await.documents, 0);
    assert!(running.found_by(Leg::Lexical, "words").await.is_empty());
    running.upsert(vec![plain("b", "other words")]).await;
    assert_eq!(running.found_by(Leg::Semantic, "words").await, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_an_unfinished_creation_are_cleared_away() {
    let running = Running::with_collection().await;
    let restarted = running.restart_after(|folder| std::fs::create_dir(folder.join("collections/.new-1")).unwrap());
    let mut restarted = restarted.await;
    assert_eq!(restarted.describe(DOCS).await.name, DOCS);
    assert!(!restarted.folder().join("collections/.new-1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_out_of_the_data_folder() {
    let running = Running::start().await;
    let second = start_with(&options(running.folder()), running.embedder.clone(), CancellationToken::new()).await;
    let Err(StartError::Collections(error)) = second else { panic!("the second one started") };
    assert!(error.to_string().contains(running.folder().to_str().unwrap()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_newer_format_is_refused() {
    let folder = Running::with_collection().await.stop().await;
    let path = folder.path().join("collections/docs/collection.toml");
    let newer = std::fs::read_to_string(&path).unwrap().replace("format = 3", "format = 4");
    std::fs::write(&path, newer).unwrap();
    let embedder = Arc::new(crate::hashing_embedder::HashingEmbedder::default());
    let started = start_with(&options(folder.path()), embedder, CancellationToken::new()).await;
    let Err(error) = started else { panic!("it started") };
    assert!(error.to_string().contains("has format 4"), "{error}");
}
