//! Labelled queries: calibrating a collection, judging answers, recommending roads.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::process::{Running, run};

const ANIMALS: [&str; 12] = [
    "wombats", "ocelots", "tapirs", "herons", "badgers", "lemurs", "otters", "pandas", "quokkas", "ravens", "salmon",
    "turtles",
];

fn write(folder: &Path, name: &str, lines: impl IntoIterator<Item = Value>) -> PathBuf {
    let path = folder.join(name);
    let lines: Vec<String> = lines.into_iter().map(|line| line.to_string()).collect();
    fs_err::write(&path, lines.join("\n")).expect("written");
    path
}

fn zoo(folder: &Path) -> Running {
    let system = Running::up(&folder.join("data"));
    let page = |(number, animal): (usize, &&str)| {
        let text = format!("The {animal} of this zoo live in enclosure {}. They are fed at noon.", number + 100);
        json!({"id": animal, "title": format!("About {animal}"), "text": text})
    };
    let pages = write(folder, "zoo.jsonl", ANIMALS.iter().enumerate().map(page));
    system.json(&["ingest", "--collection", "zoo", "--json", text(&pages)]);
    system
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Two queries for each animal, which name its page.
fn labelled(folder: &Path) -> PathBuf {
    let queries = ANIMALS.iter().flat_map(|animal| {
        let of = |query: String| json!({"query": query, "documents": [animal], "intent": "lookup"});
        [of(format!("where do {animal} live")), of(format!("which enclosure has the {animal}"))]
    });
    write(folder, "labelled.jsonl", queries)
}

fn blend(system: &Running) -> Value {
    system.json(&["collections", "list", "--json"])[0]["blend"].clone()
}

#[test]
fn a_collection_is_calibrated_set_and_reset() {
    let folder = tempfile::tempdir().expect("a folder");
    let (system, labelled) = (zoo(folder.path()), labelled(folder.path()));
    let calibrate = ["collections", "calibrate", "zoo", "--json"];
    let with = |more: &[&str]| system.json(&[&calibrate[..], more].concat());

    assert_eq!(with(&["--set", "0.25"])["semantic_weight"], 0.25);
    assert_eq!((&blend(&system)["semantic_weight"], &blend(&system)["own"]), (&json!(0.25), &json!(true)));
    let dry = with(&["--queries", text(&labelled), "--dry-run"]);
    assert_eq!((&dry["queries"], &dry["left_out"], &dry["applied"]), (&json!(24), &json!(0), &json!(false)), "{dry}");
    assert_eq!(dry["means"].as_array().map(Vec::len), Some(21));
    assert_eq!(blend(&system)["semantic_weight"], 0.25, "nothing was changed");

    let applied = with(&["--queries", text(&labelled)]);
    assert_eq!((&applied["semantic_weight"], &applied["kept"]), (&dry["semantic_weight"], &dry["kept"]));
    let found = blend(&system);
    assert_eq!(found["semantic_weight"], applied["semantic_weight"]);
    assert_eq!(found["own"], json!(applied["kept"].is_null()), "a default that is kept is none of its own");

    assert_eq!(with(&["--reset"])["own"], false);
    let few = write(folder.path(), "few.jsonl", [json!({"query": "otters", "documents": ["otters", "unknown"]})]);
    let kept = with(&["--queries", text(&few)]);
    assert_eq!((&kept["queries"], &kept["kept"]), (&json!(1), &json!("there are fewer than 20 labelled queries")));
    let none = write(folder.path(), "none.jsonl", [json!({"query": "otters", "documents": ["unknown"]})]);
    let refused = run(system.client(&["collections", "calibrate", "zoo", "--queries", text(&none)]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("holds no document that the 1 labelled queries name"), "{}", refused.stderr);
    let refused = run(system.client(&["collections", "calibrate", "zoo", "--set", "1.5"]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("field: semantic_weight"), "{}", refused.stderr);
}

#[test]
fn answers_are_judged_down_each_road() {
    let folder = tempfile::tempdir().expect("a folder");
    let system = zoo(folder.path());
    let questions = ANIMALS.iter().enumerate().map(|(number, animal)| {
        json!({"query": format!("In which enclosure do the {animal} live?"), "documents": [animal],
               "answers": [(number + 100).to_string()]})
    });
    let odd = json!({"query": "Which gearbox does a tractor need?", "is_impossible": true});
    let file = write(folder.path(), "questions.jsonl", questions.chain([odd]));
    let report = system.json(&["eval", "answers", text(&file), "--collection", "zoo", "--json"]);
    let counts = (&report["questions"], &report["answerable"], &report["unanswerable"]);
    assert_eq!(counts, (&json!(13), &json!(12), &json!(1)), "{report}");
    for road in ["lexical", "semantic", "hybrid"] {
        let figures = &report["roads"][road];
        assert_eq!(figures["citations_hold"], 1.0, "{figures}");
        assert!(figures["p50_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{figures}");
        for share in ["recall@5", "contains_answer", "declined_answerable", "declined_unanswerable"] {
            assert!(figures[share].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)), "{share}: {figures}");
        }
    }
    // Every page but one lacks the animal's name, and the lexical leg finds it.
    assert_eq!(report["roads"]["lexical"]["recall@5"], 1.0, "{report}");
    assert!(report["roads"]["lexical"]["contains_answer"].as_f64().is_some_and(|share| share > 0.5), "{report}");
}

#[test]
fn roads_are_recommended_in_a_file_that_a_router_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (system, labelled) = (zoo(folder.path()), labelled(folder.path()));
    let out = folder.path().join("routes.toml");
    let report =
        system.json(&["eval", "routes", text(&labelled), "--collection", "zoo", "--out", text(&out), "--json"]);
    let intent = &report["intents"][0];
    assert_eq!(
        (&intent["intent"], &intent["queries"], &intent["measure"]),
        (&json!("lookup"), &json!(24), &json!("ndcg@10"))
    );
    let roads = intent["roads"].as_array().expect("a list").iter().map(|road| road["road"].clone());
    assert_eq!(roads.collect::<Vec<_>>(), ["lexical", "semantic", "hybrid"]);
    let recommended = intent["recommended"].as_str().expect("enough queries");
    let written = fs_err::read_to_string(&out).expect("written");
    assert!(written.contains(&format!("[intents.\"lookup\"]\nroute = \"{recommended}\"")), "{written}");
    assert_eq!(report["routes"], json!(written));
    let checked = run(system.client(&["routes", "check", text(&out)]));
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}
