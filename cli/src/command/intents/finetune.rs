//! `trivium intents finetune`: trains the encoder together with a head on labelled queries.

mod findings;
mod progress;

use std::{path::PathBuf, time::Instant};

use anyhow::Context;
use serde::Serialize;
use trivium_model_host::{
    bundle::ModelId,
    intent::{DEFAULT_FALSE_REJECT, Report, ScopeBy, Splits, read_examples},
};
use trivium_train::{EpochResult, Findings, Options, Outcome, Settings, finetune};

use self::progress::Shown;
use super::{promote_command, show};
use crate::{args::ModelsDir, output};

/// Arguments of `trivium intents finetune`. Files are JSON lines of {"text","label"}, or CSV with that header.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Queries to train on
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Queries to choose the best epoch and to calibrate on [default: a fifth of the training queries]
    #[arg(long, value_name = "FILE")]
    valid: Option<PathBuf>,
    /// Queries to report on [default: those to calibrate on]
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Name of the model
    #[arg(long, default_value = "intents")]
    name: String,
    /// Encoder to start from
    #[arg(long, value_name = "NAME", default_value = "minilm")]
    base: String,
    /// Fit a head on the encoder's vectors as they are: seconds instead of minutes
    #[arg(long)]
    head_only: bool,
    /// Go on where an interrupted run with the same data and settings was
    #[arg(long)]
    resume: bool,
    /// Let the new version serve [the default]
    #[arg(long, conflicts_with = "no_promote")]
    promote: bool,
    /// Keep the version that serves now
    #[arg(long)]
    no_promote: bool,
    /// Do nothing if a model of that name serves already
    #[arg(long)]
    if_absent: bool,
    /// Do not look for queries whose label is likely to be wrong
    #[arg(long)]
    no_suspects: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    training: TrainingArgs,
    #[command(flatten)]
    models: ModelsDir,
}

/// How queries outside the scope are told.
#[derive(Debug, clap::Args)]
struct ScopeArgs {
    /// The label of queries outside the scope: they are not learned, but a score is chosen that tells them
    #[arg(long, value_name = "LABEL", default_value = "oos")]
    oos_label: String,
    /// Learn that label like the others, instead of choosing a score
    #[arg(long)]
    learn_oos: bool,
    /// The share of queries in scope that may be taken to be outside it
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_FALSE_REJECT, conflicts_with = "learn_oos")]
    false_reject: f32,
}

/// What decides the weights.
#[derive(Debug, clap::Args)]
struct TrainingArgs {
    /// Passes over the training queries
    #[arg(long, default_value_t = Settings::default().epochs)]
    epochs: usize,
    /// Queries of one step
    #[arg(long, default_value_t = Settings::default().batch)]
    batch: usize,
    /// Highest learning rate of the encoder
    #[arg(long, value_name = "RATE", default_value_t = Settings::default().encoder_rate)]
    encoder_rate: f32,
    /// Highest learning rate of the head
    #[arg(long, value_name = "RATE", default_value_t = Settings::default().head_rate)]
    head_rate: f32,
    /// Share of the steps over which the rates rise
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().warm_up)]
    warm_up: f32,
    /// Weight decay
    #[arg(long, default_value_t = Settings::default().decay)]
    decay: f32,
    /// Longest gradient of a step
    #[arg(long, value_name = "NORM", default_value_t = Settings::default().clip)]
    clip: f32,
    /// Share of the elements that dropout zeroes
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().dropout)]
    dropout: f32,
    /// Part of the target that goes to all labels alike
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().smoothing)]
    smoothing: f32,
    /// Leave the embeddings and the first N layers as they are, for a quicker run
    #[arg(long, value_name = "N", default_value_t = 0)]
    freeze_layers: usize,
    /// Stop after so many epochs without a better result on the validation queries
    #[arg(long, value_name = "EPOCHS", default_value_t = Settings::default().patience)]
    patience: usize,
    /// Decides everything that is random
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// Threads [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
}

impl TrainingArgs {
    fn settings(&self) -> Settings {
        Settings {
            epochs: self.epochs,
            batch: self.batch,
            encoder_rate: self.encoder_rate,
            head_rate: self.head_rate,
            warm_up: self.warm_up,
            decay: self.decay,
            clip: self.clip,
            dropout: self.dropout,
            smoothing: self.smoothing,
            frozen_layers: self.freeze_layers,
            patience: self.patience,
            seed: self.seed,
            ..Settings::default()
        }
    }
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    version: &'a str,
    promoted: bool,
    seconds: f64,
    temperature: f32,
    chosen_epoch: usize,
    epochs: &'a [EpochResult],
    findings: &'a Findings,
    #[serde(flatten)]
    report: &'a Report,
}

/// Runs it on this thread and as many more as it is told.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let registry = args.models.registry();
    let options = options(args)?;
    if args.if_absent
        && let Ok(model) = registry.production(&options.name)
    {
        return Ok(output::line(format!("{model} serves already: {}", registry.models_dir().display()))?);
    }
    registry
        .production(&options.base)
        .with_context(|| format!("the encoder {0:?} is not ready; `trivium models pull {0}` fetches it", args.base))?;
    let train = read_examples(&args.train)?;
    let valid = args.valid.as_deref().map(read_examples).transpose()?;
    let test = args.test.as_deref().map(read_examples).transpose()?;
    let splits = Splits { train: &train, valid: valid.as_deref(), test: test.as_deref() };
    let started = Instant::now();
    let mut shown = Shown::new(!args.json);
    let outcome = finetune(&registry, &options, splits, &|| started.elapsed(), &mut |event| shown.show(event))?;
    shown.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        return output::json(&view(&outcome, &options, seconds));
    }
    let model = &outcome.fitted.model;
    output::line(format!("{model} is ready after {seconds:.0} s: {}", registry.models_dir().display()))?;
    if !options.promote {
        output::line(format!("it does not serve yet; {} changes that", promote_command(model)))?;
    }
    show(&outcome.fitted.report)
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let name: ModelId = args.name.parse()?;
    let mut options = Options::named(name, args.base.parse()?);
    options.out_of_scope_label.clone_from(&args.scope.oos_label);
    options.scope_by = match args.scope.learn_oos {
        true => ScopeBy::Label,
        false => ScopeBy::Score { false_reject: args.scope.false_reject },
    };
    options.head_only = args.head_only;
    options.resume = args.resume;
    options.promote = args.promote || !args.no_promote;
    options.find_suspects = !args.no_suspects;
    options.threads = args.training.threads.unwrap_or(options.threads);
    options.settings = args.training.settings();
    Ok(options)
}

fn view<'a>(outcome: &'a Outcome, options: &Options, seconds: f64) -> View<'a> {
    View {
        name: outcome.fitted.model.name.as_str(),
        version: outcome.fitted.model.version.as_str(),
        promoted: options.promote,
        seconds,
        temperature: outcome.fitted.temperature,
        chosen_epoch: outcome.chosen_epoch,
        epochs: &outcome.epochs,
        findings: &outcome.findings,
        report: &outcome.fitted.report,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(flags: &[&str]) -> Options {
        let line = Line::parse_from(["finetune", "--train", "t.jsonl"].iter().chain(flags));
        options(&line.args).expect("usable flags")
    }

    #[test]
    fn flags_become_settings() {
        let usual = parsed(&[]);
        assert_eq!(usual.settings, Settings::default());
        assert!(usual.promote && usual.find_suspects && !usual.head_only && !usual.resume);
        assert_eq!(usual.scope_by, ScopeBy::Score { false_reject: DEFAULT_FALSE_REJECT });
        let other = parsed(&["--freeze-layers", "3", "--epochs", "2", "--no-promote", "--learn-oos", "--seed", "9"]);
        assert_eq!((other.settings.frozen_layers, other.settings.epochs, other.settings.seed), (3, 2, 9));
        assert_eq!((other.promote, other.scope_by), (false, ScopeBy::Label));
    }
}
