//! Documents that bring their vectors.

use crate::hashing_embedder::{MAX_TOKENS, model, vector};
use crate::service::{Running, batch, plain, search};
use trivium_proto::model::v1::{ModelRef, QueryVector};
use trivium_proto::retriever::v1::{Document, Leg, SearchRequest};
use trivium_service_kit::Reason;

fn with_vector(id: &str, text: &str, values: Vec<f32>) -> Document {
    let embedder = ModelRef { name: model().name, version: model().version };
    Document { vector: Some(QueryVector { embedder: Some(embedder), values, token_vectors: None }), ..plain(id, text) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_found_by_the_vector_that_it_brought() {
    let mut running = Running::with_collection().await;
    // The vector speaks of something else than the text, so it tells which of the two was used.
    let documents = vec![with_vector("a", "alpha", vector("bravo")), plain("b", "charlie")];
    let written = running.upsert(documents).await;
    assert_eq!((written.upserted, running.embedder.embedded()), (2, 1), "only the other document was embedded");
    let request = SearchRequest { legs: vec![Leg::Semantic.into()], ..search("bravo") };
    let hits = running.search(request).await.unwrap().hits;
    assert_eq!(hits[0].document_id, "a");
    assert!((hits[0].score - 1.0).abs() < 1e-5, "{}", hits[0].score);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_cannot_be_the_documents_is_refused_and_changes_nothing() {
    let mut running = Running::with_collection().await;
    let long = "word ".repeat(4 * MAX_TOKENS);
    let mut other = with_vector("a", "alpha", vector("alpha"));
    other.vector.as_mut().unwrap().embedder.as_mut().unwrap().version = "2".into();
    let cases = [
        (with_vector("a", &long, vector("word")), Reason::VectorInvalid, "documents[1].vector"),
        (with_vector("a", "alpha", vec![1.0; 3]), Reason::VectorInvalid, "documents[1].vector.values"),
        (with_vector("a", "alpha", vec![f32::NAN; 64]), Reason::VectorInvalid, "documents[1].vector.values"),
        (with_vector("a", "alpha", vec![0.0; 64]), Reason::VectorInvalid, "documents[1].vector.values"),
        (other, Reason::EmbedderMismatch, "documents[1].vector"),
    ];
    for (document, reason, field) in cases {
        let error = running.refused(batch("b", vec![plain("good", "good"), document])).await;
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
    assert_eq!(running.get(&["good", "a"]).await.missing_document_ids, ["good", "a"]);
}
