//! `trivium collections calibrate`: how much each leg counts, fitted to labelled queries.

use std::{collections::HashSet, path::PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use trivium_proto::retriever::v1::{Blend, SetBlendRequest};
use trivium_ranking::{
    calibrate::{Calibration, CalibrationOptions, Kept, calibrate, weight},
    fusion::Weights,
};

use crate::{
    args::RetrieverEndpoint,
    clients::Retriever,
    command::eval::bar,
    eval::{beir::Query, curves::curves, draws::Mean, labelled},
    output,
};

/// Documents that are asked for at once.
const IDS: usize = 256;

/// Arguments of `trivium collections calibrate`.
#[derive(Debug, clap::Args)]
#[group(id = "what", required = true, multiple = false, args = ["queries", "set", "reset"])]
pub struct Args {
    /// The collection's name
    name: String,
    /// Labelled queries, one JSON object on each line: {"query": "...", "documents": ["id", ...]}
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Set this weight of the semantic leg, 0 to 1, without labels
    #[arg(long, value_name = "WEIGHT")]
    set: Option<f64>,
    /// Go back to the default
    #[arg(long)]
    reset: bool,
    /// Say what would be set, and change nothing
    #[arg(long, conflicts_with_all = ["set", "reset"])]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

#[derive(Serialize)]
struct Report {
    collection: String,
    queries: usize,
    /// Labelled queries none of whose documents the collection holds.
    left_out: usize,
    default_weight: f64,
    semantic_weight: f64,
    /// Why the default was kept; null when it was not.
    kept: Option<&'static str>,
    gain: Option<GainView>,
    means: Vec<Mean>,
    /// Whether the collection was changed.
    applied: bool,
}

#[derive(Serialize)]
struct GainView {
    #[serde(rename = "ndcg@10")]
    mean: f64,
    standard_error: f64,
}

/// Fits or sets the weight.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    match &args.queries {
        Some(file) => fitted(&retriever, file.clone(), &args).await,
        None => {
            let request = SetBlendRequest { name: args.name.clone(), semantic_weight: args.set, queries: 0 };
            said(&args, &retriever.set_blend(request).await?)
        }
    }
}

fn said(args: &Args, blend: &Blend) -> anyhow::Result<()> {
    if args.json {
        return output::json(&serde_json::json!({
            "collection": args.name,
            "semantic_weight": blend.semantic_weight,
            "own": blend.own,
        }));
    }
    let whose = if blend.own { "its own" } else { "the default" };
    Ok(output::line(format!("{} weighs its semantic leg {:.2} now, {whose}", args.name, blend.semantic_weight))?)
}

async fn fitted(retriever: &Retriever, file: PathBuf, args: &Args) -> anyhow::Result<()> {
    let labelled = tokio::task::spawn_blocking(move || labelled::queries(&file)).await??;
    let count = labelled.len();
    let queries = answerable(retriever, &args.name, labelled).await?;
    if queries.is_empty() {
        bail!("the collection {:?} holds no document that the {count} labelled queries name", args.name);
    }
    let bar = bar("searching", queries.len() as u64);
    let curves = curves(retriever, &args.name, &queries, &[], &|| bar.inc(1)).await?;
    bar.finish_and_clear();
    let [_, default] = Weights::hybrid_default().map(|weight| weight.get());
    let calibration = calibrate(&curves, default, &CalibrationOptions::default());
    if !args.dry_run {
        let queries = u32::try_from(queries.len()).unwrap_or(u32::MAX);
        retriever.set_blend(request(&args.name, &calibration, queries)).await.context("the weight cannot be set")?;
    }
    let report = report(args, default, calibration, queries.len(), count);
    if args.json { output::json(&report) } else { show(&report) }
}

/// What is sent: the default is no weight of the collection's own, so that a better default reaches it later.
fn request(name: &str, calibration: &Calibration, queries: u32) -> SetBlendRequest {
    let own = calibration.kept.is_none();
    SetBlendRequest {
        name: name.to_owned(),
        semantic_weight: own.then_some(calibration.semantic_weight),
        queries: if own { queries } else { 0 },
    }
}

/// The queries of which the collection holds a document: no weight can be right or wrong about the others.
async fn answerable(retriever: &Retriever, name: &str, labelled: Vec<Query>) -> anyhow::Result<Vec<Query>> {
    let named: HashSet<&String> = labelled.iter().flat_map(|query| query.judgements.relevant()).collect();
    let named: Vec<String> = named.into_iter().cloned().collect();
    let mut missing: HashSet<String> = HashSet::new();
    for ids in named.chunks(IDS) {
        missing.extend(retriever.missing(name, ids.to_vec()).await?);
    }
    let held = |query: &Query| query.judgements.relevant().any(|id| !missing.contains(id));
    Ok(labelled.into_iter().filter(held).collect())
}

fn report(args: &Args, default_weight: f64, calibration: Calibration, queries: usize, labelled: usize) -> Report {
    Report {
        collection: args.name.clone(),
        queries,
        left_out: labelled - queries,
        default_weight,
        semantic_weight: calibration.semantic_weight,
        kept: calibration.kept.map(why),
        gain: calibration.gain.map(|gain| GainView { mean: gain.mean, standard_error: gain.standard_error }),
        means: calibration
            .means
            .into_iter()
            .enumerate()
            .map(|(place, ndcg_10)| Mean { semantic_weight: weight(place), ndcg_10 })
            .collect(),
        applied: !args.dry_run,
    }
}

fn why(kept: Kept) -> &'static str {
    match kept {
        Kept::TooFewQueries => "there are fewer than 20 labelled queries",
        Kept::NoBetterWeight => "no weight is better by more than the error of the comparison",
        Kept::WithinNoise => "the gain on queries that a weight was not fitted to is within noise",
    }
}

fn show(report: &Report) -> anyhow::Result<()> {
    if report.left_out > 0 {
        output::line(format!(
            "{} queries name no document of {}, and were left out",
            report.left_out, report.collection
        ))?;
    }
    for mean in report.means.iter().step_by(2) {
        let mark = if (mean.semantic_weight - report.semantic_weight).abs() < 0.03 { "  <" } else { "" };
        output::line(format!("  semantic {:.1}  nDCG@10 {:.4}{mark}", mean.semantic_weight, mean.ndcg_10))?;
    }
    if let Some(gain) = &report.gain {
        let (mean, error) = (gain.mean, gain.standard_error);
        output::line(format!(
            "cross-validated over {} queries: {mean:+.4}, standard error {error:.4}",
            report.queries
        ))?;
    }
    let (name, own, default) = (&report.collection, report.semantic_weight, report.default_weight);
    let verb = if report.applied { "weighs" } else { "would weigh" };
    Ok(output::line(match report.kept {
        None => format!("{name} {verb} its semantic leg {own:.2} from now on; the default is {default:.2}"),
        Some(why) => format!("{name} keeps the default of {default:.2}: {why}"),
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(semantic_weight: f64, kept: Option<Kept>) -> Calibration {
        Calibration { semantic_weight, kept, gain: None, means: Vec::new() }
    }

    #[test]
    fn a_default_that_is_kept_is_no_weight_of_the_collections_own() {
        let own = request("docs", &calibration(0.9, None), 50);
        assert_eq!((own.semantic_weight, own.queries), (Some(0.9), 50));
        let kept = request("docs", &calibration(0.7, Some(Kept::WithinNoise)), 50);
        assert_eq!((kept.semantic_weight, kept.queries), (None, 0));
    }
}
