//! `trivium intents`: training the intent model on labelled queries, and judging it.

mod add;
mod eval;
mod finetune;

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use trivium_model_host::{
    bundle::{ModelId, ModelRef, Registry},
    encoder::Encoder,
    intent::{FitOptions, FitProgress, Report, Splits, fit, read_examples},
};

use crate::{args::ModelsDir, output, render::table::table};

/// What to do with intent models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fit a model on labelled queries, and let it serve from the next start on
    Fit(FitArgs),
    /// Train the encoder together with a head on labelled queries
    Finetune(Box<finetune::Args>),
    /// Judge a model on labelled queries
    Eval(eval::Args),
    /// Add an intent from a few examples, without training
    Add(add::Args),
}

/// Arguments of `trivium intents fit`. Files are JSON lines of {"text","label"}, or CSV with that header.
#[derive(Debug, clap::Args)]
pub struct FitArgs {
    /// Queries to fit on
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Queries to calibrate on [default: a fifth of the training queries]
    #[arg(long, value_name = "FILE")]
    valid: Option<PathBuf>,
    /// Queries to report on [default: those to calibrate on]
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Name of the model
    #[arg(long, default_value = "intents")]
    name: String,
    /// Encoder whose vectors it reads
    #[arg(long, value_name = "NAME", default_value = "minilm")]
    encoder: String,
    /// Do nothing if a model of that name serves already
    #[arg(long)]
    if_absent: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: ModelsDir,
}

/// Runs one of them, off the threads that serve input and output: both compute for seconds.
pub async fn run(command: Command) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || match command {
        Command::Fit(args) => run_fit(&args),
        Command::Finetune(args) => finetune::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Add(args) => add::run(&args),
    })
    .await?
}

#[derive(Serialize)]
struct FitView<'a> {
    name: &'a str,
    version: &'a str,
    temperature: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    l2: Option<f32>,
    #[serde(flatten)]
    report: &'a Report,
}

fn run_fit(args: &FitArgs) -> anyhow::Result<()> {
    let registry = args.models.registry();
    let name: ModelId = args.name.parse()?;
    if args.if_absent
        && let Ok(model) = registry.production(&name)
    {
        return Ok(output::line(format!("{model} serves already: {}", registry.models_dir().display()))?);
    }
    let train = read_examples(&args.train)?;
    let valid = args.valid.as_deref().map(read_examples).transpose()?;
    let test = args.test.as_deref().map(read_examples).transpose()?;
    let encoder = load_encoder(&registry, &args.encoder)?;
    let splits = Splits { train: &train, valid: valid.as_deref(), test: test.as_deref() };
    let options = FitOptions::named(name);
    let bar = ProgressBar::new(0).with_style(bar_style());
    let fitted = fit(&registry, &encoder, splits, &options, |progress| draw(&bar, progress))?;
    bar.finish_and_clear();
    if args.json {
        return output::json(&FitView {
            name: fitted.model.name.as_str(),
            version: fitted.model.version.as_str(),
            temperature: fitted.temperature,
            l2: fitted.l2,
            report: &fitted.report,
        });
    }
    output::line(format!("{} is ready: {}", fitted.model, registry.models_dir().display()))?;
    show(&fitted.report)
}

fn load_encoder(registry: &Registry, name: &str) -> anyhow::Result<Encoder> {
    let bundle = registry
        .production(&name.parse()?)
        .and_then(|model| registry.open(&model))
        .with_context(|| format!("the encoder {name:?} is not ready; `trivium models pull {name}` fetches it"))?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Encoder::load(&bundle, threads)?)
}

fn draw(bar: &ProgressBar, progress: FitProgress) {
    let (words, done, total) = match progress {
        FitProgress::Encoding { done, total } => ("encoding", done, total),
        FitProgress::Fitting { done, total } => ("fitting", done, total),
    };
    bar.set_message(words);
    bar.set_length(total as u64);
    bar.set_position(done as u64);
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:>9} {bar:40.cyan/dim} {pos}/{len}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The command that lets a version serve, as it is typed.
fn promote_command(model: &ModelRef) -> String {
    format!("`trivium models promote {} {}`", model.name, model.version)
}

fn show(report: &Report) -> anyhow::Result<()> {
    let rows = report.labels.iter().map(|label| {
        let figures = [label.precision, label.recall, label.f1].map(|figure| format!("{figure:.3}"));
        let [precision, recall, f1] = figures;
        [label.label.clone(), label.examples.to_string(), precision, recall, f1]
    });
    output::line(table(["intent", "queries", "precision", "recall", "F1"], rows))?;
    for confusion in report.confusions.iter().take(5) {
        output::line(format!("  {} taken for {}: {}", confusion.label, confusion.decided, confusion.count))?;
    }
    let mut summary = format!(
        "{} queries: accuracy {:.3}, macro F1 {:.3}, calibration error {:.3}",
        report.examples, report.accuracy, report.macro_f1, report.ece
    );
    if let (Some(recall), Some(rejected)) = (report.oos_recall, report.false_reject) {
        summary.push_str(&format!(", out of scope found {recall:.3}, wrongly rejected {rejected:.3}"));
    }
    Ok(output::line(summary)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_is_named_takes_name_and_version_apart() {
        let model = ModelRef::new("intents", "2").expect("a name and a version");
        assert_eq!(promote_command(&model), "`trivium models promote intents 2`");
    }

    #[test]
    fn an_encoder_that_is_not_there_names_the_command_that_fetches_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = load_encoder(&Registry::new(folder.path()), "minilm").err().expect("absent");
        assert!(error.to_string().contains("trivium models pull minilm"), "{error}");
    }
}
