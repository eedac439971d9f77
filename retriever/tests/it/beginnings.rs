//! The part that the beginning of a document has in the second stage's score.

use crate::service::{DOCS, Running, plain, search};
use std::collections::HashMap;
use trivium_proto::retriever::v1::*;

const QUERY: &str = "red house garden";

/// A document of several chunks, which begins with these words. Its chunks are not alike.
fn long(id: &str, beginning: &str) -> Document {
    let about =
        |n: usize| format!("part {n} of {id} speaks of a red garden number{n} and of other{n} things{n}. ").repeat(4);
    let parts: String = (0..4).map(about).collect::<Vec<_>>().join("\n\n");
    plain(id, &format!("{}\n\n{parts}", format!("{beginning}. ").repeat(8)))
}

async fn with_tokens(change: impl FnOnce(&mut trivium_retriever::Options)) -> Running {
    let mut running = Running::start_with(change).await;
    *running.embedder.projection.lock().unwrap() = Some("1");
    running.create(DOCS, Vec::new()).await.unwrap();
    running
}

fn everything() -> SearchRequest {
    let rerank = Rerank { method: RerankMethod::LateInteraction.into(), depth: Some(200), weight: None };
    SearchRequest { k: Some(100), legs: vec![Leg::Semantic.into()], rerank: Some(rerank), ..search(QUERY) }
}

/// Searches for everything, and checks that each chunk was given what its document's first chunk has. The leg's score is not
/// divided by the length of the chunk's vector, which is drawn towards its document's mean and at least 0.75; the first
/// chunks differ from the others by more than that.
async fn checked(running: &mut Running, request: SearchRequest) -> SearchResponse {
    let found = running.search(request).await.unwrap();
    assert_eq!(found.rerank.as_ref().unwrap().left_out_reason, "");
    let begins: HashMap<&str, f64> = found
        .hits
        .iter()
        .filter(|hit| hit.chunk_no == 0)
        .map(|hit| (hit.document_id.as_str(), hit.legs[0].score))
        .collect();
    assert!(found.hits.len() > begins.len(), "some document has several chunks");
    for hit in &found.hits {
        let given = hit.rerank.unwrap().beginning_score.unwrap();
        let begins = begins[hit.document_id.as_str()];
        let fits = begins <= given + 1e-5 && begins >= 0.75 * given - 1e-5;
        assert!(fits, "{}: {given} is not that of the first chunk, {begins}", hit.chunk_id);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_chunk_is_given_the_first_of_its_document_in_every_state() {
    let mut running = with_tokens(|_| {}).await;
    running
        .upsert(vec![long("a", "red house garden"), long("b", "rivers and roads"), plain("short", "a red house")])
        .await;
    let first = checked(&mut running, everything()).await;
    let version = first.snapshot.as_ref().unwrap().version;
    running.upsert(vec![long("c", "stones"), long("a", "something else altogether")]).await;
    running.delete(&["b"]).await;
    let now = checked(&mut running, everything()).await;
    assert!(now.hits.iter().all(|hit| hit.document_id != "b"));
    let as_of = Some(AsOf { state: Some(as_of::State::Version(version)) });
    let then = checked(&mut running, SearchRequest { as_of: as_of.clone(), ..everything() }).await;
    assert_eq!(then.hits, first.hits);
    let purge = PurgeDocumentsRequest { collection: DOCS.into(), document_ids: vec!["c".into()] };
    running.client.purge_documents(purge).await.unwrap();
    checked(&mut running, everything()).await;
    let mut running = running
        .restart_after(|folder| {
            // The index is made anew from the table, in whatever order that gives its rows.
            std::fs::remove_dir_all(folder.join("collections").join(DOCS).join("lexical")).unwrap();
        })
        .await;
    *running.embedder.projection.lock().unwrap() = Some("1");
    checked(&mut running, everything()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_not_in_memory_gives_the_same() {
    let documents = || vec![long("a", "red house garden"), long("b", "rivers and roads")];
    let mut in_memory = with_tokens(|_| {}).await;
    in_memory.upsert(documents()).await;
    let mut on_disk = with_tokens(|options| options.exact_vectors_bytes = 0).await;
    on_disk.upsert(documents()).await;
    let expected = checked(&mut in_memory, everything()).await;
    let found = checked(&mut on_disk, everything()).await;
    let scores = |response: &SearchResponse| -> Vec<_> {
        response.hits.iter().map(|hit| (hit.chunk_id.clone(), hit.rerank.unwrap().beginning_score)).collect()
    };
    assert_eq!(scores(&found), scores(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_chunks_alike_the_one_of_the_better_document_comes_first() {
    let mut running = with_tokens(|_| {}).await;
    running.upsert(vec![long("roads", "rivers and roads"), long("house", "red house garden")]).await;
    let found = checked(&mut running, everything()).await;
    let rank =
        |id: &str| found.hits.iter().find(|hit| hit.document_id == id && hit.chunk_no > 0).unwrap().rerank.unwrap();
    let (house, roads) = (rank("house"), rank("roads"));
    assert!(house.beginning_score > roads.beginning_score);
    assert!(house.rank_after < roads.rank_after, "{house:?} {roads:?}");
}
