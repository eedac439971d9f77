//! `trivium eval`: what the services are worth on labelled data.

mod answers;
mod calibration;
mod recall;
mod retrieval;
mod routes;
mod set;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure both legs and their fusions on a set in BEIR's layout
    Retrieval(retrieval::Args),
    /// Measure what `collections calibrate` would gain on a set in BEIR's layout, by drawing queries to fit it to
    Calibration(calibration::Args),
    /// Measure how many of the nearest passages a search by meaning finds
    Recall(recall::RecallArgs),
    /// Ask questions whose right answers are known, down each road
    Answers(answers::Args),
    /// Find out which road each intent should take, by sending labelled queries down all of them
    Routes(routes::Args),
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Retrieval(args) => retrieval::run(args).await,
        Command::Calibration(args) => calibration::run(args).await,
        Command::Recall(args) => recall::run(args).await,
        Command::Answers(args) => answers::run(args).await,
        Command::Routes(args) => routes::run(args).await,
    }
}

/// A bar on a terminal; nothing where there is none.
pub fn bar(words: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40.cyan/dim} {percent}% · {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(words)
}
