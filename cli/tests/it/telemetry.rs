//! The telemetry contract is kept: what the services export and log, down every road and every rung of the ladder, is
//! what `service-kit/contract/telemetry.toml` lists, and nothing else.
//!
//! `cargo test ... telemetry -- --nocapture` prints how much was looked at.

mod capture;
mod drive;
pub mod fakes;
mod mutations;
mod sources;
mod system;

pub use self::capture::{metric, span};

use trivium_telemetry::{
    Contract,
    check::{Captured, Judge},
};

use self::{
    drive::{MARKER, SAMPLED, UNSAMPLED},
    system::System,
};

async fn captured(capture_content: bool) -> Captured {
    let folder = tempfile::tempdir().expect("a folder");
    let system = Box::pin(System::start(folder.path(), capture_content)).await;
    Box::pin(drive::everything(&system, folder.path())).await;
    Box::pin(system.stop()).await
}

#[track_caller]
fn assert_nothing(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{} {what}:\n{}", found.len(), found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_as_the_contract_says_and_any_change_shows() {
    let contract = Contract::current();
    let captured = captured(false).await;
    let judge = Judge::new(&contract, false, MARKER);
    println!("{:?}", judge.counts(&captured));
    assert_nothing("violations", &judge.violations(&captured));
    assert_nothing("things were not seen", &judge.unseen(&captured));
    assert_batches_are_linked(&judge, &captured);
    assert_callers_decide_on_sampling(&captured);
    let mutated = mutations::assert_each_is_noticed(&contract, &captured);
    println!("{mutated} mutations, each noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_in_its_own_attributes_where_it_is_captured() {
    let contract = Contract::current();
    let captured = captured(true).await;
    let judge = Judge::new(&contract, true, MARKER);
    println!("{:?}", judge.counts(&captured));
    assert_nothing("violations", &judge.violations(&captured));
    let content = contract.attributes.iter().filter(|(_, attribute)| attribute.content).map(|(name, _)| name);
    for name in content {
        let of_it = |span: &trivium_telemetry::check::SeenSpan| {
            span.attributes.keys().any(|exported| contract.attribute(exported).is_some_and(|(known, _)| known == name))
        };
        assert!(captured.spans.iter().any(of_it), "no span has {name}");
    }
}

/// Each batch links to several requests, whose spans bear its id.
fn assert_batches_are_linked(judge: &Judge<'_>, captured: &Captured) {
    let named = |id: &str| captured.spans.iter().filter(|span| judge.identify(span) == Some(id)).collect::<Vec<_>>();
    let forwards = named("forward");
    let batches = named("batch");
    assert!(!batches.is_empty(), "no batch had several requests");
    for batch in batches {
        let members: Vec<_> = forwards.iter().filter(|forward| batch.links.contains(&forward.id)).collect();
        assert!(members.len() >= 2 && members.len() == batch.links.len(), "{batch:?} links to {members:?}");
    }
    let id = "trivium.batch.id";
    let joined = named("batch")
        .iter()
        .filter(|batch| forwards.iter().any(|own| own.attributes[id] == batch.attributes[id]))
        .count();
    assert!(joined > 0, "no request bears the id of its batch");
    let remembered = captured.spans.iter().filter(|span| span.attributes.contains_key("trivium.cache.hit"));
    for query in remembered {
        let makers: Vec<_> = captured.spans.iter().filter(|span| query.links.contains(&span.id)).collect();
        assert!(makers.len() == 1 && judge.identify(makers[0]) == Some("query"), "{query:?} links to {makers:?}");
    }
}

/// A trace that its caller does not sample is not exported, and one that it does has its spans under the caller's.
fn assert_callers_decide_on_sampling(captured: &Captured) {
    let of = |trace: &str| captured.spans.iter().filter(|span| span.trace_id == trace).collect::<Vec<_>>();
    assert!(of(UNSAMPLED).is_empty(), "{:?}", of(UNSAMPLED));
    let roots = of(SAMPLED).into_iter().filter(|span| span.parent == "b7ad6b7169203331").count();
    assert_eq!(roots, 1, "{:?}", of(SAMPLED));
}
