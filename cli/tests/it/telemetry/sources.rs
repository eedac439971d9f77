//! The log events of the contract are those of the sources: no test can bring about each of them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use trivium_telemetry::Contract;

const CRATES: [(&str, &str); 5] = [
    ("router", "router"),
    ("retriever", "retriever"),
    ("model-host", "model-host"),
    ("cli", "cli"),
    ("service-kit", "any"),
];

#[test]
fn the_log_events_of_the_sources_are_those_of_the_contract() {
    let contract = Contract::current();
    let listed: BTreeSet<(String, String, String)> =
        contract.logs.iter().map(|log| (log.service.clone(), log.level.clone(), log.message.clone())).collect();
    let written: BTreeSet<(String, String, String)> = CRATES
        .into_iter()
        .flat_map(|(folder, service)| {
            let events = files(&root().join(folder).join("src")).into_iter().flat_map(|file| events(&file));
            events.map(move |(level, message)| (service.to_owned(), level, message)).collect::<Vec<_>>()
        })
        .collect();
    assert!(written.len() > 40, "the sources were read: {written:?}");
    let unlisted: Vec<_> = written.difference(&listed).collect();
    let unwritten: Vec<_> = listed.difference(&written).collect();
    assert!(
        unlisted.is_empty() && unwritten.is_empty(),
        "unlisted: {unlisted:#?}\nlisted, and nowhere: {unwritten:#?}"
    );
}

/// The levels and messages of the log events that a source file writes; those of its unit tests aside.
fn events(file: &Path) -> Vec<(String, String)> {
    let text = fs_err::read_to_string(file).expect("readable");
    let text = text.split("#[cfg(test)]").next().expect("a first part");
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        for (place, _) in text.match_indices(&format!("{level}!(")) {
            // `eprintln!` and the like end in none of these, but a name may.
            let before = text[..place].chars().next_back();
            if before.is_none_or(|letter| letter.is_whitespace() || letter == ':') {
                found.extend(message(&text[place..]).map(|message| (level.to_owned(), message)));
            }
        }
    }
    found
}

/// The last text of a macro's arguments.
fn message(call: &str) -> Option<String> {
    let (mut depth, mut text, mut last) = (0, None::<String>, None);
    let mut letters = call.chars();
    while let Some(letter) = letters.next() {
        match (&mut text, letter) {
            (Some(text), '\\') => {
                text.push(letter);
                text.extend(letters.next());
            }
            (Some(_), '"') => last = text.take(),
            (Some(text), letter) => text.push(letter),
            (None, '"') => text = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth == 0 {
                    return last;
                }
            }
            (None, _) => {}
        }
    }
    None
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("readable").into_path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The root of the repository: tests run in the folder of their crate.
fn root() -> PathBuf {
    std::env::current_dir().expect("a current folder").parent().expect("the root").to_owned()
}
