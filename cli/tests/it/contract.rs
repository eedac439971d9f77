//! The command line's promises: names in JSON, exit codes, and what is said of bad input.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    models,
    process::{Running, run, trivium},
};

/// Services with two pages about mushrooms.
fn system(folder: &Path) -> Running {
    let pages = folder.join("pages");
    fs_err::create_dir_all(&pages).expect("made");
    let chanterelles = "# Chanterelles\n\nChanterelles grow under birch and spruce from July on.\n";
    let storage = "# Storage\n\nFresh mushrooms keep for three days in a paper bag in the fridge.\n";
    fs_err::write(pages.join("chanterelles.md"), chanterelles).expect("written");
    fs_err::write(pages.join("storage.md"), storage).expect("written");
    let system = Running::up(&folder.join("data"));
    let report = system.json(&["ingest", "--json", pages.to_str().expect("UTF-8")]);
    assert_keys(&report, &["ingested", "unchanged", "skipped", "version", "seconds"]);
    assert_eq!(report["ingested"], 2);
    system
}

#[track_caller]
fn assert_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "no {key:?} in {value}");
    }
}

#[test]
fn json_documents_have_the_promised_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = system(folder.path());

    let found = system.json(&["search", "where do chanterelles grow", "--json"]);
    let hit = &found["hits"][0];
    assert_keys(hit, &["document_id", "chunk_id", "title", "text", "uri", "score"]);
    for leg in ["lexical", "semantic"] {
        assert_keys(&hit["legs"][leg], &["rank", "score"]);
    }
    assert_eq!(hit["document_id"], "chanterelles.md");
    assert_eq!(found["snapshot"]["collection"], "docs");
    assert!(found["snapshot"]["version"].as_u64().is_some_and(|version| version > 0));

    let answer = system.json(&["ask", "Where do chanterelles grow?", "--route", "hybrid", "--json"]);
    assert_keys(&answer, &["route", "intent", "confidence", "reason", "answer", "citations", "passages", "degraded"]);
    assert_keys(&answer, &["models", "snapshots", "timings_ms", "trace_id", "request_id"]);
    assert_eq!((&answer["route"], &answer["reason"]), (&json!("hybrid"), &json!("CALLER")));
    assert!(answer["answer"].as_str().is_some_and(|text| text.contains("birch")), "{answer}");
    assert_eq!(answer["citations"][0]["document_id"], "chanterelles.md");
    assert_eq!(answer["trace_id"].as_str().map(str::len), Some(32));

    let collections = system.json(&["collections", "list", "--json"]);
    assert_keys(&collections[0], &["name", "documents", "chunks", "version"]);
    assert_eq!((&collections[0]["name"], &collections[0]["documents"]), (&json!("docs"), &json!(2)));

    let decision = system.json(&["route", "How do I store fresh mushrooms?", "--json"]);
    assert_keys(&decision, &["route", "intent", "confidence", "reason", "trace_id"]);
    let listed = system.json(&["models", "list", "--json"]);
    let kinds: Vec<&Value> = listed.as_array().expect("a list").iter().map(|model| &model["kind"]).collect();
    assert!(kinds.contains(&&json!("encoder")) && kinds.contains(&&json!("intent")), "{listed}");
    assert_eq!(system.stop(), Some(0));
}

#[test]
fn measurements_have_the_promised_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = system(folder.path());

    let rows = system.json(&["bench", "--json", "--calls", "3", "--warm-up", "0", "--clients", "1,2"]);
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), 18);
    for row in rows {
        assert_keys(row, &["name", "clients", "p50_ms", "p95_ms", "p99_ms", "per_second"]);
        assert_eq!(row["calls"], 3);
    }

    let set = folder.path().join("set");
    write_beir(&set);
    let figures = system.json(&["eval", "retrieval", "--json", set.to_str().expect("UTF-8")]);
    assert_eq!((&figures["queries"], &figures["documents"]), (&json!(2), &json!(3)), "{figures}");
    for way in ["lexical", "semantic", "hybrid"] {
        assert_keys(&figures[way], &["ndcg@10", "recall@10", "recall@100", "mrr@10"]);
        assert_eq!(figures[way]["recall@100"], 1.0, "{figures}");
    }
    let names = system.json(&["collections", "list", "--json"]);
    assert_eq!(names.as_array().map(Vec::len), Some(1), "the set's collection is gone without --keep: {names}");

    let test = folder.path().join("test.jsonl");
    fs_err::write(&test, models::part_of("test.jsonl")).expect("written");
    let report = system.json(&["intents", "eval", "--json", "--test", test.to_str().expect("UTF-8")]);
    assert_keys(&report, &["accuracy", "macro_f1", "ece", "oos_recall", "false_reject", "examples"]);
    assert_keys(&report["latency_ms"], &["p50", "p99"]);
    assert!(report["accuracy"].as_f64().is_some_and(|accuracy| accuracy > 0.6), "{report}");
}

fn write_beir(folder: &Path) {
    fs_err::create_dir_all(folder.join("qrels")).expect("made");
    let corpus = [
        r#"{"_id":"1","title":"Tides","text":"The moon causes the tides."}"#,
        r#"{"_id":"2","title":"Rust","text":"Iron rusts in damp air.","metadata":{}}"#,
        r#"{"_id":"3","title":"","text":"Bread rises because of yeast."}"#,
    ];
    fs_err::write(folder.join("corpus.jsonl"), corpus.join("\n")).expect("written");
    let queries = [r#"{"_id":"a","text":"What causes the tides?"}"#, r#"{"_id":"b","text":"Why does bread rise?"}"#];
    fs_err::write(folder.join("queries.jsonl"), queries.join("\n")).expect("written");
    fs_err::write(folder.join("qrels/test.tsv"), "query-id\tcorpus-id\tscore\na\t1\t1\nb\t3\t2\n").expect("written");
}

#[test]
fn bad_input_is_refused_with_field_and_advice_and_the_services_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = system(folder.path());
    let long = "word ".repeat(2_000);
    let table: [(&[&str], &str); 11] = [
        (&["ask", ""], "field: query"),
        (&["ask", " \n"], "QUERY_EMPTY"),
        (&["ask", &long], "QUERY_TOO_LONG"),
        (&["search", "bell \u{7}"], "U+0007"),
        (&["search", "x", "--collection", "nowhere"], "COLLECTION_NOT_FOUND"),
        (&["search", "x", "-k", "0"], "k is 0; it must be 1 to 1000"),
        (&["search", "x", "-k", "1000000000"], "field: k"),
        (&["ask", "x", "-k", "0"], "field: options.k"),
        (&["ask", "x", "-k", "1000000000"], "field: options.k"),
        (&["search", "x", "--filter", "year > 2020"], "field: filter"),
        (&["search", "x", "--as-of", "3"], "field: as_of"),
    ];
    for (args, expected) in table {
        let ended = run(system.client(args));
        assert_eq!(ended.code, Some(1), "{args:.60?}: {}", ended.stdout);
        assert!(ended.stderr.contains(expected), "{args:.60?}: no {expected:?} in {}", ended.stderr);
        assert!(ended.stderr.contains("  try: "), "{args:.60?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(system.json(&["collections", "list", "--json"])[0]["documents"], 2);
}

#[test]
fn wrong_usage_exits_with_2() {
    let table: [&[&str]; 4] = [&[], &["ask"], &["search", "x", "--legs", "sideways"], &["ask", "x", "-k", "-1"]];
    for args in table {
        assert_eq!(run(trivium(args)).code, Some(2), "{args:?}");
    }
}

#[test]
fn a_service_that_does_not_run_is_named_with_what_to_do() {
    // Nobody listens on port 1 of loopback.
    let ended = run(trivium(&["ask", "hello", "--endpoint", "http://127.0.0.1:1"]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("ROUTER_UNAVAILABLE") && ended.stderr.contains("trivium up"), "{}", ended.stderr);
    let ended = run(trivium(&["ask", "hello", "--endpoint", "https://127.0.0.1:1"]));
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("--endpoint"), "{}", ended.stderr);
}

#[test]
fn collections_are_made_and_deleted_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = Running::up(folder.path());
    assert_eq!(run(system.client(&["collections", "create", "notes", "--field", "year:integer"])).code, Some(0));
    let again = run(system.client(&["collections", "create", "notes"]));
    assert!(again.code == Some(1) && again.stderr.contains("COLLECTION_EXISTS"), "{}", again.stderr);
    let bad = run(system.client(&["collections", "create", "No Name"]));
    assert!(bad.code == Some(1) && bad.stderr.contains("field: name"), "{}", bad.stderr);

    let unasked = run(system.client(&["collections", "delete", "notes"]));
    assert!(unasked.code == Some(1) && unasked.stderr.contains("--yes"), "{}", unasked.stderr);
    assert_eq!(run(system.client(&["collections", "delete", "notes", "--yes"])).code, Some(0));
    assert_eq!(system.json(&["collections", "list", "--json"]), json!([]));
}

#[test]
fn an_answer_on_a_page_shows_road_answer_sources_and_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = system(folder.path());
    let ended = run(system.client(&["ask", "How long do fresh mushrooms keep?", "--route", "semantic", "--explain"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for part in
        ["SEMANTIC", "three days", "[1]", "Sources", "storage.md:", "semantic #1", "total", "trace ", "docs at version"]
    {
        assert!(ended.stdout.contains(part), "no {part:?} in {}", ended.stdout);
    }
}
