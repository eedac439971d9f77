//! `kill -9` in rounds: several clients write, the retriever dies at a random instant or at a named failpoint, starts
//! again, and must hold every acknowledged write, no other, and the same on both legs.
//!
//! Ten rounds run with the other tests. `make crash ROUNDS=300 SEED=1` runs more of them; a seed gives the same kills
//! and the same writes, though not the same instants.

mod check;
mod clients;
mod ledger;
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Running, trivium};
use check::Checked;
use clients::Clients;
pub use clients::connect;
use plan::{Kill, Random};
use tempfile::TempDir;
use trivium_retriever::failpoint::Failpoint;

/// The collection that is written to.
const COLLECTION: &str = "docs";
/// Rounds that run with the other tests: each failpoint once, and one random kill.
const ROUNDS: u64 = 12;

#[test]
fn acknowledged_writes_survive_any_kill() {
    let rounds = number("CRASH_ROUNDS", ROUNDS);
    let seed = number("CRASH_SEED", 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let summary = runtime.block_on(run(seed, rounds));
    println!("seed {seed}: {summary}");
    for kind in plan::kinds() {
        let expected = rounds / plan::kinds().len() as u64;
        assert!(summary.kills.get(kind.name()).copied().unwrap_or(0) >= expected, "{}: {summary}", kind.name());
    }
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} must be a whole number")),
        Err(_) => default,
    }
}

/// What was done and seen.
#[derive(Debug, Default)]
struct Summary {
    kills: BTreeMap<&'static str, u64>,
    acknowledged: u64,
    checked: Checked,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kills: Vec<_> = self.kills.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let total: u64 = self.kills.values().sum();
        write!(
            formatter,
            "{total} kills ({}); {} acknowledged writes; {}",
            kills.join(", "),
            self.acknowledged,
            self.checked
        )
    }
}

async fn run(seed: u64, rounds: u64) -> Summary {
    let host = Running::start(trivium(&["serve", "model-host", "--addr", "127.0.0.1:0"]));
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random::new(seed);
    let kills = plan::kills(&mut random, rounds);
    let mut clients = Clients::new(&mut random);
    let mut summary = Summary::default();
    let running = Running::start(retriever(&host, folder.path(), None));
    clients.create_collection(running.addr("retriever")).await;
    running.kill();
    for (round, kill) in (1..).zip(kills) {
        // By a process that is not to die: a failpoint in the background may be reached before anything is written.
        let running = Running::start(retriever(&host, folder.path(), None));
        check(&mut clients, running.addr("retriever"), &mut summary, round, &folder).await;
        running.kill();
        if kill.needs_rebuild() {
            damage_index(folder.path());
        }
        match Running::try_start(retriever(&host, folder.path(), Some(&kill))) {
            // It died while it opened its collections, which is where some failpoints are.
            Err(ended) => assert_eq!(ended.code, None, "round {round}: {kill:?}: {}", ended.stderr),
            Ok(running) => {
                let at = running.addr("retriever").to_owned();
                summary.acknowledged += clients.write_until_dead(&at, running, &kill).await;
            }
        }
        *summary.kills.entry(kill.name()).or_default() += 1;
    }
    let running = Running::start(retriever(&host, folder.path(), None));
    let at = running.addr("retriever").to_owned();
    check(&mut clients, &at, &mut summary, rounds + 1, &folder).await;
    assert_eq!(running.stop(), Some(0));
    summary
}

/// Checks everything, and keeps the evidence where something is wrong.
async fn check(clients: &mut Clients, at: &str, summary: &mut Summary, round: u64, folder: &TempDir) {
    let checked = check::check(clients, at).await;
    summary.checked.add(&checked);
    if !checked.faults.is_empty() {
        let kept = folder.path().with_extension("kept");
        fs_err::rename(folder.path(), &kept).expect("renamed");
        panic!("round {round}: {}: {:#?}\nkept in {}: {summary}", checked, checked.faults, kept.display());
    }
}

/// A retriever that merges fragments as often as it may, and that dies as planned. Its vectors are in memory, unless it is to
/// die while they are indexed; the index that such a round leaves stays in the table, and covers a part of it.
fn retriever(host: &Running, data: &Path, kill: Option<&Kill>) -> Command {
    let mut command = trivium(&["serve", "retriever", "--addr", "127.0.0.1:0", "--data"]);
    command.arg(data);
    command.env("TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT", format!("http://{}", host.addr("model-host")));
    command.env("TRIVIUM_RETRIEVER__COMPACT_FRAGMENTS", "16");
    if kill.is_some_and(Kill::needs_vector_index) {
        command.env("TRIVIUM_RETRIEVER__EXACT_VECTORS_BYTES", "0");
        command.env("TRIVIUM_RETRIEVER__INDEX_TAIL_ROWS", "8");
    }
    if let Some((point, count)) = kill.and_then(Kill::failpoint) {
        command.env("TRIVIUM_FAILPOINT", format!("{point}:{count}"));
    }
    command
}

/// Spoils the lexical index, so that the next start builds it anew.
fn damage_index(data: &Path) {
    let meta = lexical(data).join("meta.json");
    // The rebuild before may have died between two folders.
    if meta.exists() {
        fs_err::write(meta, "{").expect("written");
    }
}

fn lexical(data: &Path) -> PathBuf {
    data.join("collections").join(COLLECTION).join("lexical")
}

impl Kill {
    fn needs_rebuild(&self) -> bool {
        matches!(self.failpoint(), Some((Failpoint::InRebuild | Failpoint::InRebuildSwap, _)))
    }

    fn needs_vector_index(&self) -> bool {
        matches!(self.failpoint(), Some((Failpoint::InVectorIndexing | Failpoint::AfterVectorIndexing, _)))
    }
}
