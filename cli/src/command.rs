//! The commands.

pub mod ask;
pub mod audit;
pub mod bench;
pub mod collections;
pub mod eval;
pub mod feedback;
pub mod health;
pub mod ingest;
pub mod intents;
pub mod keys;
pub mod models;
pub mod route;
pub mod routes;
pub mod search;
pub mod serve;
pub mod services;
pub mod up;

use anyhow::Context;
use tracing::{Instrument, Span, field, info_span};
use trivium_service_kit::{
    Service,
    telemetry::{self, Telemetry, TelemetryOptions, names::attribute as key},
};

use crate::args::Command;

/// Runs one command to its end.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        // What a service is configured with is large, and would be moved from call to call.
        Command::Up(args) => Box::pin(up::run(args)).await,
        Command::Serve(args) => serve::run(args).await,
        // A probe comes every few seconds, and would bury all other traces.
        Command::Health(args) => health::run(args).await,
        // Nothing about a new key belongs into a trace.
        Command::Keys(command) => keys::run(&command),
        client => Box::pin(as_client(client)).await,
    }
}

/// Runs a command that is a client of the services. It is the root of a trace of its own.
async fn as_client(command: Command) -> anyhow::Result<()> {
    let options = TelemetryOptions { log: "warn".into(), ..TelemetryOptions::default() };
    let telemetry = telemetry::init(&[Service::Cli], &options)?;
    let span = info_span!(
        target: "trivium_cli",
        "command",
        otel.name = name(&command),
        otel.kind = "internal",
        otel.status_code = field::Empty,
        { key::OPENINFERENCE_SPAN_KIND } = "CHAIN"
    );
    let outcome = client(command).instrument(span.clone()).await;
    if outcome.is_err() {
        mark_failed(&span);
    }
    drop(span);
    flush(telemetry).await?;
    outcome
}

fn mark_failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

/// Sends the last spans. The exporter works on the runtime, so it must not be blocked meanwhile.
pub async fn flush(telemetry: Telemetry) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await.context("the last spans could not be sent")
}

async fn client(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ingest(args) => ingest::run(args).await,
        Command::Ask(args) => ask::run(args).await,
        Command::Feedback(args) => feedback::run(args).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Search(args) => search::run(args).await,
        Command::Route(args) => route::run(args).await,
        Command::Routes(command) => routes::run(command).await,
        Command::Models(command) => models::run(command).await,
        Command::Intents(command) => intents::run(command).await,
        Command::Collections(command) => collections::run(command).await,
        Command::Health(args) => health::run(args).await,
        Command::Keys(command) => keys::run(&command),
        Command::Eval(command) => eval::run(command).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Up(args) => Box::pin(up::run(args)).await,
        Command::Serve(args) => serve::run(args).await,
    }
}

/// The name of a command's span.
fn name(command: &Command) -> &'static str {
    match command {
        Command::Up(_) => "up",
        Command::Serve(_) => "serve",
        Command::Ingest(_) => "ingest",
        Command::Ask(_) => "ask",
        Command::Feedback(_) => "feedback",
        Command::Audit(_) => "audit",
        Command::Search(_) => "search",
        Command::Route(_) => "route",
        Command::Routes(_) => "routes",
        Command::Models(_) => "models",
        Command::Intents(_) => "intents",
        Command::Collections(_) => "collections",
        Command::Health(_) => "health",
        Command::Keys(_) => "keys",
        Command::Eval(_) => "eval",
        Command::Bench(_) => "bench",
    }
}
