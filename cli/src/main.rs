//! `trivium`: the services, and a client for each thing people do with them.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod clients;
mod command;
mod eval;
mod exit;
mod ingest;
mod metadata;
mod output;
mod render;
mod settings;
mod vectors;
mod view;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

fn main() -> ExitCode {
    let args::Cli { command, access } = args::Cli::parse();
    clients::introduce(access);
    exit::report(run(command))
}

fn run(command: args::Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the threads for input and output cannot be started")?;
    runtime.block_on(command::run(command))
}
