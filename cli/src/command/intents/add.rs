//! `trivium intents add`: a new intent from a few examples, without training.

use std::path::PathBuf;

use serde::Serialize;
use trivium_model_host::{
    bundle::{ModelId, ModelRef},
    intent::{AddOptions, Added, add_intent, read_texts},
};

use super::promote_command;
use crate::{args::ModelsDir, output};

/// Arguments of `trivium intents add`. The file has a query a line, or is JSON lines of {"text"} (.jsonl).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the model
    #[arg(long, default_value = "intents")]
    name: String,
    /// The version to add to [default: the one that serves]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The new intent
    #[arg(long)]
    label: String,
    /// 5 to 20 queries of it; up to 200 are taken
    #[arg(long, value_name = "FILE")]
    examples: PathBuf,
    /// Keep the version that serves now
    #[arg(long)]
    no_promote: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: ModelsDir,
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    version: &'a str,
    from_version: &'a str,
    label: &'a str,
    examples: usize,
    left_out_recall: f32,
    taken_over: f32,
    threshold: f32,
    promoted: bool,
}

/// Runs it on this thread.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let texts = read_texts(&args.examples)?;
    let registry = args.models.registry();
    let name: ModelId = args.name.parse()?;
    let model = match &args.version {
        Some(version) => ModelRef { name, version: version.parse()? },
        None => registry.production(&name)?,
    };
    let options = AddOptions {
        label: args.label.clone(),
        promote: !args.no_promote,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let added = add_intent(&registry, &model, &texts, &options)?;
    if args.json {
        return output::json(&view(&added, &options));
    }
    let Added { model, from, few_shot, threshold } = &added;
    let label = &options.label;
    output::line(format!("{model} is {from} with {label:?}, made from {} examples", few_shot.examples))?;
    let (found, taken) = (few_shot.left_out_recall * 100.0, few_shot.taken_over * 100.0);
    output::line(format!(
        "of the examples, each left out in turn, {found:.0} % were found; {taken:.1} % of the kept queries of other \
         intents are taken over; threshold {threshold:.2}"
    ))?;
    if args.no_promote {
        output::line(format!("{from} serves on; {} changes that", promote_command(model)))?;
    }
    Ok(())
}

fn view<'a>(added: &'a Added, options: &'a AddOptions) -> View<'a> {
    View {
        name: added.model.name.as_str(),
        version: added.model.version.as_str(),
        from_version: added.from.version.as_str(),
        label: &options.label,
        examples: added.few_shot.examples,
        left_out_recall: added.few_shot.left_out_recall,
        taken_over: added.few_shot.taken_over,
        threshold: added.threshold,
        promoted: options.promote,
    }
}
