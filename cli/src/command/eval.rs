//! `trivium eval`: the quality of retrieval on a judged set.

mod recall;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{Collection, CreateCollectionRequest},
};

use crate::{
    args::RetrieverEndpoint,
    clients::{ModelHost, Retriever},
    eval::{
        beir::{Query, Set},
        retrieval::{HYBRID, Row, Scores, Way, measure},
    },
    ingest::{files::discover, source, upload::upload},
    output,
    render::table::table,
    vectors,
};

/// Documents that are read ahead of the upload.
const READ_AHEAD: usize = 64;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure both legs and their fusions on a set in BEIR's layout
    Retrieval(RetrievalArgs),
    /// Measure how many of the nearest passages a search by meaning finds
    Recall(RecallArgs),
}

pub use recall::RecallArgs;

/// Arguments of `trivium eval retrieval`.
#[derive(Debug, clap::Args)]
pub struct RetrievalArgs {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/
    #[arg(value_name = "BEIR_DIR")]
    folder: PathBuf,
    /// Which queries: the name of a file in qrels/
    #[arg(long, default_value = "test")]
    split: String,
    /// Keep the collection; a later run then reuses what is unchanged
    #[arg(long)]
    keep: bool,
    /// Collection to use, which is then kept [default: one named after the set and its content]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
    /// Address of the model host
    #[arg(long, env = "TRIVIUM_MODEL_HOST_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:7702")]
    model_host_endpoint: String,
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Retrieval(args) => retrieval(args).await,
        Command::Recall(args) => recall::run(args).await,
    }
}

async fn retrieval(args: RetrievalArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let host = ModelHost::connect(&args.model_host_endpoint)?;
    let (set, split) = (Set::at(&args.folder), args.split.clone());
    let (queries, own_name) =
        tokio::task::spawn_blocking(move || anyhow::Ok((set.queries(&split)?, set.collection_name()?))).await??;
    let name = args.collection.clone().unwrap_or(own_name);
    let existed = retriever.collection(&name).await?.is_some();

    let outcome = measured(&retriever, &host, &name, &args, &queries).await;
    if !(args.keep || existed || args.collection.is_some()) {
        // What was measured counts even if tidying up fails, so that comes second.
        let tidied = retriever.delete(&name).await;
        if outcome.is_ok() {
            tidied.context("the collection cannot be removed")?;
        }
    }
    let (collection, rows) = outcome?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        output::json(&document(&collection, &rows, queries.len(), seconds))
    } else {
        show(&rows, queries.len())
    }
}

async fn measured(
    retriever: &Retriever,
    host: &ModelHost,
    name: &str,
    args: &RetrievalArgs,
    queries: &[Query],
) -> anyhow::Result<(Collection, Vec<Row>)> {
    let collection = fill(retriever, name, Set::at(&args.folder).corpus()).await?;
    let embedder = collection.embedder.clone().context("the collection names no embedder")?;
    let texts: Vec<String> = queries.iter().map(|query| query.text.clone()).collect();
    let vectors = vectors::embed(host, &embedder, &texts).await?;
    if vectors.len() != queries.len() {
        bail!("the model host made {} vectors of {} queries", vectors.len(), queries.len());
    }
    Ok((collection, rows(retriever, name, queries, &vectors).await?))
}

/// Brings the documents of the set into the collection; those that are there already cost little.
async fn fill(retriever: &Retriever, name: &str, corpus: PathBuf) -> anyhow::Result<Collection> {
    let files = tokio::task::spawn_blocking(move || discover(&[corpus])).await??.found;
    let request = CreateCollectionRequest { name: name.to_owned(), if_absent: true, ..Default::default() };
    retriever.create(request).await?;
    let bar = bar("ingesting", files.iter().map(|file| file.bytes).sum());
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || source::read_all(&files, &sender));
    let tally = upload(retriever, name, receiver, &|bytes| bar.inc(bytes)).await?;
    reading.await?;
    bar.finish_and_clear();
    if let Some(first) = tally.skipped.first() {
        eprintln!("{} documents of the set were skipped; {}: {}", tally.skipped.len(), first.path, first.reason);
    }
    retriever.collection(name).await?.context("the collection is gone")
}

async fn rows(
    retriever: &Retriever,
    name: &str,
    queries: &[Query],
    vectors: &[QueryVector],
) -> anyhow::Result<Vec<Row>> {
    let ways = Way::all();
    let bar = bar("searching", (ways.len() * queries.len()) as u64);
    let mut reached: Vec<(String, Scores)> = Vec::with_capacity(ways.len());
    for way in ways {
        let scores = measure(retriever, name, &way, queries, vectors, &|| bar.inc(1)).await?;
        reached.push((way.name, scores));
    }
    bar.finish_and_clear();
    let default = reached.iter().find(|(name, _)| name == HYBRID).map(|(_, scores)| scores.clone()).unwrap_or_default();
    Ok(reached.into_iter().map(|(name, scores)| Row::new(name, &scores, &default)).collect())
}

fn bar(words: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40.cyan/dim} {percent}% · {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(words)
}

fn document(collection: &Collection, rows: &[Row], queries: usize, seconds: f64) -> Value {
    let mut document: Map<String, Value> = rows.iter().map(|row| (row.name.clone(), json!(row))).collect();
    document.insert("queries".to_owned(), json!(queries));
    document.insert("documents".to_owned(), json!(collection.documents));
    document.insert("chunks".to_owned(), json!(collection.chunks));
    document.insert("collection".to_owned(), json!(collection.name));
    document.insert("seconds".to_owned(), json!(seconds));
    Value::Object(document)
}

fn show(rows: &[Row], queries: usize) -> anyhow::Result<()> {
    let lines = rows.iter().map(|row| {
        let figure = |value: f64| format!("{value:.4}");
        let figures = &row.figures;
        let interval = row.ndcg_10_interval.map(|[low, high]| format!("{low:.3} to {high:.3}")).unwrap_or_default();
        let beyond = row.beyond_hybrid;
        let beyond = beyond.map(|it| format!("{:+.4} ({:+.3} to {:+.3})", it.difference, it.low, it.high));
        [
            row.name.clone(),
            figure(figures.ndcg_10),
            interval,
            beyond.unwrap_or_default(),
            figure(figures.recall_10),
            figure(figures.recall_100),
            figure(figures.mrr_10),
        ]
    });
    let titles = ["way", "nDCG@10", "95 % interval", "beyond hybrid", "recall@10", "recall@100", "MRR@10"];
    output::line(table(titles, lines))?;
    Ok(output::line(format!("over {queries} queries; intervals by paired bootstrap"))?)
}
