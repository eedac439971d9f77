//! `trivium intents finetune` as a process: what it refuses, and that a killed run goes on.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::{
    models,
    process::{Ended, run, trivium},
};

/// A models folder that holds only the encoder.
fn models_dir(folder: &Path) -> PathBuf {
    let models = folder.join("models");
    fs_err::create_dir_all(&models).expect("made");
    std::os::unix::fs::symlink(models::encoder(), models.join("minilm")).expect("linked");
    models
}

/// A fine-tuning command on `train`, on the last layer alone, so that it takes seconds.
fn command(models: &Path, train: &Path, more: &[&str]) -> std::process::Command {
    let mut command = trivium(&["intents", "finetune", "--json", "--freeze-layers", "5", "--epochs", "2"]);
    command.args(["--no-suspects", "--oos-label", "out_of_scope", "--train"]).arg(train).args(more);
    command.arg("--models-dir").arg(models);
    command
}

fn refused(models: &Path, folder: &Path, name: &str, content: &str) -> Ended {
    let train = folder.join(name);
    fs_err::write(&train, content).expect("written");
    let ended = run(command(models, &train, &[]));
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert!(!models.join("intents").join("1").exists());
    ended
}

#[test]
fn training_data_that_cannot_be_learned_is_refused_by_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = models_dir(folder.path());
    let row = |text: &str, label: &str| format!("{}\n", serde_json::json!({"text": text, "label": label}));
    let two = [row("a", "x"), row("b", "x"), row("c", "y"), row("d", "y")].concat();
    for (name, content, expected) in [
        ("empty.jsonl", String::new(), "empty.jsonl: no queries"),
        ("one.jsonl", row("a", "x") + &row("b", "x"), "at least two labels"),
        ("lone.jsonl", two.clone() + &row("e", "z"), "\"z\" has a single training query"),
        ("odd.jsonl", two.clone() + &row("e", "x\u{7}"), "line 5"),
        ("long.jsonl", two.clone() + &row(&"x".repeat(2 << 20), "x"), "line 5"),
    ] {
        let ended = refused(&models, folder.path(), name, &content);
        assert!(ended.stderr.contains(expected), "{name}: {ended:?}");
    }
    let (train, valid) = (folder.path().join("two.jsonl"), folder.path().join("unseen.jsonl"));
    fs_err::write(&train, two).expect("written");
    fs_err::write(&valid, row("a", "x") + &row("b", "new")).expect("written");
    let ended = run(command(&models, &train, &["--valid", valid.to_str().expect("UTF-8")]));
    assert!(ended.stderr.contains("\"new\""), "{ended:?}");
    let ended = run(command(&models, &train, &["--base", "nowhere"]));
    assert!(ended.stderr.contains("trivium models pull nowhere"), "{ended:?}");
}

#[test]
fn a_killed_run_goes_on_to_the_same_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = folder.path().join("train.jsonl");
    fs_err::write(&train, models::part_of("train.jsonl")).expect("written");
    let whole = models_dir(folder.path());
    let expected = finished(command(&whole, &train, &[]));
    let killed = models_dir(&folder.path().join("killed"));
    let mut run = command(&killed, &train, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let state = killed.join("intents/.finetune/state.safetensors");
    // The state is there after the first of two epochs; a run that ends before it is looked at
    // again leaves a model, and the comparison below is all that remains to be asked.
    while !state.exists() && run.try_wait().expect("asked").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().expect("killed");
    run.wait().expect("waited for");
    let resumed =
        if killed.join("intents/1").exists() { None } else { Some(finished(command(&killed, &train, &["--resume"]))) };
    let hashes = |models: &Path| {
        let manifest = fs_err::read_to_string(models.join("intents/1/manifest.toml")).expect("written");
        let manifest: toml::Table = toml::from_str(&manifest).expect("TOML");
        let files = manifest["files"].as_array().expect("a list").clone();
        let kept = |file: &toml::Value| file["name"].as_str() != Some("report.html");
        files.into_iter().filter(kept).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&whole), hashes(&killed));
    if let Some(resumed) = resumed {
        assert_eq!(resumed["accuracy"], expected["accuracy"]);
    }
}

fn finished(command: std::process::Command) -> Value {
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).expect("one JSON document")
}
