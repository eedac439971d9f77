//! `trivium routes`: work with routes files.

mod check;
mod compare;
mod samples;
mod show;

use clap::Subcommand;

/// What to do with routes files.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a routes file: whether it is right, and what it would change
    Check(check::Args),
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(args) => check::run(args).await,
    }
}
