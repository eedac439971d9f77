//! The models that the tests run on: the real encoder, and an intent model fitted on a part of the project's queries.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;
use trivium_model_host::bundle::default_models_dir;

#[path = "../../../model-host/tests/it/support/scorer.rs"]
mod scorer;

/// Queries of each intent that are fitted on, so that fitting takes a second or two.
const PER_LABEL: usize = 25;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// The models folder, made at first use. It lies in cargo's folder for the files of
/// tests, so that the encoder is linked to and not copied.
pub fn folder() -> &'static Path {
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("models-{}", std::process::id()));
        let _ = fs_err::remove_dir_all(&folder);
        fs_err::create_dir_all(&folder).expect("made");
        std::os::unix::fs::symlink(encoder(), folder.join("minilm")).expect("linked");
        fit(&folder);
        folder
    })
}

/// The encoder in the user's cache, where `make test` puts it.
pub fn encoder() -> PathBuf {
    let encoder = default_models_dir().join("minilm");
    assert!(
        encoder.join("1").join("manifest.toml").is_file(),
        "the encoder is not in {}; `make encoder` or `trivium models pull minilm` fetches it",
        encoder.display()
    );
    encoder
}

/// The same models, with those of a second stage beside them: a projection of the encoder's token vectors, and `scorer`, a
/// cross-encoder whose scores mean nothing. Collections that are made with them keep token vectors.
pub fn folder_with_second_stage() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let models = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("staged-models-{}", std::process::id()));
        let _ = fs_err::remove_dir_all(&models);
        fs_err::create_dir_all(&models).expect("made");
        for model in fs_err::read_dir(folder()).expect("read") {
            let model = model.expect("an entry");
            if model.path().is_dir() {
                std::os::unix::fs::symlink(model.path(), models.join(model.file_name())).expect("linked");
            }
        }
        project(&models);
        add_scorer(&models);
        models
    })
}

/// Few texts are enough: what the vectors are worth is tested elsewhere.
fn project(models: &Path) {
    let texts = models.join("texts.txt");
    let words = |number| format!("the {number} th key of the platform is rotated by team {}\n", number % 7);
    fs_err::write(&texts, (0..200).map(words).collect::<String>()).expect("written");
    manage(models, &["project", "minilm", "--dimension", "16", "--texts", &texts.display().to_string()]);
}

fn add_scorer(models: &Path) {
    let tokenizer = encoder().join("1").join("tokenizer.json");
    let json: Value = serde_json::from_slice(&fs_err::read(&tokenizer).expect("read")).expect("JSON");
    let words = json["model"]["vocab"].as_object().expect("a vocabulary").len();
    let graph = models.join("scorer.onnx");
    fs_err::write(&graph, scorer::onnx(words)).expect("written");
    let (graph, tokenizer) = (graph.display().to_string(), tokenizer.display().to_string());
    manage(models, &["add", "scorer", "--cross-encoder", "--onnx", &graph, "--tokenizer", &tokenizer]);
}

/// Runs a command of `trivium models`.
fn manage(models: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trivium"));
    let output = command.arg("models").args(args).arg("--models-dir").arg(models).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn fit(models: &Path) {
    let train = models.join("train.jsonl");
    fs_err::write(&train, part_of("train.jsonl")).expect("written");
    let valid = models.join("valid.jsonl");
    fs_err::write(&valid, part_of("valid.jsonl")).expect("written");
    // Not through `process::trivium`, which asks for this very folder.
    let output = Command::new(env!("CARGO_BIN_EXE_trivium"))
        .args(["intents", "fit", "--train"])
        .arg(&train)
        .arg("--valid")
        .arg(&valid)
        .arg("--models-dir")
        .arg(models)
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The first queries of each intent.
pub fn part_of(split: &str) -> String {
    let path = Path::new("../model-host/intents").join(split);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut part = String::new();
    for line in fs_err::read_to_string(path).expect("the project's queries").lines() {
        let query: Value = serde_json::from_str(line).expect("JSON");
        let count = counts.entry(query["label"].to_string()).or_default();
        *count += 1;
        if *count <= PER_LABEL {
            part.push_str(line);
            part.push('\n');
        }
    }
    part
}
