//! Filters on the command line, from the declared field to the passage.

use serde_json::{Value, json};

use crate::process::{Running, run};

fn ids(found: &Value, list: &str) -> Vec<String> {
    let hits = found[list].as_array().expect("a list").iter();
    let mut ids: Vec<String> = hits.map(|hit| hit["document_id"].as_str().expect("a text").to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn search_and_ask_take_a_filter() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = [
        json!({"id": "keys", "text": "Rotate the signing keys monthly.", "metadata": {"lang": "en", "tags": ["keys"]}}),
        json!({"id": "bills", "text": "Pay for the signing keys.", "metadata": {"lang": "en", "at": "2026-02-01"}}),
        json!({"id": "other", "text": "Signing keys and more.", "metadata": {"lang": "de", "at": "2025-02-01"}}),
    ];
    let path = folder.path().join("pages.jsonl");
    fs_err::write(&path, lines.map(|line| line.to_string()).join("\n")).expect("written");
    let system = Running::up(&folder.path().join("data"));
    let fields = ["--field", "lang:string", "--field", "at:timestamp", "--field", "tags:string-list"];
    let created = run(system.client(&[&["collections", "create", "docs"][..], &fields[..]].concat()));
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let declared = &system.json(&["collections", "list", "--json"])[0]["metadata_fields"];
    assert_eq!(declared[2], json!({"name": "tags", "type": "string-list"}));
    system.json(&["ingest", "--json", path.to_str().expect("UTF-8")]);

    let cases = [
        (r#"lang = "en""#, vec!["bills", "keys"]),
        (r#"at >= "2026-01-01" OR tags HAS "keys""#, vec!["bills", "keys"]),
        (r#"NOT (at IS NULL) AND lang != "en""#, vec!["other"]),
        (r#"lang = "fr""#, vec![]),
    ];
    for (filter, expected) in cases {
        let found = system.json(&["search", "signing keys", "--filter", filter, "--json"]);
        assert_eq!(ids(&found, "hits"), expected, "{filter}");
        let asked = ["ask", "signing keys", "--route", "hybrid", "--no-answer", "--filter", filter, "--json"];
        assert_eq!(ids(&system.json(&asked), "passages"), expected, "{filter}");
    }
    for (command, field) in [("search", "field: filter"), ("ask", "field: options.filter")] {
        let mut args = vec![command, "signing keys", "--filter", "year > 2020"];
        if command == "ask" {
            args.extend(["--route", "hybrid"]);
        }
        let refused = run(system.client(&args));
        assert_eq!(refused.code, Some(1));
        for part in ["at offset 0: there is no field \"year\"; the fields are lang, at, tags", "FILTER_INVALID", field]
        {
            assert!(refused.stderr.contains(part), "{} lacks {part:?}", refused.stderr);
        }
    }
}
