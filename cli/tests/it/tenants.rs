//! No call sees, finds, counts or infers what belongs to another tenant.
//!
//! The methods are read off the contract, so that one that this test does not know fails it. Each is called by an
//! intruder with the names of things that another tenant has, and with names that nobody has: the two answers must be
//! the same to the letter but for the names, and hold nothing of what the owner stored.

use std::{collections::BTreeSet, path::Path};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use trivium_service_kit::auth::new_key;

use crate::process::{Running, up_command};

mod caller;

use caller::{Caller, Names};

/// A word that stands in everything that the owner stores.
const MARKER: &str = "zanderfisch";

/// What the names of the owner's things begin with.
const OWNER: &str = "owner";

/// A text in which names of the owner's things and names of nothing are the same.
fn without_names(text: &str) -> String {
    text.replace(OWNER, "NAME").replace(caller::NOBODY, "NAME")
}

/// How often each method is called with each kind of names.
const ROUNDS: usize = 4;

fn write_config(folder: &Path) -> (String, [String; 3]) {
    let keys = folder.join("keys.toml");
    let new = |tenant: &str, operator| new_key("a test's", tenant, operator).expect("made");
    let made = [new("owner", false), new("intruder", false), new("ops", true)];
    let entries: Vec<&str> = made.iter().map(|key| key.entry.as_str()).collect();
    fs_err::write(&keys, entries.join("\n")).expect("written");
    let auth = |service: &str| format!("[{service}.server.auth]\nkeys_file = {:?}\n", keys.display().to_string());
    let sections = ["router", "retriever", "model_host"].map(auth).join("");
    let config = folder.join("trivium.toml");
    fs_err::write(&config, format!("{sections}[router.cache]\nenabled = true\n")).expect("written");
    (config.display().to_string(), made.map(|key| key.key))
}

/// Every method of the contract, by its full name.
fn methods() -> BTreeSet<String> {
    let files = FileDescriptorSet::decode(trivium_proto::FILE_DESCRIPTOR_SET).expect("compiled in").file;
    let of = |file: prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        file.service.into_iter().flat_map(move |service| {
            let prefix = format!("{package}.{}", service.name());
            service.method.into_iter().map(move |method| format!("{prefix}/{}", method.name())).collect::<Vec<_>>()
        })
    };
    files.into_iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_tells_one_tenant_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, [owner, intruder, operator]) = write_config(folder.path());
    let mut command = up_command(&folder.path().join("data"));
    command.args(["--config", &config]);
    let system = tokio::task::spawn_blocking(|| Running::start(command)).await.expect("started");

    let mut owner = Caller::new(&system, &owner, OWNER);
    let mut intruder = Caller::new(&system, &intruder, "intruder");
    let theirs = owner.settle(MARKER, ROUNDS).await;
    let own = intruder.settle("herring", ROUNDS).await;
    // Before it has used the owner's names itself, it hears none of them.
    let heard = intruder.fingerprint(&own).await;
    assert!(!heard.contains(OWNER) && !heard.contains(MARKER), "{heard}");
    let before = owner.fingerprint(&theirs).await;

    let mut runner = TestRunner::deterministic();
    let shuffled = |runner: &mut TestRunner| {
        let all: Vec<String> = methods().into_iter().collect();
        proptest::strategy::Just(all).prop_shuffle().new_tree(runner).expect("a tree").current()
    };
    let mut calls = 0;
    for round in 0..ROUNDS {
        for method in shuffled(&mut runner) {
            let foreign = theirs.of_round(round);
            let unknown = Names::unknown(round);
            let of_foreign = intruder.call(&method, &foreign).await;
            let of_unknown = intruder.call(&method, &unknown).await;
            calls += 2;
            assert_eq!(without_names(&of_foreign), without_names(&of_unknown), "{method} tells them apart");
            assert!(!of_foreign.contains(MARKER), "{method} gives away what is stored: {of_foreign}");
        }
    }
    assert_eq!(owner.fingerprint(&theirs).await, before, "what the intruder did changed what the owner has");

    // The owner sees what the intruder was asked about, so that the test would notice it.
    assert!(before.contains(MARKER), "{before}");
    for method in ["RetrieverService/Search", "RetrieverService/GetDocuments"] {
        let found = owner.call(&format!("trivium.retriever.v1.{method}"), &theirs.of_round(0)).await;
        assert!(found.contains(MARKER), "{method}: {found}");
    }
    let mut nobody = Caller::new(&system, "trivium_nobody", "nobody");
    let mut operator = Caller::new(&system, &operator, "ops");
    for method in methods() {
        let refused = nobody.call(&method, &theirs.of_round(0)).await;
        assert!(refused.contains("UNAUTHENTICATED"), "{method}: {refused}");
        let by_operator = operator.call(&method, &theirs.of_round(1)).await;
        assert!(!by_operator.contains(MARKER), "{method}: operators own nothing: {by_operator}");
        calls += 2;
    }
    println!("{calls} calls over {} methods", methods().len());
}
