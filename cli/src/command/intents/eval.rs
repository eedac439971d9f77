//! `trivium intents eval`: how good a model is on labelled queries, and how fast.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use serde::Serialize;
use trivium_model_host::{
    bundle::{ModelId, ModelRef, PrecisionChoice, Registry},
    encoder::Encoder,
    intent::{IntentModel, Judgement, KindReport, ReliabilityBin, Report, Sorted, judge_bundle, read_sorted},
};

use super::show;
use crate::{args::ModelsDir, bench::latency::Latencies, output};

/// Queries that are timed one by one.
const TIMED: usize = 200;
/// Queries that are run before the first one is timed.
const WARM_UP: usize = 20;

/// Arguments of `trivium intents eval`. The file is JSON lines of {"text","label"} or CSV with that header; a third
/// field, "kind", sorts the queries outside the scope, for instance into "near" and "far".
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the model
    #[arg(long, default_value = "intents")]
    name: String,
    /// Its version [default: the one that serves]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Queries to judge it on
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    /// The numbers that its encoder computes in [default: what its manifest recommends]
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: ModelsDir,
}

/// The numbers that an encoder computes in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PrecisionArg {
    /// 32-bit floats
    Fp32,
    /// Eight-bit weights
    Int8,
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    version: &'a str,
    precision: &'a str,
    latency_ms: Milliseconds,
    #[serde(flatten)]
    report: &'a Report,
    reliability: &'a [ReliabilityBin],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    oos_by_kind: &'a BTreeMap<String, KindReport>,
}

#[derive(Serialize)]
struct Milliseconds {
    p50: f64,
    p99: f64,
}

/// Runs it on this thread.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let queries = read_sorted(&args.test)?;
    let registry = args.models.registry();
    let name: ModelId = args.name.parse()?;
    let model = match &args.version {
        Some(version) => ModelRef { name, version: version.parse()? },
        None => registry.production(&name)?,
    };
    let choice = match args.precision {
        None => PrecisionChoice::Auto,
        Some(PrecisionArg::Fp32) => PrecisionChoice::Fp32,
        Some(PrecisionArg::Int8) => PrecisionChoice::Int8,
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let judgement = judge_bundle(&registry, &model, &queries, choice, threads)?;
    let latencies = latencies(&registry, &model, choice, &queries)?;
    let latency_ms = Milliseconds { p50: latencies.percentile_ms(0.5), p99: latencies.percentile_ms(0.99) };
    if args.json {
        return output::json(&View {
            name: model.name.as_str(),
            version: model.version.as_str(),
            precision: judgement.precision.name(),
            latency_ms,
            report: &judgement.report,
            reliability: &judgement.reliability,
            oos_by_kind: &judgement.out_of_scope,
        });
    }
    show(&judgement.report)?;
    show_kinds(&judgement)?;
    let Milliseconds { p50, p99 } = latency_ms;
    let precision = judgement.precision.name();
    Ok(output::line(format!("{model}, {precision}, one query on one thread: p50 {p50:.2} ms, p99 {p99:.2} ms"))?)
}

fn show_kinds(judgement: &Judgement) -> anyhow::Result<()> {
    for (kind, report) in &judgement.out_of_scope {
        output::line(format!("  {kind}: {} queries out of scope, found {:.3}", report.examples, report.oos_recall))?;
    }
    Ok(())
}

/// Times single queries on one thread, as the service meets them.
fn latencies(
    registry: &Registry,
    model: &ModelRef,
    choice: PrecisionChoice,
    queries: &[Sorted],
) -> anyhow::Result<Latencies> {
    let intent = IntentModel::load(&registry.open(model)?)?;
    let encoder = Encoder::load_with(&registry.open(intent.encoder())?, choice, 1)?;
    let mut latencies = Latencies::default();
    let warm_up = queries.iter().take(WARM_UP).map(|query| (query, false));
    let timed = queries.iter().take(TIMED).map(|query| (query, true));
    for (query, counts) in warm_up.chain(timed) {
        let started = Instant::now();
        for vector in encoder.embed_all(&[query.example.text.as_str()], |_| ())? {
            std::hint::black_box(intent.decide(&vector));
        }
        if counts {
            latencies.push(started.elapsed());
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let args = Args {
            name: "intents".into(),
            version: None,
            test: "/nowhere.jsonl".into(),
            precision: None,
            json: true,
            models: ModelsDir { models_dir: None },
        };
        let error = run(&args).expect_err("absent");
        assert!(error.to_string().contains("/nowhere.jsonl"), "{error}");
    }
}
