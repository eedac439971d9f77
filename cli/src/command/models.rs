//! `trivium models`: what the model host has, which versions serve, and where models come from.

mod add;
mod list;
mod project;
mod promote;
mod pull;
mod shadow;

use clap::Subcommand;

use crate::{args::ModelHostEndpoint, clients::ModelHost, output};

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what the running model host has, which versions serve, and what each has done
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        endpoint: ModelHostEndpoint,
    },
    /// Fetch a published encoder, check it, and make it ready to serve
    Pull(pull::PullArgs),
    /// Make a bundle of any ONNX encoder or cross-encoder with its tokenizer, after trying it out
    Add(add::AddArgs),
    /// Fit a projection to an encoder, so that collections can keep its token vectors
    Project(project::ProjectArgs),
    /// Make a version serve: it is checked and warmed first, and no call fails meanwhile
    Promote(promote::PromoteArgs),
    /// Make the version serve that served before
    Rollback(promote::RollbackArgs),
    /// Let a second version of the intent model see a share of the queries, or say what it found
    Shadow(shadow::ShadowArgs),
    /// Load a version beside those that serve, so that calls can name it
    Load(OneVersion),
    /// Let go of a version that nothing needs
    Unload(OneVersion),
}

/// One version on the running model host.
#[derive(Debug, clap::Args)]
pub struct OneVersion {
    /// Name of the model
    name: String,
    /// Version of the model
    version: String,
    #[command(flatten)]
    endpoint: ModelHostEndpoint,
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { json, endpoint } => list::run(&ModelHost::connect(&endpoint.url)?, json).await,
        Command::Pull(args) => tokio::task::spawn_blocking(move || pull::fetch(args)).await?,
        Command::Add(args) => tokio::task::spawn_blocking(move || add::run(&args)).await?,
        Command::Project(args) => tokio::task::spawn_blocking(move || project::run(&args)).await?,
        Command::Promote(args) => promote::promote(args).await,
        Command::Rollback(args) => promote::rollback(args).await,
        Command::Shadow(args) => shadow::run(args).await,
        Command::Load(args) => load(args).await,
        Command::Unload(args) => unload(args).await,
    }
}

async fn load(args: OneVersion) -> anyhow::Result<()> {
    let host = ModelHost::connect(&args.endpoint.url)?;
    let loaded = host.load(&args.name, &args.version).await?;
    let megabytes = loaded.map_or(0, |model| model.memory_bytes) >> 20;
    Ok(output::line(format!("{}/{} is loaded, {megabytes} MiB", args.name, args.version))?)
}

async fn unload(args: OneVersion) -> anyhow::Result<()> {
    let host = ModelHost::connect(&args.endpoint.url)?;
    let outcome = match host.unload(&args.name, &args.version).await? {
        true => "is let go",
        false => "was not loaded",
    };
    Ok(output::line(format!("{}/{} {outcome}", args.name, args.version))?)
}
