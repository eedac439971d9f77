//! What was acknowledged is there after `kill -9`.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::process::{Running, run};

/// Documents of the first ingestion, which ends.
const FIRST: usize = 20;

/// Documents of the second ingestion, which is cut.
const SECOND: usize = 600;

#[test]
fn acknowledged_documents_survive_a_kill_on_both_legs() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (first, second) = (folder.path().join("first.jsonl"), folder.path().join("second.jsonl"));
    write_documents(&first, "first", FIRST);
    write_documents(&second, "second", SECOND);

    let system = Running::up(&data);
    let report = system.json(&["ingest", "--json", path(&first)]);
    assert_eq!(report["ingested"], json!(FIRST));
    let mut cut = system.client(&["ingest", "--json", path(&second)]);
    let mut cut = cut.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let published = wait_for_more_than(&system, FIRST as u64, &mut cut);
    system.kill();
    cut.wait().expect("waited for");

    let system = Running::up(&data);
    let documents = documents(&system);
    assert!(documents >= published, "{documents} documents are left of {published} that were published");
    let lexical = found(&system, "lexical");
    let semantic = found(&system, "semantic");
    assert_eq!(lexical, semantic, "both legs hold the same documents");
    assert_eq!(lexical.len() as u64, documents);
    for number in 0..FIRST {
        assert!(lexical.contains(&format!("first-{number}")), "first-{number} was acknowledged");
    }

    // The rest can be ingested as if nothing had happened.
    let report = system.json(&["ingest", "--json", path(&second)]);
    assert_eq!(report["ingested"].as_u64().zip(report["unchanged"].as_u64()).map(|(a, b)| a + b), Some(SECOND as u64));
    assert_eq!(self::documents(&system), (FIRST + SECOND) as u64);
    assert_eq!(system.stop(), Some(0));
}

fn write_documents(file: &Path, kind: &str, count: usize) {
    let lines = (0..count).map(|number| {
        let text = format!("Archive record {number} of the {kind} series, kept in cabinet {}.", number * 7);
        json!({"id": format!("{kind}-{number}"), "text": text}).to_string()
    });
    fs_err::write(file, lines.collect::<Vec<_>>().join("\n")).expect("written");
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}

/// Waits until the second ingestion has published something.
fn wait_for_more_than(system: &Running, count: u64, ingestion: &mut Child) -> u64 {
    loop {
        let ended = ingestion.try_wait().expect("asked");
        let documents = documents(system);
        if documents > count {
            return documents;
        }
        assert!(ended.is_none(), "the ingestion ended with {ended:?} and published nothing");
    }
}

fn documents(system: &Running) -> u64 {
    let list = system.json(&["collections", "list", "--json"]);
    list[0]["documents"].as_u64().expect("a count")
}

/// The ids of all documents that one leg finds by a word that each of them has.
fn found(system: &Running, leg: &str) -> BTreeSet<String> {
    let ended =
        run(system.client(&["search", "archive record", "--legs", leg, "-k", "1000", "--group-by-document", "--json"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let response: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let hits = response["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["document_id"].as_str().expect("an id").to_owned()).collect()
}
