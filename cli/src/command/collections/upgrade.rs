//! `trivium collections upgrade`: token vectors for documents from before.

use anyhow::Context;

use super::background::{Step, wait};
use crate::{args::RetrieverEndpoint, clients::Retriever, output};

/// Arguments of `trivium collections upgrade`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection
    name: String,
    /// Come back as soon as it has begun; it goes on in the background
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// Begins the upgrade, and waits until every document has token vectors.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let collection = retriever.upgrade(&args.name).await?;
    if args.no_wait {
        return Ok(output::line(format!("{} is being upgraded", args.name))?);
    }
    let collection = wait(&retriever, collection, ("the upgrade", "adding token vectors"), |collection| {
        let upgrade = collection.token_upgrade.take()?;
        let documents_left = Some(upgrade.documents_left).filter(|left| *left > 0);
        Some(Step { documents_left, problem: upgrade.problem, problem_detail: upgrade.problem_detail })
    })
    .await?;
    let projection = collection.token_projection.context("the collection has no token vectors")?;
    let words = format!("every document of {} has token vectors by {}", args.name, projection.name);
    Ok(output::line(format!("{words}/{}", projection.version))?)
}
