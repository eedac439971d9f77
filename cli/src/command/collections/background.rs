//! Waiting for what a retriever does on a collection in the background.

use std::time::Duration;

use anyhow::{Context, bail};
use trivium_proto::retriever::v1::Collection;

use crate::{clients::Retriever, command::eval::bar};

/// How often to look how far it has come.
const INTERVAL: Duration = Duration::from_millis(500);

/// How far it has come.
pub struct Step {
    /// Documents that are left; `None` before they were counted.
    pub documents_left: Option<u64>,
    /// Why it stands still, as the error catalogue has it; empty while it goes on.
    pub problem: String,
    /// The same in words.
    pub problem_detail: String,
}

/// Shows `doing` with a bar until `step` takes nothing more from the collection, and gives that as it is then. `what` names
/// it where it stands still, which ends the waiting.
pub async fn wait(
    retriever: &Retriever,
    mut collection: Collection,
    (what, doing): (&str, &'static str),
    step: impl Fn(&mut Collection) -> Option<Step>,
) -> anyhow::Result<Collection> {
    let progress = bar(doing, collection.documents);
    while let Some(Step { documents_left, problem, problem_detail }) = step(&mut collection) {
        if !problem.is_empty() {
            bail!("{what} stands still ({problem}): {problem_detail}");
        }
        if let Some(left) = documents_left {
            progress.set_position(collection.documents.saturating_sub(left));
        }
        tokio::time::sleep(INTERVAL).await;
        collection = retriever.collection(&collection.name).await?.context("the collection is gone")?;
    }
    progress.finish_and_clear();
    Ok(collection)
}
