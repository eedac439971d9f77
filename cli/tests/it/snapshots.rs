//! Earlier states on the command line: tagged, searched, listed, and lost to a purge.

use fs_err as fs;
use serde_json::{Value, json};

use crate::process::{Ended, Running, run};

fn done(system: &Running, args: &[&str]) -> Ended {
    let ended = run(system.client(args));
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended
}

fn refused(system: &Running, args: &[&str]) -> String {
    let ended = run(system.client(args));
    assert_eq!(ended.code, Some(1), "{args:?}: {}", ended.stdout);
    ended.stderr
}

fn texts(found: &Value) -> Vec<&str> {
    found["hits"].as_array().expect("hits").iter().filter_map(|hit| hit["text"].as_str()).map(str::trim).collect()
}

#[test]
fn a_state_is_tagged_searched_and_purged() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("pages");
    fs::create_dir(&pages).expect("made");
    let path = pages.to_str().expect("UTF-8");
    let write = |text: &str| fs::write(pages.join("page.md"), text).expect("written");
    let system = Running::up(&folder.path().join("data"));

    write("Herons stand still.\n");
    done(&system, &["ingest", path]);
    done(&system, &["collections", "tag", "docs", "first"]);
    write("Herons have flown away.\n");
    done(&system, &["ingest", path]);

    let now = system.json(&["search", "herons", "--json"]);
    let then = system.json(&["search", "herons", "--as-of", "first", "--json"]);
    assert_eq!(texts(&now), ["Herons have flown away."]);
    assert_eq!(texts(&then), ["Herons stand still."]);
    let (published, first) = (now["snapshot"]["version"].to_string(), then["snapshot"]["version"].to_string());
    let waited = system.json(&["search", "herons", "--min-version", &published, "--as-of", &first, "--json"]);
    assert_eq!(texts(&waited), texts(&then));

    let kept = system.json(&["collections", "snapshots", "docs", "--json"]);
    let kept = kept.as_array().expect("a list");
    let of = |found: &Value| kept.iter().find(|state| state["version"] == found["snapshot"]["version"]).expect("kept");
    assert_eq!((&of(&then)["tags"], &of(&now)["published"]), (&json!(["first"]), &json!(true)), "{kept:?}");
    let check = system.json(&["collections", "check", "docs", "--json"]);
    assert_eq!((&check["problem_count"], &check["table_rows"]), (&json!(0), &json!(1)), "{check}");
    assert!(refused(&system, &["collections", "check", "unknown"]).contains("COLLECTION_NOT_FOUND"));
    assert!(refused(&system, &["search", "herons", "--as-of", "last"]).contains("SNAPSHOT_NOT_FOUND"));

    let id = now["hits"][0]["document_id"].as_str().expect("an id");
    assert!(refused(&system, &["collections", "purge", "docs", id]).contains("--yes"));
    let purged = system.json(&["collections", "purge", "docs", id, "--yes", "--json"]);
    assert_eq!((&purged["deleted"], &purged["removed_tags"]), (&json!(1), &json!(["first"])), "{purged}");
    assert!(refused(&system, &["search", "herons", "--as-of", &first]).contains("SNAPSHOT_EXPIRED"));
    assert!(refused(&system, &["collections", "untag", "docs", "first"]).contains("SNAPSHOT_NOT_FOUND"));
    assert_eq!(system.stop(), Some(0));
}
