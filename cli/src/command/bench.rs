//! `trivium bench`: latency and throughput of the running services.

mod compare;
mod freshness;
mod hold;
mod knee;
mod pressure;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use trivium_proto::retriever::v1::SearchRequest;

use crate::{
    args::{ModelHostBeside, RetrieverBeside, RouterEndpoint},
    bench::load::{Call, Row, Target},
    clients::{ModelHost, Retriever, Router},
    output,
    render::table::table,
    vectors,
};

/// Titles that stand in for queries when none are given.
const TITLES: u32 = 200;

/// Arguments of `trivium bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    only: Option<Only>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// One thing to measure by itself.
#[derive(Debug, Subcommand)]
enum Only {
    /// Measure searches whose vectors are made beforehand: the retriever alone
    Search(SearchArgs),
    /// Measure how soon a write shows, and what writing does to searches
    Freshness(freshness::FreshnessArgs),
    /// Offer more and more calls until they take too long, and report how many the services can bear
    Knee(knee::KneeArgs),
    /// Measure several servers in turns, and report what each costs over the first
    Compare(compare::CompareArgs),
    /// Offer calls at a fixed rate, and count what is served, refused and failed
    Hold(hold::HoldArgs),
}

/// What to search, and how often.
#[derive(Debug, clap::Args)]
struct LoadArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The collection to search
    #[arg(long, value_name = "NAME", default_value = "docs")]
    collection: String,
    /// Queries, one on each line [default: titles of the collection's documents]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Clients that call at the same time
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,8,64",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: Vec<u16>,
    /// Calls of each kind that are measured
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Calls of each kind before that, which are not
    #[arg(long, value_name = "N", default_value_t = 50)]
    warm_up: u32,
    #[command(flatten)]
    retriever: RetrieverBeside,
}

impl LoadArgs {
    async fn target(&self, endpoint: &RouterEndpoint) -> anyhow::Result<Target> {
        target(&self.collection, self.queries.as_deref(), &self.retriever.url, endpoint).await
    }
}

/// Arguments of `trivium bench search`.
#[derive(Debug, clap::Args)]
struct SearchArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    model_host: ModelHostBeside,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// Measures every kind of call with every number of clients, or one thing by itself.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.only {
        Some(Only::Freshness(args)) => freshness::run(args).await,
        Some(Only::Knee(args)) => knee::run(args).await,
        Some(Only::Hold(args)) => hold::run(args).await,
        Some(Only::Compare(args)) => compare::run(args).await,
        Some(Only::Search(args)) => {
            let host = ModelHost::connect(&args.model_host.url)?;
            let mut target = args.load.target(&args.endpoint).await?;
            let collection = target.retriever.collection(&target.collection).await?;
            let collection = collection.with_context(|| format!("there is no collection {:?}", target.collection))?;
            let embedder = collection.embedder.context("the collection names no embedder")?;
            let projection = collection.token_projection;
            target.vectors = vectors::embed(&host, &embedder, projection.as_ref(), &target.queries).await?;
            report(&target, &Call::SEARCHES, &args.load).await
        }
        None => report(&args.load.target(&args.endpoint).await?, &Call::ALL, &args.load).await,
    }
}

async fn target(
    collection: &str,
    queries: Option<&Path>,
    retriever_endpoint: &str,
    endpoint: &RouterEndpoint,
) -> anyhow::Result<Target> {
    let retriever = Retriever::connect(retriever_endpoint)?;
    let queries = match queries {
        Some(file) => read_queries(file)?,
        None => titles(&retriever, collection).await?,
    };
    let router = Router::connect(&endpoint.url)?;
    Ok(Target { router, retriever, collection: collection.to_owned(), queries, vectors: Vec::new() })
}

async fn report(target: &Target, calls: &[Call], args: &LoadArgs) -> anyhow::Result<()> {
    let rows = measure(target, calls, args).await?;
    if args.json { output::json(&rows) } else { show(&rows) }
}

async fn measure(target: &Target, calls: &[Call], args: &LoadArgs) -> anyhow::Result<Vec<Row>> {
    let bar = ProgressBar::new((args.clients.len() * calls.len()) as u64).with_style(bar_style());
    let mut rows = Vec::new();
    for clients in args.clients.iter().map(|clients| usize::from(*clients)) {
        for call in calls.iter().copied() {
            bar.set_message(format!("{} from {clients}", call.name()));
            target.measure(call, clients, args.warm_up as usize).await?;
            rows.push(target.measure(call, clients, args.calls as usize).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40.cyan/dim} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The lines of a file that say something.
pub(super) fn read_queries(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs_err::read_to_string(file)?;
    let queries: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if queries.is_empty() {
        bail!("{} holds no queries", file.display());
    }
    Ok(queries)
}

/// Titles of documents, asked for by a query that is near to nothing in particular.
pub(super) async fn titles(retriever: &Retriever, collection: &str) -> anyhow::Result<Vec<String>> {
    let request = SearchRequest {
        collection: collection.to_owned(),
        query: "overview of everything".to_owned(),
        k: Some(TITLES),
        group_by_document: true,
        ..SearchRequest::default()
    };
    let found = retriever.search(request).await.context("the collection's titles cannot be had")?;
    let titles: BTreeSet<String> =
        found.hits.into_iter().map(|hit| hit.title).filter(|title| !title.trim().is_empty()).collect();
    if titles.is_empty() {
        bail!("the collection {collection:?} has no titles to make queries of; give some with --queries");
    }
    Ok(titles.into_iter().collect())
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    let lines = rows.iter().map(|row| {
        let figure = |ms: f64| format!("{ms:.2}");
        [
            row.name.to_owned(),
            row.clients.to_string(),
            figure(row.p50_ms),
            figure(row.p95_ms),
            figure(row.p99_ms),
            format!("{:.0}", row.per_second),
            row.refused.to_string(),
            row.forward_p50_ms.map(figure).unwrap_or_default(),
            row.overhead_p50_ms.map(figure).unwrap_or_default(),
        ]
    });
    let headings = [
        "call",
        "clients",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "per second",
        "refused",
        "forward p50 ms",
        "beyond it p50 ms",
    ];
    output::line(table(headings, lines))?;
    show_hops(rows)
}

/// Where the time of a lone client's calls went.
fn show_hops(rows: &[Row]) -> anyhow::Result<()> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.clients == 1 && !row.hops_p50_ms.is_empty()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let lines = rows.into_iter().map(|row| {
        let hop = |name: &str| row.hops_p50_ms.get(name).map(|ms| format!("{ms:.2}")).unwrap_or_default();
        let [analyze, forward, retrieve, lexical] = ["analyze", "forward", "retrieve", "lexical"].map(hop);
        let [semantic, generate, total] = ["semantic", "generate", "total"].map(hop);
        [row.name.to_owned(), analyze, forward, retrieve, lexical, semantic, generate, total]
    });
    let headings = ["p50 ms by hop", "analyze", "forward", "retrieve", "lexical", "semantic", "generate", "total"];
    Ok(output::line(format!("\n{}", table(headings, lines)))?)
}
