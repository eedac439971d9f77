//! `trivium audit`: what was decided in the past, and whether it would be decided so again.

mod export;
mod replay;
mod show;

use crate::{args::RouterEndpoint, clients::Audit};

/// What to do with the router's audit log.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what is on record of one request
    Show(show::Args),
    /// Run a request again on the states, policy and models of its time, and compare; exits with 1 when it differs
    Replay(replay::Args),
    /// Write records as labelled queries, as judgements, or whole
    Export(export::Args),
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show(args) => show::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Export(args) => export::run(args).await,
    }
}

fn connect(endpoint: &RouterEndpoint) -> anyhow::Result<Audit> {
    Ok(Audit::connect(&endpoint.url)?)
}
