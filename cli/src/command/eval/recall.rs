//! `trivium eval recall`: a search by meaning beside one that compares everything.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::bar;
use crate::{
    args::{ModelHostBeside, RetrieverEndpoint},
    clients::{ModelHost, Retriever},
    command::bench::{read_queries, titles},
    eval::recall::{Asked, Recall, ask},
    output,
    render::table::table,
    vectors,
};

/// Arguments of `trivium eval recall`.
#[derive(Debug, clap::Args)]
pub struct RecallArgs {
    /// The collection
    #[arg(value_name = "NAME")]
    collection: String,
    /// Queries, one on each line [default: titles of the collection's documents]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// How many of the nearest passages to look for
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// Fail when the mean share that is found is smaller, 0 to 1
    #[arg(long, value_name = "SHARE")]
    at_least: Option<f64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
    #[command(flatten)]
    model_host: ModelHostBeside,
}

/// Asks every query both ways, and says how much was found.
pub async fn run(args: RecallArgs) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let host = ModelHost::connect(&args.model_host.url)?;
    let collection = retriever.collection(&args.collection).await?;
    let collection = collection.with_context(|| format!("there is no collection {:?}", args.collection))?;
    let queries = match &args.queries {
        Some(file) => read_queries(file)?,
        None => titles(&retriever, &args.collection).await?,
    };
    let embedder = collection.embedder.context("the collection names no embedder")?;
    let vectors = vectors::embed(&host, &embedder, None, &queries).await?;
    let progress = bar("searching", queries.len() as u64);
    let mut asked: Vec<Asked> = Vec::with_capacity(queries.len());
    for (query, vector) in queries.iter().zip(&vectors) {
        asked.push(ask(&retriever, &args.collection, query, vector, args.k).await?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let recall = Recall::of(args.k, &asked);
    let shown = if args.json { output::json(&recall) } else { show(&recall) };
    shown?;
    match args.at_least {
        Some(needed) if recall.recall < needed => bail!("a recall of {:.4} is less than {needed}", recall.recall),
        _ => Ok(()),
    }
}

fn show(recall: &Recall) -> anyhow::Result<()> {
    let title = format!("recall@{}", recall.k);
    let titles = [title.as_str(), "worst query", "incomplete", "queries", "served p50 ms", "exact p50 ms"];
    let line = [
        format!("{:.4}", recall.recall),
        format!("{:.4}", recall.worst),
        recall.incomplete.to_string(),
        recall.queries.to_string(),
        format!("{:.2}", recall.served_p50_ms),
        format!("{:.2}", recall.exact_p50_ms),
    ];
    Ok(output::line(table(titles, [line]))?)
}
