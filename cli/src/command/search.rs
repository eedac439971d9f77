//! `trivium search`: passages, without an answer.

use clap::ValueEnum;
use serde::Serialize;
use trivium_proto::retriever::v1::{Leg, RerankReport, SearchRequest, SearchResponse};

use crate::{
    args::{RerankArgs, RetrieverEndpoint, as_of, rerank_name},
    clients::Retriever,
    output,
    render::{hits, milliseconds, single_line, style::Style},
    view::{Hit, SnapshotView},
};

/// Arguments of `trivium search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to look for
    query: String,
    /// The collection
    #[arg(long, value_name = "NAME", default_value = "docs")]
    collection: String,
    /// The legs to use
    #[arg(long, value_name = "LEG", value_delimiter = ',', default_value = "lexical,semantic")]
    legs: Vec<LegArg>,
    /// How many passages, 1 to 1000
    #[arg(short = 'k', value_name = "N", default_value_t = 10)]
    k: u32,
    #[command(flatten)]
    rerank: RerankArgs,
    /// Each document once, by its best passage
    #[arg(long)]
    group_by_document: bool,
    /// A condition on metadata, for instance 'lang = "en" AND tags HAS "billing"'
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// An earlier state: a version, a time (RFC 3339) or a tag
    #[arg(long, value_name = "V")]
    as_of: Option<String>,
    /// The least version to answer from, waited for if it is not published yet
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_version: u64,
    /// Say what each term of the query gave to the lexical scores
    #[arg(long)]
    explain: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// A leg, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LegArg {
    /// By words
    Lexical,
    /// By meaning
    Semantic,
}

impl From<LegArg> for Leg {
    fn from(leg: LegArg) -> Self {
        match leg {
            LegArg::Lexical => Self::Lexical,
            LegArg::Semantic => Self::Semantic,
        }
    }
}

#[derive(Serialize)]
struct SearchView {
    hits: Vec<Hit>,
    snapshot: SnapshotView,
    legs: Vec<LegReportView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank: Option<RerankView>,
    elapsed_ms: f64,
}

#[derive(Serialize)]
struct RerankView {
    method: &'static str,
    candidates: u32,
    scored: u32,
    weight: f64,
    elapsed_ms: f64,
    /// Why the fused order stands; absent where the second stage took effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

#[derive(Serialize)]
struct LegReportView {
    leg: &'static str,
    candidates: u32,
    elapsed_ms: f64,
    /// Why the other leg answers without it: a reason of the error catalogue; empty when it does not.
    missing: String,
    /// The same in words.
    detail: String,
}

/// Searches, and lists what was found.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let view = view(retriever.search(request(&args)).await?);
    if args.json { output::json(&view) } else { show(&view) }
}

fn request(args: &Args) -> SearchRequest {
    let mut legs: Vec<i32> = Vec::new();
    for leg in args.legs.iter().map(|leg| Leg::from(*leg).into()) {
        if !legs.contains(&leg) {
            legs.push(leg);
        }
    }
    SearchRequest {
        collection: args.collection.clone(),
        query: args.query.clone(),
        legs,
        k: Some(args.k),
        rerank: args.rerank.wish(),
        group_by_document: args.group_by_document,
        filter: args.filter.clone(),
        as_of: args.as_of.as_deref().map(as_of),
        min_version: args.min_version,
        explain: args.explain,
        allow_partial: true,
        ..SearchRequest::default()
    }
}

fn view(response: SearchResponse) -> SearchView {
    let legs = response.legs.into_iter().map(|report| LegReportView {
        leg: leg_name(report.leg()),
        candidates: report.candidates,
        elapsed_ms: report.elapsed_ms,
        missing: report.reason,
        detail: report.detail,
    });
    SearchView {
        rerank: response.rerank.as_ref().map(rerank_view),
        legs: legs.collect(),
        hits: response.hits.into_iter().map(Hit::from).collect(),
        snapshot: response.snapshot.unwrap_or_default().into(),
        elapsed_ms: response.elapsed_ms,
    }
}

fn rerank_view(report: &RerankReport) -> RerankView {
    let left_out = format!("{}: {}", report.left_out_reason, report.left_out_detail);
    RerankView {
        method: rerank_name(report.method()),
        candidates: report.candidates,
        scored: report.scored,
        weight: report.weight,
        elapsed_ms: report.elapsed_ms,
        left_out: Some(left_out).filter(|_| !report.left_out_reason.is_empty()),
    }
}

fn leg_name(leg: Leg) -> &'static str {
    match leg {
        Leg::Unspecified => "",
        Leg::Lexical => "lexical",
        Leg::Semantic => "semantic",
    }
}

fn show(view: &SearchView) -> anyhow::Result<()> {
    let (style, columns) = (Style::of_stdout(), output::columns());
    for (number, hit) in (1..).zip(&view.hits) {
        output::line(hits::hit(style, number, hit, columns))?;
        // The matches of tokens come with an explanation alone, and so do the parts.
        let parts = hit.rerank.as_ref().filter(|_| !hit.tokens.is_empty());
        let parts = parts.map(hits::second_stage).unwrap_or_default();
        let explained = format!("{}{}{parts}", hits::terms(&hit.terms), hits::tokens(&hit.tokens));
        if !explained.is_empty() {
            output::line(style.faint(&explained))?;
        }
    }
    if view.hits.is_empty() {
        output::line("  Nothing was found.\n")?;
    }
    for leg in view.legs.iter().filter(|leg| !leg.missing.is_empty()) {
        let words = format!("! the {} leg is missing ({}): {}", leg.leg, leg.missing, leg.detail);
        output::line(format!("  {}", style.warning(&single_line(&words))))?;
    }
    let legs = view.legs.iter().map(|leg| format!("{} {}", leg.leg, milliseconds(leg.elapsed_ms)));
    let rerank = view.rerank.iter().map(|rerank| match &rerank.left_out {
        None => format!("{} {}", rerank.method, milliseconds(rerank.elapsed_ms)),
        Some(why) => format!("without {}: {why}", rerank.method),
    });
    let legs = legs.chain(rerank).collect::<Vec<_>>().join(", ");
    let state = format!("{} at version {}", view.snapshot.collection, view.snapshot.version);
    Ok(output::line(style.faint(&format!("  {state} · {} ({legs})", milliseconds(view.elapsed_ms))))?)
}
