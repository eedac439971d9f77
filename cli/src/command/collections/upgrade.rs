//! `trivium collections upgrade`: token vectors for documents from before.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::{args::RetrieverEndpoint, clients::Retriever, command::eval::bar, output};

/// How often to look how far it has come.
const INTERVAL: Duration = Duration::from_millis(500);

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
    let mut collection = retriever.upgrade(&args.name).await?;
    if args.no_wait {
        return Ok(output::line(format!("{} is being upgraded", args.name))?);
    }
    let progress = bar("adding token vectors", collection.documents);
    while let Some(upgrade) = collection.token_upgrade.take() {
        if !upgrade.problem.is_empty() {
            bail!("the upgrade stands still ({}): {}", upgrade.problem, upgrade.problem_detail);
        }
        if upgrade.documents_left > 0 {
            progress.set_position(collection.documents.saturating_sub(upgrade.documents_left));
        }
        tokio::time::sleep(INTERVAL).await;
        collection = retriever.collection(&args.name).await?.context("the collection is gone")?;
    }
    progress.finish_and_clear();
    let projection = collection.token_projection.context("the collection has no token vectors")?;
    let words = format!("every document of {} has token vectors by {}", args.name, projection.name);
    Ok(output::line(format!("{words}/{}", projection.version))?)
}
