//! Whatever happens to the lexical index while nobody looks, both legs hold the same rows after the next start.

use crate::service::{DOCS, Running, options, plain};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trivium_proto::retriever::v1::Leg;
use trivium_retriever::collection::Catalog;

/// The folder of the lexical index.
fn lexical(folder: &Path) -> PathBuf {
    folder.join("collections").join(DOCS).join("lexical")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn put_back(older: &Path, folder: &Path) {
    std::fs::remove_dir_all(lexical(folder)).unwrap();
    copy(older, &lexical(folder));
}

/// Files of the index whose names end so.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(lexical(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
}

/// A word that only one document has: `bbbb` for 1.
fn own_word(n: u8) -> String {
    char::from(b'a' + n).to_string().repeat(4)
}

async fn filled() -> Running {
    let mut running = Running::with_collection().await;
    running.upsert((0..20).map(|n| plain(&format!("d{n:02}"), &format!("common {}", own_word(n)))).collect()).await;
    running.delete(&["d00"]).await;
    running.upsert(vec![plain("d01", "common replaced")]).await;
    running
}

fn expected() -> Vec<String> {
    (1..20).map(|n| format!("d{n:02}")).collect()
}

/// Restarts after `meddle`, and checks both legs through searches and row by row.
async fn heals(running: Running, meddle: impl FnOnce(&Path)) {
    let mut healed = running.restart_after(meddle).await;
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(healed.found_by(leg, "common").await, expected(), "{leg:?}");
    }
    assert_eq!(healed.found_by(Leg::Lexical, "replaced").await, ["d01"]);
    assert!(healed.found_by(Leg::Lexical, &own_word(1)).await.is_empty(), "the replaced text is gone");
    healed.upsert(vec![plain("new", "fresh words")]).await;
    assert_eq!(healed.found_by(Leg::Lexical, "fresh").await, ["new"]);
    let folder = healed.stop().await;
    legs_agree(folder.path()).await;
}

async fn legs_agree(folder: &Path) {
    let catalog = Catalog::open(folder, options(folder).collections()).await.unwrap();
    let published = catalog.get(DOCS).unwrap().published();
    let keys = published.table.scan_keys().await.unwrap();
    let rows: BTreeSet<_> = keys.iter().map(|key| (key.place.row_id, key.chunk_hash)).collect();
    let indexed = published.lexical.rows().unwrap();
    assert_eq!(indexed.len(), keys.len());
    assert_eq!(indexed.into_iter().collect::<BTreeSet<_>>(), rows);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_happened() {
    heals(filled().await, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_was_deleted() {
    heals(filled().await, |folder| std::fs::remove_dir_all(lexical(folder)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_was_emptied() {
    let empty = |folder: &Path| {
        std::fs::remove_dir_all(lexical(folder)).unwrap();
        std::fs::create_dir(lexical(folder)).unwrap();
    };
    heals(filled().await, empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_description_was_spoilt() {
    for rubbish in ["", "{", "{\"segments\": 7}"] {
        heals(filled().await, |folder| std::fs::write(lexical(folder).join("meta.json"), rubbish).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_its_files_is_missing() {
    for suffix in [".term", ".store", ".fast"] {
        heals(filled().await, |folder| {
            files(folder, suffix).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_its_files_was_cut_short() {
    let cut = |folder: &Path| {
        for path in files(folder, ".idx") {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
    };
    heals(filled().await, cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_newest_files_lost_their_content() {
    // That is what a power loss leaves of files that were not on the disk yet; their names may be there all the same.
    for suffixes in [&["meta.json"][..], &[".managed.json"], &[".idx", ".pos"], &[".store", ".fast", ".del"], &[""]] {
        let empty = |folder: &Path| {
            let paths = suffixes.iter().flat_map(|suffix| files(folder, suffix));
            paths.for_each(|path| std::fs::write(path, "").unwrap());
        };
        heals(filled().await, empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_was_put_back() {
    let older = tempfile::tempdir().unwrap();
    let mut running = Running::with_collection().await;
    running.upsert((0..12).map(|n| plain(&format!("d{n:02}"), &format!("common {}", own_word(n)))).collect()).await;
    let running = running.restart_after(|folder| copy(&lexical(folder), older.path()));
    let mut running = running.await;
    running.upsert((10..20).map(|n| plain(&format!("d{n:02}"), &format!("common {}", own_word(n)))).collect()).await;
    running.delete(&["d00"]).await;
    running.upsert(vec![plain("d01", "common replaced")]).await;
    heals(running, |folder| put_back(older.path(), folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_another_collection_was_put_in() {
    let other = tempfile::tempdir().unwrap();
    let foreign = filled().await.stop().await;
    copy(&lexical(foreign.path()), other.path());
    heals(filled().await, |folder| put_back(other.path(), folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_was_cut_short() {
    let leave = |folder: &Path| {
        let collection = folder.join("collections").join(DOCS);
        std::fs::rename(lexical(folder), collection.join(".lexical-replaced-1")).unwrap();
        std::fs::create_dir(collection.join(".lexical-1")).unwrap();
    };
    heals(filled().await, leave).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_behind_the_index() {
    // A power loss may take the newest version of the table, and leave the index that had applied it.
    let drop_newest_version = |folder: &Path| {
        let collection = folder.join("collections").join(DOCS);
        let mut tables = std::fs::read_dir(&collection).unwrap().map(|entry| entry.unwrap().path());
        let table = tables.find(|path| path.extension().is_some_and(|extension| extension == "lance")).unwrap();
        // Manifests are named by the version counted down, so that the newest comes first.
        let mut manifests: Vec<_> =
            std::fs::read_dir(table.join("_versions")).unwrap().map(|entry| entry.unwrap().path()).collect();
        manifests.retain(|path| path.extension().is_some_and(|extension| extension == "manifest"));
        manifests.sort();
        std::fs::remove_file(&manifests[0]).unwrap();
    };
    let mut running = filled().await;
    running.upsert(vec![plain("lost", "common lost")]).await;
    heals(running, drop_newest_version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_breaks_while_the_service_runs() {
    let mut running = filled().await;
    std::fs::remove_dir_all(lexical(running.folder())).unwrap();
    // The table takes the write, the index cannot; the answer comes after the index was built anew.
    let answer = running.upsert(vec![plain("new", "common fresh")]).await;
    assert_eq!(answer.upserted, 1);
    let mut all = expected();
    all.push("new".into());
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(running.found_by(leg, "common").await, all, "{leg:?}");
    }
    running.delete(&["new"]).await;
    heals(running, |_| {}).await;
}
