//! What keeps the services from starting is said in a line, with the right exit code.

use std::{net::TcpListener, path::Path};

use crate::{
    models,
    process::{Ended, Running, run, trivium, up_command},
};

/// `up` with a configuration file of this text.
fn up_with(config: &str) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trivium.toml");
    fs_err::write(&file, config).expect("written");
    let mut command = up_command(&folder.path().join("data"));
    command.arg("--config").arg(&file);
    run(command)
}

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "nothing is ready");
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in: {}", ended.stderr);
    }
}

#[test]
fn a_bad_value_is_named_with_key_value_and_why() {
    let table: [(&str, &[&str]); 5] = [
        ("[retriever]\ncandidates = 0\n", &["retriever.candidates", "0", "at least 1"]),
        ("[router.server]\nport = 1\n", &["router.server.port", "no such key"]),
        ("[model_host]\nengine_threads = \"many\"\n", &["model_host.engine_threads", "many"]),
        ("[telemetry]\nlog_format = \"yaml\"\n", &["telemetry.log_format", "yaml"]),
        ("[router\n", &["bad configuration"]),
    ];
    for (config, parts) in table {
        assert_refused(&up_with(config), 64, parts);
    }
}

#[test]
fn a_bad_routes_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let routes = folder.path().join("routes.toml");
    let table = [
        ("version = 1\n[intents.how_to]\nroute = \"sideways\"\n", "line 3"),
        ("version = 1\n[intents.astrology]\nroute = \"lexical\"\n", "astrology"),
    ];
    for (text, part) in table {
        fs_err::write(&routes, text).expect("written");
        let ended = up_with(&format!("[router]\nroutes_file = {routes:?}\n"));
        assert_refused(&ended, 64, &["routes.toml", part]);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut command = trivium(&["up", "--config", "/nowhere/trivium.toml"]);
    command.env("HOME", "/nowhere");
    assert_refused(&run(command), 64, &["/nowhere/trivium.toml"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    for flag in ["--router-addr", "--retriever-addr", "--model-host-addr"] {
        let mut addresses = ["127.0.0.1:0"; 3];
        let flags = ["--router-addr", "--retriever-addr", "--model-host-addr"];
        addresses[flags.iter().position(|name| *name == flag).expect("one of them")] = &addr;
        let args = [flags[0], addresses[0], flags[1], addresses[1], flags[2], addresses[2]];
        let mut command = trivium(&["up"]);
        command.args(args).arg("--data").arg(folder.path());
        assert_refused(&run(command), 1, &[&addr, "in use"]);
    }
}

#[test]
fn a_data_folder_in_use_is_named_and_its_holder_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let holder = Running::up(folder.path());
    let path = folder.path().to_str().expect("UTF-8");
    assert_refused(&run(up_command(folder.path())), 1, &[path, "another process"]);
    let collections = holder.json(&["collections", "list", "--json"]);
    assert_eq!(collections, serde_json::json!([]));
}

#[test]
fn a_data_folder_of_a_newer_format_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let collection = folder.path().join("collections").join("docs");
    fs_err::create_dir_all(&collection).expect("made");
    let description = collection.join("collection.toml");
    fs_err::write(&description, "format = 99\nsomething_new = true\n").expect("written");
    assert_refused(&run(up_command(folder.path())), 1, &["collection.toml", "format 99"]);
    assert!(fs_err::read_to_string(&description).expect("there").contains("something_new"));
}

#[test]
fn a_failpoint_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.env("TRIVIUM_FAILPOINT", "nowhere");
    assert_refused(&run(command), 64, &["TRIVIUM_FAILPOINT", "nowhere", "after_table_commit"]);
}

#[test]
fn a_damaged_encoder_is_named_with_what_is_wrong() {
    let broken = tempfile::tempdir().expect("a folder");
    let version = broken.path().join("minilm").join("1");
    fs_err::create_dir_all(&version).expect("made");
    let whole = models::encoder();
    fs_err::copy(whole.join("aliases.toml"), broken.path().join("minilm").join("aliases.toml")).expect("copied");
    fs_err::copy(whole.join("1").join("manifest.toml"), version.join("manifest.toml")).expect("copied");
    std::os::unix::fs::symlink(whole.join("1").join("model.onnx"), version.join("model.onnx")).expect("linked");
    let up = |models: &Path| {
        let mut command = up_command(&broken.path().join("data"));
        command.env("TRIVIUM_MODELS_DIR", models);
        run(command)
    };

    assert_refused(&up(broken.path()), 64, &["tokenizer.json", "missing", "trivium models pull"]);

    let tokenizer = fs_err::read(whole.join("1").join("tokenizer.json")).expect("there");
    fs_err::write(version.join("tokenizer.json"), &tokenizer[..tokenizer.len() / 2]).expect("written");
    assert_refused(&up(broken.path()), 64, &["tokenizer.json", "bytes", "expected"]);

    let mut changed = tokenizer;
    changed[100] ^= 1;
    fs_err::write(version.join("tokenizer.json"), &changed).expect("written");
    assert_refused(&up(broken.path()), 64, &["tokenizer.json", "sha256", "expected"]);
}

#[test]
fn an_absent_encoder_names_the_command_that_fetches_it() {
    let empty = tempfile::tempdir().expect("a folder");
    let mut command = up_command(&empty.path().join("data"));
    command.env("TRIVIUM_MODELS_DIR", empty.path());
    assert_refused(&run(command), 64, &["minilm", "trivium models pull minilm"]);
}

#[test]
fn a_routes_file_can_be_checked_beforehand() {
    let folder = tempfile::tempdir().expect("a folder");
    let routes = folder.path().join("routes.toml");
    let path = routes.to_str().expect("UTF-8");
    // Nobody listens on port 1 of loopback.
    let check = ["routes", "check", path, "--endpoint", "http://127.0.0.1:1"];

    fs_err::write(&routes, "version = 1\n[intents.how_to]\nroute = \"hybrid\"\n").expect("written");
    let ended = run(trivium(&check));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("good") && ended.stdout.contains("not compared"), "{}", ended.stdout);

    fs_err::write(&routes, "version = 1\n[default]\nk = 0\n").expect("written");
    let ended = run(trivium(&check));
    assert_refused(&ended, 64, &["routes.toml", "line 3"]);
}
