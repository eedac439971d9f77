//! The vectors of another encoder take the place of those of before, and nothing is lost on the way.

use crate::hashing_embedder::{DIMENSION, model, second_model, second_vector, vector};
use crate::purging::{holding, purge};
use crate::service::{DOCS, Running, batch, plain, search};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trivium_proto::model::v1::{ModelRef, QueryVector};
use trivium_proto::retriever::v1::as_of::State;
use trivium_proto::retriever::v1::*;
use trivium_retriever::collection::EmbedderRef;
use trivium_service_kit::Reason;

fn reference(model: EmbedderRef) -> ModelRef {
    ModelRef { name: model.name, version: model.version }
}

fn second() -> Option<ModelRef> {
    Some(reference(second_model()))
}

fn given(model: EmbedderRef, values: Vec<f32>) -> Vec<QueryVector> {
    vec![QueryVector { embedder: Some(reference(model)), values, token_vectors: None }]
}

fn id(number: usize) -> String {
    format!("d{number:03}")
}

fn documents(numbers: std::ops::Range<usize>) -> Vec<Document> {
    numbers.map(|number| plain(&id(number), &format!("common words {number}"))).collect()
}

/// Waits until nothing is being re-embedded, or it stands still.
async fn settled(running: &mut Running) -> Collection {
    loop {
        let described = running.describe(DOCS).await;
        if described.reembedding.as_ref().is_none_or(|begun| !begun.problem.is_empty()) {
            return described;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn folder_of(running: &Running) -> PathBuf {
    running.folder().join("collections").join(DOCS)
}

fn tables_in(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("table-")).count()
}

/// Both legs hold exactly these documents, by the second encoder, and agree on every row.
async fn holds(running: &mut Running, expected: &[String]) {
    let described = running.describe(DOCS).await;
    assert_eq!((described.embedder, described.dimension as usize), (second(), DIMENSION / 2));
    assert_eq!(described.reembedding, None);
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(running.found_by(leg, "common").await, expected, "{leg:?}");
    }
    assert_eq!(running.check().await.problems, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_encoders_vectors_take_the_place_of_those_of_before() {
    let mut running = Running::with_collection().await;
    running.upsert(documents(0..50)).await;
    let tag = TagSnapshotRequest { collection: DOCS.into(), tag: "before".into(), version: 0 };
    running.client.tag_snapshot(tag).await.unwrap();
    let blend = SetBlendRequest { name: DOCS.into(), semantic_weight: Some(0.9), queries: 7 };
    running.client.set_blend(blend).await.unwrap();
    let before = running.describe(DOCS).await.snapshot.unwrap().version;

    running.embedder.let_second_embed(Some(1));
    let begun = running.reembed(DOCS, second()).await.unwrap();
    assert_eq!(begun.embedder, Some(reference(model())), "the vectors of before serve meanwhile");
    assert_eq!(begun.reembedding.unwrap().embedder, second());
    running.embedder.second_waits().await;
    // Documents come, change and go meanwhile, and are there at once.
    running.upsert(vec![plain("d007", "common words replaced"), plain("new", "common words too")]).await;
    running.delete(&["d008"]).await;
    assert_eq!(running.found_by(Leg::Lexical, "replaced").await, ["d007"]);
    assert_eq!(running.found_by(Leg::Semantic, "common").await.len(), 50);
    running.embedder.let_second_embed(None);
    settled(&mut running).await;

    let mut expected: Vec<String> = (0..50).filter(|number| *number != 8).map(id).collect();
    expected.push("new".to_owned());
    holds(&mut running, &expected).await;
    let described = running.describe(DOCS).await;
    assert!(described.snapshot.unwrap().version > before + 2, "versions count on");
    assert!(!described.blend.unwrap().own, "a weight that was fitted to other vectors is gone");
    let of_before = SearchRequest { vectors: given(model(), vector("common")), ..search("common") };
    assert_eq!(running.search(of_before).await.unwrap_err().reason(), Reason::EmbedderMismatch);
    let of_now = SearchRequest { vectors: given(second_model(), second_vector("replaced")), ..search("replaced") };
    assert_eq!(running.search(of_now).await.unwrap().hits[0].document_id, "d007");
    for state in [State::Tag("before".into()), State::Version(before)] {
        let as_of = Some(AsOf { state: Some(state.clone()) });
        let error = running.search(SearchRequest { as_of, ..search("common") }).await.unwrap_err();
        assert!(
            matches!(error.reason(), Reason::SnapshotExpired | Reason::SnapshotNotFound),
            "{state:?} is of other vectors: {error}"
        );
    }

    // It goes on like any other: writes, kept states, a restart.
    let written = running.upsert(vec![plain("newer", "common words three")]).await.snapshot.unwrap().version;
    running.delete(&["new"]).await;
    let as_of = Some(AsOf { state: Some(State::Version(written)) });
    let then = running.search(SearchRequest { as_of, k: Some(100), ..search("common") }).await.unwrap();
    assert_eq!(then.hits.len(), 51);
    *expected.last_mut().unwrap() = "newer".to_owned();
    holds(&mut running, &expected).await;
    let mut restarted = running.restart_after(|_| {}).await;
    holds(&mut restarted, &expected).await;
    assert_eq!(restarted.describe(DOCS).await.snapshot.unwrap().version, written + 1);
    assert_eq!(tables_in(&folder_of(&restarted)), 1, "the table of before is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_arrive_while_the_vectors_change_are_kept() {
    let mut running = Running::with_collection().await;
    running.upsert(documents(0..40)).await;
    let mut client = running.client.clone();
    let writes = tokio::spawn(async move {
        let batches = (0..100).map(|number| batch(&number.to_string(), documents(40 + number * 3..43 + number * 3)));
        let mut answers = client.upsert_documents(tokio_stream::iter(batches)).await.unwrap().into_inner();
        let mut versions = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            versions.push(answer.snapshot.unwrap().version);
        }
        versions
    });
    running.reembed(DOCS, second()).await.unwrap();
    let versions = writes.await.unwrap();
    assert_eq!(versions.len(), 100, "every batch was acknowledged");
    assert!(versions.is_sorted(), "{versions:?}");
    settled(&mut running).await;
    holds(&mut running, &(0..340).map(id).collect::<Vec<_>>()).await;
    running.upsert(documents(0..340)).await;
    let again = running.upsert(documents(0..340)).await;
    assert_eq!(again.unchanged, 340, "documents are known by their content, whoever embedded them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_reaches_the_vectors_that_are_being_made() {
    let mut running = Running::with_collection().await;
    let secret = plain("d000-secret", "common secrettextmarker");
    running.upsert([vec![secret], documents(0..80)].concat()).await;
    // The secret one is among the first that are copied; the others wait.
    running.embedder.let_second_embed(Some(1));
    running.reembed(DOCS, second()).await.unwrap();
    running.embedder.second_waits().await;
    while holding(&folder_of(&running).join("next"), "secrettextmarker").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let embedder = running.embedder.clone();
    let (purged, ()) = tokio::join!(purge(&mut running, &["d000-secret"]), async {
        embedder.let_second_embed(None);
    });
    purged.unwrap();
    assert_eq!(holding(running.folder(), "secrettextmarker"), [""; 0]);
    settled(&mut running).await;
    holds(&mut running, &(0..80).map(id).collect::<Vec<_>>()).await;
    assert_eq!(holding(running.folder(), "secrettextmarker"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_a_restart() {
    let mut running = Running::with_collection().await;
    running.upsert(documents(0..80)).await;
    running.embedder.let_second_embed(Some(33));
    running.reembed(DOCS, second()).await.unwrap();
    running.embedder.second_waits().await;
    let mut restarted = running.restart_after(|_| {}).await;
    settled(&mut restarted).await;
    holds(&mut restarted, &(0..80).map(id).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_taken_back_by_asking_for_the_encoder_of_before() {
    let mut running = Running::with_collection().await;
    running.upsert(documents(0..50)).await;
    running.embedder.let_second_embed(Some(1));
    running.reembed(DOCS, second()).await.unwrap();
    let described = running.reembed(DOCS, Some(reference(model()))).await.unwrap();
    assert_eq!((described.reembedding, described.embedder), (None, Some(reference(model()))));
    assert!(!folder_of(&running).join("next").exists());
    running.delete(&["d000"]).await;
    assert_eq!(running.found_by(Leg::Semantic, "common").await.len(), 49);
    // A collection can be deleted on the way.
    running.reembed(DOCS, second()).await.unwrap();
    running.client.delete_collection(DeleteCollectionRequest { name: DOCS.into() }).await.unwrap();
    assert!(!folder_of(&running).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_begun_changes_nothing() {
    let mut running = Running::with_collection().await;
    running.upsert(documents(0..3)).await;
    let unknown = Some(ModelRef { name: "nobody".into(), version: "9".into() });
    assert_eq!(running.reembed(DOCS, unknown).await.unwrap_err().reason(), Reason::ModelNotFound);
    assert_eq!(running.reembed("nothing", second()).await.unwrap_err().reason(), Reason::CollectionNotFound);
    let nameless = Some(ModelRef { name: String::new(), version: "2".into() });
    assert_eq!(running.reembed(DOCS, nameless).await.unwrap_err().reason(), Reason::FieldMissing);
    let described = running.describe(DOCS).await;
    assert_eq!((described.reembedding, described.documents), (None, 3));
    assert!(!folder_of(&running).join("next").exists());
}

/// Moves, of those that end a re-embedding, that the process had made when it ended.
async fn ended_after(moves: usize) {
    let mut running = Running::with_collection().await;
    running.upsert(documents(0..5)).await;
    let before = running.describe(DOCS).await.snapshot.unwrap().version;
    let mut other = Running::with_collection().await;
    other.upsert(documents(0..5)).await;
    other.reembed(DOCS, second()).await.unwrap();
    settled(&mut other).await;
    let other = other.stop().await;
    let mut restarted = running
        .restart_after(|folder| {
            let (ours, theirs) = (folder.join("collections/docs"), other.path().join("collections/docs"));
            let next = ours.join("next");
            std::fs::rename(theirs, &next).unwrap();
            let description = std::fs::read_to_string(next.join("collection.toml")).unwrap();
            let counting_on = description.lines().map(|line| match line.starts_with("versions_before") {
                true => format!("versions_before = {before}\n"),
                false => format!("{line}\n"),
            });
            std::fs::write(ours.join("collection.toml"), counting_on.collect::<String>()).unwrap();
            let mut paths = std::fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path());
            let table = paths.find(|path| path.extension().is_some_and(|ending| ending == "lance")).unwrap();
            if moves > 0 {
                std::fs::rename(&table, ours.join(table.file_name().unwrap())).unwrap();
            }
            if moves > 1 {
                std::fs::rename(ours.join("lexical"), ours.join(".replaced-7")).unwrap();
            }
            if moves > 2 {
                std::fs::rename(next.join("lexical"), ours.join("lexical")).unwrap();
            }
        })
        .await;
    holds(&mut restarted, &(0..5).map(id).collect::<Vec<_>>()).await;
    assert!(restarted.describe(DOCS).await.snapshot.unwrap().version > before);
    let folder = folder_of(&restarted);
    assert_eq!((tables_in(&folder), folder.join("next").exists()), (1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ended_while_the_files_were_moved_finishes_the_move() {
    for moves in 0..=3 {
        ended_after(moves).await;
    }
}
