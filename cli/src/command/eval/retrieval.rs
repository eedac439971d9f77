//! `trivium eval retrieval`: both legs and their fusions on a judged set.

use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use trivium_proto::{model::v1::QueryVector, retriever::v1::Collection};

use super::{bar, set::SetArgs};
use crate::{
    args::{ModelHostBeside, RetrieverEndpoint},
    clients::{ModelHost, Retriever},
    eval::{
        beir::Query,
        retrieval::{HYBRID, Row, Scores, Way, measure},
    },
    output,
    render::table::table,
    vectors,
};

/// Arguments of `trivium eval retrieval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    set: SetArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
    #[command(flatten)]
    model_host: ModelHostBeside,
}

/// Fills a collection, searches it in every way, and shows what each is worth.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let host = ModelHost::connect(&args.model_host.url)?;
    let queries = args.set.queries().await?;
    let work = async |collection: &Collection| {
        let rows = measured(&retriever, &host, collection, &queries).await?;
        anyhow::Ok((collection.clone(), rows))
    };
    let (collection, rows) = args.set.with_collection(&retriever, work).await?;
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
    collection: &Collection,
    queries: &[Query],
) -> anyhow::Result<Vec<Row>> {
    let vectors = query_vectors(host, collection, queries).await?;
    rows(retriever, collection, queries, &vectors).await
}

/// The vector of each query by the collection's encoder.
///
/// # Errors
/// When the model host cannot make them.
pub async fn query_vectors(
    host: &ModelHost,
    collection: &Collection,
    queries: &[Query],
) -> anyhow::Result<Vec<QueryVector>> {
    let embedder = collection.embedder.clone().context("the collection names no embedder")?;
    let texts: Vec<String> = queries.iter().map(|query| query.text.clone()).collect();
    let vectors = vectors::embed(host, &embedder, collection.token_projection.as_ref(), &texts).await?;
    if vectors.len() != queries.len() {
        bail!("the model host made {} vectors of {} queries", vectors.len(), queries.len());
    }
    Ok(vectors)
}

async fn rows(
    retriever: &Retriever,
    collection: &Collection,
    queries: &[Query],
    vectors: &[QueryVector],
) -> anyhow::Result<Vec<Row>> {
    let ways = Way::all(collection.token_projection.is_some());
    let bar = bar("searching", (ways.len() * queries.len()) as u64);
    let mut reached: Vec<(String, Scores)> = Vec::with_capacity(ways.len());
    for way in ways {
        let scores = measure(retriever, &collection.name, &way, queries, vectors, &|| bar.inc(1)).await?;
        reached.push((way.name, scores));
    }
    bar.finish_and_clear();
    let default = reached.iter().find(|(name, _)| name == HYBRID).map(|(_, scores)| scores.clone()).unwrap_or_default();
    Ok(reached.into_iter().map(|(name, scores)| Row::new(name, &scores, &default)).collect())
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
