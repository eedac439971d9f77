//! `trivium eval calibration`: what calibrating the blend to a few queries is worth on the others.

use anyhow::bail;
use serde::Serialize;
use trivium_proto::retriever::v1::Collection;
use trivium_ranking::{
    calibrate::Curve,
    fusion::Weights,
    metrics::{Bootstrap, Interval, mean, paired_bootstrap},
};

use super::{bar, retrieval::query_vectors, set::SetArgs};
use crate::{
    args::{ModelHostBeside, RetrieverEndpoint},
    clients::{ModelHost, Retriever},
    eval::{
        curves::curves,
        draws::{Draw, Mean, draws, means},
        questions::sample,
    },
    output,
    render::table::table,
};

/// Arguments of `trivium eval calibration`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    set: SetArgs,
    /// Queries that are drawn to calibrate with; the others judge
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    draw: u32,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    times: u32,
    /// The seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Use at most this many queries of the set, drawn by the seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    limit: Option<u32>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
    #[command(flatten)]
    model_host: ModelHostBeside,
}

#[derive(Serialize)]
struct Report {
    queries: usize,
    drawn: u32,
    default_weight: f64,
    #[serde(rename = "default_ndcg@10")]
    default: f64,
    #[serde(rename = "calibrated_ndcg@10")]
    calibrated: f64,
    /// Of the difference between the two, over the draws.
    gain: Option<Interval>,
    draws: Vec<Draw>,
    means: Vec<Mean>,
}

/// Searches once for each query, then draws and judges.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let host = ModelHost::connect(&args.model_host.url)?;
    let mut queries = args.set.queries().await?;
    if let Some(limit) = args.limit {
        queries = sample(queries, limit as usize, args.seed);
    }
    if queries.len() <= args.draw as usize {
        bail!("{} queries are too few to draw {} and judge by the rest; --draw less", queries.len(), args.draw);
    }
    let work = async |collection: &Collection| {
        let vectors = query_vectors(&host, collection, &queries).await?;
        let bar = bar("searching", queries.len() as u64);
        let curves = curves(&retriever, &collection.name, &queries, &vectors, &|| bar.inc(1)).await?;
        bar.finish_and_clear();
        Ok(curves)
    };
    let curves = args.set.with_collection(&retriever, work).await?;
    let report = report(&curves, &args);
    if args.json { output::json(&report) } else { show(&report) }
}

fn report(curves: &[Curve], args: &Args) -> Report {
    let [_, default_weight] = Weights::hybrid_default().map(|weight| weight.get());
    let draws = draws(curves, default_weight, args.draw as usize, args.times as usize, args.seed);
    let of = |figure: fn(&Draw) -> f64| draws.iter().map(figure).collect::<Vec<_>>();
    let (default, calibrated) = (of(|draw| draw.default), of(|draw| draw.calibrated));
    Report {
        queries: curves.len(),
        drawn: args.draw,
        default_weight,
        default: mean(&default).unwrap_or_default(),
        calibrated: mean(&calibrated).unwrap_or_default(),
        gain: paired_bootstrap(&default, &calibrated, &Bootstrap::default()).ok(),
        draws,
        means: means(curves),
    }
}

fn show(report: &Report) -> anyhow::Result<()> {
    let rows = (1..).zip(&report.draws).map(|(number, draw)| {
        [
            i32::to_string(&number),
            format!("{:.2}", draw.semantic_weight),
            format!("{:.4}", draw.default),
            format!("{:.4}", draw.calibrated),
            format!("{:+.4}", draw.calibrated - draw.default),
        ]
    });
    let titles = ["draw", "semantic weight", "default nDCG@10", "calibrated nDCG@10", "gain"];
    output::line(table(titles, rows))?;
    let (default, calibrated) = (report.default, report.calibrated);
    let others = report.queries - report.drawn as usize;
    output::line(format!(
        "calibrated with {} queries, judged by {others}: nDCG@10 {calibrated:.4}, default {default:.4} ({:+.4})",
        report.drawn,
        calibrated - default
    ))?;
    let best = report.means.iter().max_by(|left, right| left.ndcg_10.total_cmp(&right.ndcg_10));
    let best = best.map(|best| format!("{:.2} ({:.4})", best.semantic_weight, best.ndcg_10)).unwrap_or_default();
    Ok(output::line(format!("best of all weights on all queries: {best}"))?)
}
