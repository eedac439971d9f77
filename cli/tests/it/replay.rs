//! A recorded answer comes back the same after everything underneath has moved.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use trivium_proto::{
    model::v1::{ModelRef, QueryVector},
    retriever::v1::{Document, UpsertDocumentsRequest},
};

use crate::{
    crash_rounds::connect,
    models,
    process::{Running, run, trivium, up_command},
};

const QUERY: &str = "How do I store fresh mushrooms?";

/// Commits of further documents. Compaction and merges begin after a few of them.
const COMMITS: usize = 40;

/// Documents of each.
const BATCH: usize = 25;

/// Only the newest state is kept, so that what is still there afterwards is there because of its tag; and small
/// files are merged as early as can be configured.
const CONFIG: &str =
    "[retriever]\nsnapshots_newest = 1\nsnapshots_interval_ms = 0\ncleanup_commits = 1\ncompact_fragments = 16\n";

/// A folder in which models of its own serve: the encoder, and the intent model of all tests as version 1.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        let models = place.models();
        fs::create_dir_all(models.join("intents")).expect("made");
        std::os::unix::fs::symlink(models::encoder(), models.join("minilm")).expect("linked");
        place.fit("25");
        place
    }

    fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Fits a further version of the intent model.
    fn fit(&self, name: &str) {
        let file = |split: &str| {
            let path = self.folder.path().join(format!("{name}-{split}"));
            fs::write(&path, models::part_of(split)).expect("written");
            path
        };
        let (train, valid) = (file("train.jsonl"), file("valid.jsonl"));
        let mut command = trivium(&["intents", "fit", "--train"]);
        command.arg(train).arg("--valid").arg(valid).arg("--models-dir").arg(self.models());
        let ended = run(command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    fn up(&self) -> Running {
        let config = self.folder.path().join("trivium.toml");
        fs::write(&config, CONFIG).expect("written");
        let mut command = up_command(&self.data());
        command.arg("--config").arg(&config).env("TRIVIUM_MODELS_DIR", self.models());
        Running::start(command)
    }
}

/// Writes documents that are all about the query, each with a vector of its own.
async fn write_more(at: &str, commits: std::ops::Range<usize>) {
    let embedder = ModelRef { name: "minilm".into(), version: "1".into() };
    for commit in commits {
        let document = |place: usize| {
            let number = commit * BATCH + place;
            // Any direction will do, and each document has another.
            let values = (0..384).map(|axis| ((number * 31 + axis * 17) as f32).sin()).collect();
            Document {
                // Some replace documents of an earlier commit, so that rows and terms are deleted as well.
                id: format!("more-{}", number % 700),
                text: format!("How to store fresh mushrooms, remark {number}: a paper bag in the fridge."),
                vector: Some(QueryVector { embedder: Some(embedder.clone()), values, token_vectors: None }),
                ..Document::default()
            }
        };
        let documents = (0..BATCH).map(document).collect();
        let batch = UpsertDocumentsRequest { collection: "docs".into(), batch_id: String::new(), documents };
        let mut answers = connect(at).upsert_documents(tokio_stream::once(batch)).await.expect("taken").into_inner();
        let answer = answers.message().await.expect("no error").expect("acknowledged");
        assert_eq!(answer.upserted as usize, BATCH);
    }
}

/// Files with this extension under `folder`, those of kept states aside.
fn files(folder: &Path, extension: &str) -> usize {
    let all = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("readable").into_path());
    all.filter(|path| !path.components().any(|part| part.as_os_str() == "snapshots"))
        .filter(|path| path.extension().is_some_and(|found| found == extension) && path.is_file())
        .count()
}

fn write_pages(folder: &Path) -> PathBuf {
    let pages = folder.join("pages");
    fs::create_dir_all(&pages).expect("made");
    for (name, text) in [
        ("chanterelles.md", "# Chanterelles\n\nChanterelles grow under birch and spruce from July on.\n"),
        ("storage.md", "# Storage\n\nFresh mushrooms keep for three days in a paper bag in the fridge.\n"),
        ("drying.md", "# Drying\n\nDry mushrooms at forty degrees until they snap, and store them in a jar.\n"),
    ] {
        fs::write(pages.join(name), text).expect("written");
    }
    pages
}

fn passages(answer: &Value) -> Vec<(&Value, &Value)> {
    let passages = answer["passages"].as_array().expect("a list");
    passages.iter().map(|passage| (&passage["chunk_id"], &passage["score"])).collect()
}

#[test]
fn a_replay_gives_the_same_passages_after_everything_has_moved() {
    let place = Place::new();
    let system = place.up();
    let pages = write_pages(place.folder.path());
    system.json(&["ingest", pages.to_str().expect("UTF-8"), "--json"]);
    let asked = system.json(&["ask", QUERY, "--json"]);
    let id = asked["request_id"].as_str().expect("an id").to_owned();
    assert_eq!(asked["passages"].as_array().map(Vec::len), Some(3), "{asked}");
    assert_eq!(run(system.client(&["collections", "tag", "docs", "asked"])).code, Some(0));

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(write_more(system.addr("retriever"), 0..COMMITS));
    place.fit("again");
    let promoted = run(system.client(&["models", "promote", "intents", "2"]));
    assert_eq!(promoted.code, Some(0), "{promoted:?}");
    assert_eq!(system.stop(), Some(0));
    let collections = place.data().join("collections");
    assert!(files(&collections, "lance") < COMMITS, "small fragments were merged");
    assert!(files(&collections, "store") < COMMITS, "segments of the index were merged");

    let system = place.up();
    let now = system.json(&["ask", QUERY, "--json"]);
    assert_ne!(passages(&now), passages(&asked), "what was written since is found now");

    let refused = run(system.client(&["audit", "replay", &id]));
    assert!(refused.code == Some(1) && refused.stderr.contains("field: query"), "{refused:?}");
    let replay = system.json(&["audit", "replay", &id, "--query", QUERY, "--json"]);
    assert_eq!(replay["verdict"], "SAME", "{replay}");
    assert_eq!(passages(&replay), passages(&asked));
    let notes = replay["notes"].to_string();
    assert!(notes.contains("intents/1 is kept and does not serve"), "{notes}");
    let shown = system.json(&["audit", "show", &id, "--json"]);
    assert_eq!((&shown["query"], &shown["snapshots"]), (&Value::from(""), &asked["snapshots"]));

    assert_eq!(run(system.client(&["collections", "untag", "docs", "asked"])).code, Some(0));
    runtime.block_on(write_more(system.addr("retriever"), COMMITS..COMMITS + 4));
    let expired = run(system.client(&["audit", "replay", &id, "--query", QUERY]));
    assert_eq!(expired.code, Some(1), "{expired:?}");
    assert!(expired.stdout.contains("SNAPSHOT_EXPIRED"), "{expired:?}");
    assert_eq!(system.stop(), Some(0));
}

#[test]
fn feedback_becomes_labelled_queries() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(&folder.path().join("data"));
    command.env("TRIVIUM_TELEMETRY__CAPTURE_CONTENT", "true").env("TRIVIUM_ROUTER__CACHE__ENABLED", "true");
    let system = Running::start(command);
    let pages = write_pages(folder.path());
    system.json(&["ingest", pages.to_str().expect("UTF-8"), "--json"]);
    let ask = |query: &str| {
        let answer = system.json(&["ask", query, "--json"]);
        answer["request_id"].as_str().expect("an id").to_owned()
    };
    let (wrong, right) = (ask("mushrooms jar"), ask(QUERY));
    let said = |args: &[&str]| {
        let ended = run(system.client(&[&["feedback"], args].concat()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    said(&[&wrong, "--wrong-road", "lookup", "--unhelpful"]);
    said(&[&right, "--helpful", "--document", "storage.md"]);

    let exported = |args: &[&str]| {
        let ended = run(system.client(&[&["audit", "export"], args].concat()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.collect::<Vec<Value>>()
    };
    let labels = exported(&[]);
    assert!(labels.contains(&serde_json::json!({"text": "mushrooms jar", "label": "lookup"})), "{labels:?}");
    let judgements = exported(&["--format", "judgements"]);
    assert_eq!(judgements, [serde_json::json!({"query": QUERY, "documents": ["storage.md"]})]);
    assert_eq!(exported(&["--format", "records"]).len(), 2);

    // Asked again, it comes from the cache, and is on record as that.
    let again = system.json(&["ask", QUERY, "--json"]);
    assert_eq!(again["cached"], true, "{again}");
    let fresh = system.json(&["ask", QUERY, "--no-cache", "--json"]);
    assert_eq!((&fresh["cached"], passages(&fresh)), (&Value::from(false), passages(&again)));
    fs::write(folder.path().join("pages/new.md"), "# New\n\nFresh mushrooms store best in a clay pot.\n")
        .expect("written");
    system.json(&["ingest", folder.path().join("pages").to_str().expect("UTF-8"), "--json"]);
    let after = system.json(&["ask", QUERY, "--json"]);
    assert_eq!((&after["cached"], after["passages"].as_array().map(Vec::len)), (&Value::from(false), Some(4)));
    assert_eq!(system.stop(), Some(0));
}
