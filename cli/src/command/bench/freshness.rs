//! `trivium bench freshness`: how soon a write shows, and what writing does to searches.

use std::{sync::Arc, time::Duration};

use indicatif::ProgressBar;
use trivium_proto::retriever::v1::CreateCollectionRequest;

use crate::{
    args::RetrieverEndpoint,
    bench::{
        freshness::{Load, Row, Scratch},
        generate::Generator,
    },
    clients::Retriever,
    output,
    render::table::table,
};

/// Arguments of `trivium bench freshness`.
#[derive(Debug, clap::Args)]
pub struct FreshnessArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Chunks in the collection before the measurement; they are generated, and the collection is removed at the end
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    chunks: u64,
    /// Documents written each second, each by a request of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    writes: u32,
    /// Searches each second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    searches: u32,
    /// Seconds that each part lasts
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// Fills a collection, measures, and removes it.
pub async fn run(args: FreshnessArgs) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let name = format!("bench-{}", std::process::id());
    let collection =
        retriever.create(CreateCollectionRequest { name: name.clone(), ..CreateCollectionRequest::default() }).await?;
    let scratch = Scratch {
        retriever: retriever.clone(),
        collection: name.clone(),
        generator: Generator::of(&collection),
        documents: Arc::default(),
    };
    let measured = measure(&scratch, &args).await;
    // What was measured counts even if tidying up fails, so that comes second.
    let tidied = retriever.delete(&name).await;
    let rows = measured?;
    tidied?;
    if args.json { output::json(&rows) } else { show(&rows) }
}

async fn measure(scratch: &Scratch, args: &FreshnessArgs) -> anyhow::Result<Vec<Row>> {
    let bar = ProgressBar::new(args.chunks).with_style(super::bar_style()).with_message("filling the collection");
    scratch.fill(args.chunks, |documents| bar.inc(documents)).await?;
    bar.finish_and_clear();
    let load = Load {
        writes_per_second: args.writes.into(),
        searches_per_second: args.searches.into(),
        lasting: Duration::from_secs(args.seconds.into()),
    };
    Ok(scratch.measure(load).await?)
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    let lines = rows.iter().map(|row| {
        let figure = |ms: f64| format!("{ms:.2}");
        [
            row.name.to_owned(),
            format!("{:.0}", row.per_second),
            figure(row.p50_ms),
            figure(row.p95_ms),
            figure(row.p99_ms),
            figure(row.max_ms),
            row.calls.to_string(),
        ]
    });
    Ok(output::line(table(["what", "per second", "p50 ms", "p95 ms", "p99 ms", "max ms", "calls"], lines))?)
}
