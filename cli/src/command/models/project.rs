//! Fitting a projection, which makes an encoder's token vectors short enough to keep.

use std::path::PathBuf;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use trivium_model_host::{
    bundle::{ModelId, ModelRef, Registry},
    encoder::Encoder,
    intent::read_texts,
    projection::{DEFAULT_DIMENSION, FitOptions, fit, projection_name},
};

use crate::{args::ModelsDir, output};

/// Arguments of `trivium models project`.
#[derive(Debug, clap::Args)]
pub struct ProjectArgs {
    /// The encoder; the version that serves is taken
    #[arg(default_value = "minilm")]
    encoder: ModelId,
    /// Numbers of one token's vector, each a byte [default: 64]
    #[arg(long, value_name = "N")]
    dimension: Option<usize>,
    /// Fit it on these texts: one a line, or JSON lines of {"text"} (.jsonl) [default: drawn from the encoder's vocabulary]
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    #[command(flatten)]
    models: ModelsDir,
}

/// Fits the next version. Blocks meanwhile.
pub fn run(args: &ProjectArgs) -> anyhow::Result<()> {
    let registry = args.models.registry();
    let texts = args.texts.as_deref().map(read_texts).transpose()?;
    let origin = args.texts.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let texts = texts.as_deref().map(|texts| (texts, origin.as_str()));
    let model = fitted(&registry, &args.encoder, args.dimension, texts)?;
    output::line(format!("{model} is ready: {}", registry.models_dir().display()))?;
    let serving = registry.production(&model.name)?;
    if serving != model {
        output::line(format!(
            "{serving} goes on serving; `trivium models promote {} {}` changes that",
            model.name, model.version
        ))?;
    }
    Ok(output::line("collections that are made while it serves keep token vectors")?)
}

/// Fits a projection to an encoder that has none yet; does nothing where one serves.
pub(super) fn ensure(registry: &Registry, encoder: &ModelId) -> anyhow::Result<()> {
    if registry.production(&projection_name(encoder)?).is_err() {
        fitted(registry, encoder, None, None)?;
    }
    Ok(())
}

fn fitted(
    registry: &Registry,
    name: &ModelId,
    dimension: Option<usize>,
    texts: Option<(&[String], &str)>,
) -> anyhow::Result<ModelRef> {
    let bundle = registry
        .production(name)
        .and_then(|model| registry.open(&model))
        .with_context(|| format!("the encoder {name} is not ready; `trivium models list` shows what there is"))?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let encoder = Encoder::load(&bundle, threads)?;
    let dimension = dimension.unwrap_or_else(|| DEFAULT_DIMENSION.min(encoder.spec().dimension));
    let spinner = spinner();
    let outcome = fit(registry, &encoder, &FitOptions { dimension, texts }, |done| spinner.set_position(done as u64));
    spinner.finish_and_clear();
    outcome.with_context(|| format!("no projection of {name} can be fitted"))
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.cyan} fitting the projection of token vectors · {pos} texts")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}
