//! Folders of all sorts: what can be ingested is, and the rest is reported with its reason.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::process::{Running, run};

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs_err::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs_err::write(path, content).expect("written");
}

/// Reasons by path, the folder left out.
fn skipped(report: &Value, folder: &Path) -> BTreeMap<String, String> {
    let prefix = format!("{}/", folder.display());
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let entries = report["skipped"].as_array().expect("a list").iter();
    entries.map(|entry| (text(&entry["path"]).replace(&prefix, ""), text(&entry["reason"]))).collect()
}

#[test]
fn a_mixed_folder_is_ingested_as_far_as_it_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("pages");
    write(&pages, "crlf.md", b"---\r\ntitle: Wombats\r\n---\r\n# Burrows\r\n\r\nWombats dig long burrows.\r\n");
    write(&pages, "deep/er/plain.txt", b"Ocelots climb at night.\n");
    write(&pages, "odd.md", b"---\ntitle: [unclosed\n---\nTapirs swim well.\n");
    write(&pages, "latin.md", b"caf\xe9");
    write(&pages, "zero.txt", b"a\0b");
    write(&pages, "wide.txt", b"\xff\xfeh\0i\0");
    write(&pages, "empty.md", b" \r\n");
    write(&pages, "page.html", b"<p>Hello</p>");
    let lines = [
        r#"{"id":"one","title":"Herons","text":"Herons stand still in shallow water.","uri":"https://birds/1"}"#,
        "no json",
        r#"{"id":"two"}"#,
        r#"{"id":"one","text":"The same id again."}"#,
    ];
    write(&pages, "birds.jsonl", lines.join("\r\n").as_bytes());

    let system = Running::up(&folder.path().join("data"));
    let path = pages.to_str().expect("UTF-8");
    let report = system.json(&["ingest", "--collection", "zoo", "--json", path]);
    assert_eq!((&report["ingested"], &report["unchanged"]), (&json!(4), &json!(0)), "{report}");
    let expected = [
        ("birds.jsonl:2", "no document: expected ident (column 2)"),
        ("birds.jsonl:3", "no document: missing field `text` (column 12)"),
        ("empty.md", "it is empty"),
        ("latin.md", "it is not UTF-8: byte 3 does not belong"),
        ("page.html", "files of type .html are not read"),
        ("wide.txt", "it is UTF-16; convert it to UTF-8"),
        ("zero.txt", "it is binary: byte 1 is zero"),
    ];
    let mut reasons = skipped(&report, &pages);
    let again = reasons.remove("birds.jsonl:4").expect("the second document of that id");
    assert!(again.contains("its id \"one\" was taken by") && again.ends_with("birds.jsonl:1"), "{again}");
    assert_eq!(reasons, expected.map(|(path, reason)| (path.to_owned(), reason.to_owned())).into());
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(1), "{report}");

    assert_found(&system, "wombats burrows", "crlf.md", "Wombats");
    assert_found(&system, "ocelots", "deep/er/plain.txt", "");
    assert_found(&system, "tapirs", "odd.md", "");
    assert_found(&system, "herons", "one", "Herons");

    let report = system.json(&["ingest", "--collection", "zoo", "--json", path]);
    assert_eq!((&report["ingested"], &report["unchanged"]), (&json!(0), &json!(4)), "{report}");
    assert_eq!(system.stop(), Some(0));
}

#[track_caller]
fn assert_found(system: &Running, query: &str, document_id: &str, title: &str) {
    for leg in ["lexical", "semantic"] {
        let found = system.json(&["search", query, "--collection", "zoo", "--legs", leg, "--json"]);
        assert_eq!(found["hits"][0]["document_id"], document_id, "{leg}: {found}");
        if !title.is_empty() {
            assert_eq!(found["hits"][0]["title"], title);
        }
    }
}

#[test]
fn a_document_that_the_retriever_refuses_does_not_sink_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = |id: &str| json!({"id": id, "text": format!("The record of {id:.9}.")}).to_string();
    let long = "x".repeat(600);
    let lines = [document("first"), document(&long), document("second"), document("control\u{7}"), document("third")];
    write(folder.path(), "records.jsonl", lines.join("\n").as_bytes());

    let system = Running::up(&folder.path().join("data"));
    let report = system.json(&["ingest", "--json", folder.path().join("records.jsonl").to_str().expect("UTF-8")]);
    assert_eq!(report["ingested"], json!(3), "{report}");
    let reasons = skipped(&report, folder.path());
    assert_eq!(reasons.keys().collect::<Vec<_>>(), ["records.jsonl:2", "records.jsonl:4"]);
    assert!(reasons["records.jsonl:2"].contains("512"), "the limit is named: {reasons:?}");
    assert!(reasons["records.jsonl:4"].contains("control characters"), "the rule is named: {reasons:?}");
}

#[test]
fn a_document_of_fifty_megabytes_is_reported_with_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let big = vec![b'x'; 50 << 20];
    write(folder.path(), "pages/big.txt", &big);
    write(folder.path(), "pages/big.jsonl", &[br#"{"id":"big","text":""#.as_slice(), &big, b"\"}\n"].concat());
    write(folder.path(), "pages/small.txt", b"A small page.");
    let system = Running::up(&folder.path().join("data"));
    let pages = folder.path().join("pages");
    let report = system.json(&["ingest", "--json", pages.to_str().expect("UTF-8")]);
    assert_eq!(report["ingested"], json!(1), "{report}");
    let reasons = skipped(&report, &pages);
    assert_eq!(reasons["big.txt"], "it has 52428800 bytes; the limit is 16777216");
    assert_eq!(reasons["big.jsonl:1"], "the line has 52428823 bytes; the limit is 16777216");
}

#[test]
fn a_path_that_is_not_there_fails_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = Running::up(folder.path());
    let ended = run(system.client(&["ingest", "/nowhere/at/all"]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("/nowhere/at/all"), "{}", ended.stderr);
    assert_eq!(system.json(&["collections", "list", "--json"]), json!([]));
}
