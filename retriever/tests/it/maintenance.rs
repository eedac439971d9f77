//! Many small commits stay few fragments, and nobody notices.

use crate::hashing_embedder::{DIMENSION, vector};
use crate::service::{DOCS, Running, options, plain};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use trivium_proto::retriever::v1::Leg;
use trivium_retriever::Options;
use trivium_retriever::collection::{Catalog, Change, CollectionSpec, EmbedderRef, PreparedDocument};
use trivium_retriever::hash::ContentHash;
use trivium_retriever::vector::{ChunkRow, DocumentRow};

/// The least that may be configured.
const FRAGMENTS: usize = 16;

fn often(options: &mut Options) {
    options.compact_fragments = FRAGMENTS;
}

/// Documents of each commit.
fn documents(commit: usize) -> Vec<String> {
    (0..3).map(|number| format!("c{commit:02}-{number}")).collect()
}

async fn write_commits(running: &mut Running, commits: std::ops::Range<usize>) {
    for commit in commits {
        running.upsert(documents(commit).iter().map(|id| plain(id, &format!("common {id}"))).collect()).await;
        if commit > 0 {
            // A document of the commit before goes, which may be in a fragment that was merged meanwhile.
            running.delete(&[documents(commit - 1)[0].as_str()]).await;
        }
    }
}

fn expected(commits: usize) -> Vec<String> {
    let left = |commit| documents(commit).into_iter().skip(usize::from(commit + 1 < commits));
    (0..commits).flat_map(left).collect()
}

async fn check_legs(running: &mut Running, expected: &[String]) {
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(running.found_by(leg, "common").await, expected, "{leg:?}");
    }
}

/// Fragments of the table, after comparing the legs row by row.
async fn fragments(folder: &Path) -> usize {
    let catalog = Catalog::open(folder, options(folder).collections()).await.unwrap();
    let published = catalog.get(DOCS).unwrap().published();
    let keys = published.table.scan_keys().await.unwrap();
    let rows: BTreeSet<_> = keys.iter().map(|key| (key.place.row_id, key.chunk_hash)).collect();
    assert_eq!(published.lexical.rows().unwrap().into_iter().collect::<BTreeSet<_>>(), rows);
    let fragments = published.table.fragments();
    catalog.close().await;
    fragments
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_commits_stay_few_fragments() {
    const COMMITS: usize = 40;
    let mut running = Running::start_with(often).await;
    running.create(DOCS, Vec::new()).await.unwrap();
    write_commits(&mut running, 0..COMMITS).await;
    check_legs(&mut running, &expected(COMMITS)).await;
    // Every row can still be found by its place: all are deleted one by one, through the directory.
    for id in documents(7) {
        running.delete(&[id.as_str()]).await;
    }
    let left: Vec<_> = expected(COMMITS).into_iter().filter(|id| !id.starts_with("c07")).collect();
    check_legs(&mut running, &left).await;
    let folder = running.stop().await;
    let fragments = fragments(folder.path()).await;
    assert!(fragments <= FRAGMENTS + 1, "{fragments} fragments");
}

/// A document of one chunk, ready to be written.
fn prepared(number: usize) -> Change {
    let (document_id, document_hash) = (format!("d{number}"), ContentHash::from_u128(number as u128));
    let document = DocumentRow {
        document_id: document_id.clone(),
        title: String::new(),
        uri: String::new(),
        content_type: "text/plain".into(),
        language: String::new(),
        declared: Vec::new(),
        metadata_json: "{}".into(),
        document_hash,
    };
    let text = format!("common number{number}");
    let row = ChunkRow {
        document: Arc::new(document),
        chunk_id: format!("{document_id}#0"),
        chunk_no: 0,
        char_start: 0,
        char_end: text.len() as u32,
        heading_path: Vec::new(),
        index_text: text.clone(),
        vector: vector(&text),
        token_vectors: None,
        text,
        chunk_hash: document_hash,
    };
    Change::Put(PreparedDocument { document_id, document_hash, rows: vec![row] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_taken_before_a_merge_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = options(folder.path());
    often(&mut settings);
    let catalog = Catalog::open(folder.path(), settings.collections()).await.unwrap();
    let embedder = EmbedderRef { name: "hashing".into(), version: "1".into() };
    let collection = catalog.create(CollectionSpec::new(DOCS, embedder, DIMENSION, Vec::new()), false).await.unwrap();
    for number in 0..FRAGMENTS {
        collection.write(vec![prepared(number)]).await.unwrap();
    }
    let before = collection.published();
    assert_eq!(before.table.fragments(), FRAGMENTS);
    let ids: Vec<u64> = before.table.scan_keys().await.unwrap().iter().map(|key| key.place.row_id).collect();
    let read = before.table.take_chunks(&ids).await.unwrap();
    // The first of these makes one fragment too many; by the answer to the second the merge is done.
    for number in FRAGMENTS..FRAGMENTS + 2 {
        collection.write(vec![prepared(number)]).await.unwrap();
    }
    let after = collection.published();
    assert_eq!((after.table.fragments(), after.chunks), (2, FRAGMENTS as u64 + 2));
    assert_eq!(after.table.take_chunks(&ids).await.unwrap(), read, "rows keep their ids");
    assert_eq!(before.table.take_chunks(&ids).await.unwrap(), read);
    assert_eq!(before.lexical.num_docs(), FRAGMENTS as u64);
    assert_eq!(before.table.fragments(), FRAGMENTS);
    catalog.close().await;
}
