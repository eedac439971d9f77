//! `trivium ingest`: documents into a collection.

use std::{path::PathBuf, time::Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;
use trivium_proto::retriever::v1::CreateCollectionRequest;

use crate::{
    args::RetrieverEndpoint,
    clients::Retriever,
    ingest::{
        Note, Skipped,
        files::{Discovery, discover},
        source,
        upload::{Tally, upload},
    },
    output,
    render::{single_line, style::Style},
};

/// Documents that are read ahead of the upload.
const READ_AHEAD: usize = 64;

/// Skipped files and notes that a person is shown; `--json` has them all.
const SHOWN: usize = 20;

/// Arguments of `trivium ingest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files and folders: Markdown, text, JSON lines ({"id","title","text","uri","metadata"})
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The collection; it is made if it is not there
    #[arg(long, value_name = "NAME", default_value = "docs")]
    collection: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// What was ingested, and what was not.
#[derive(Debug, Serialize)]
struct Report {
    collection: String,
    ingested: u64,
    unchanged: u64,
    skipped: Vec<Skipped>,
    notes: Vec<Note>,
    chunks: u64,
    version: u64,
    seconds: f64,
}

/// Reads, sends, reports.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let paths = args.paths.clone();
    let Discovery { found, skipped } = tokio::task::spawn_blocking(move || discover(&paths)).await??;
    let existing = make_collection(&retriever, &args.collection).await?;

    let bar = progress_bar(found.iter().map(|file| file.bytes).sum());
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || source::read_all(&found, &sender));
    let tally = upload(&retriever, &args.collection, receiver, &|bytes| bar.inc(bytes)).await;
    bar.finish_and_clear();
    reading.await?;

    let report = report(args.collection, tally?, skipped, existing, started.elapsed().as_secs_f64());
    if args.json { output::json(&report) } else { show(&report) }
}

/// Makes the collection if it is not there; gives its version.
async fn make_collection(retriever: &Retriever, name: &str) -> anyhow::Result<u64> {
    // An existing one may have been made with declared fields, so it is not compared with a bare one.
    let collection = match retriever.collection(name).await? {
        Some(existing) => existing,
        None => {
            let request = CreateCollectionRequest {
                name: name.to_owned(),
                if_absent: true,
                ..CreateCollectionRequest::default()
            };
            retriever.create(request).await?
        }
    };
    Ok(collection.snapshot.map_or(0, |snapshot| snapshot.version))
}

fn report(collection: String, tally: Tally, mut skipped: Vec<Skipped>, existing: u64, seconds: f64) -> Report {
    skipped.extend(tally.skipped);
    Report {
        collection,
        ingested: tally.ingested,
        unchanged: tally.unchanged,
        skipped,
        notes: tally.notes,
        chunks: tally.chunks,
        version: tally.version.unwrap_or(existing),
        seconds,
    }
}

/// A bar over the bytes of input; it draws on a terminal only.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40.cyan/dim} {bytes}/{total_bytes} · {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style)
}

fn show(report: &Report) -> anyhow::Result<()> {
    let style = Style::of_stdout();
    let counts =
        format!("{} ingested, {} unchanged, {} skipped", report.ingested, report.unchanged, report.skipped.len());
    let state = format!("{} at version {}, in {:.1} s", report.collection, report.version, report.seconds);
    output::line(format!("{} · {state}", style.strong(&counts)))?;
    let skipped = report.skipped.iter().map(|skipped| (&skipped.path, &skipped.reason));
    list(style, "skipped", skipped)?;
    list(style, "noted", report.notes.iter().map(|note| (&note.path, &note.note)))
}

fn list<'a>(
    style: Style,
    word: &str,
    entries: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
) -> anyhow::Result<()> {
    let count = entries.len();
    for (path, why) in entries.take(SHOWN) {
        output::line(format!("  {} {}: {}", style.warning(word), single_line(path), single_line(why)))?;
    }
    if count > SHOWN {
        output::line(style.faint(&format!("  and {} more {word}; --json lists them all", count - SHOWN)))?;
    }
    Ok(())
}
