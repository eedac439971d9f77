//! Bundles of models that somebody else exported.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use trivium_model_host::{
    bundle::{ModelId, Pooling, Prefixes},
    import::{Import, ImportKind, import},
};

use crate::{args::ModelsDir, output};

/// Arguments of `trivium models add`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Name of the bundle
    name: ModelId,
    /// The ONNX graph
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
    /// The tokenizer, as tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// How the states of the tokens become one vector
    #[arg(long, value_enum, default_value = "mean", conflicts_with = "cross_encoder")]
    pooling: PoolingName,
    /// What the encoder wants before a query, for instance "query: "
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "cross_encoder")]
    query_prefix: String,
    /// What the encoder wants before a passage, for instance "passage: "
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "cross_encoder")]
    passage_prefix: String,
    /// The graph reads a query and a document together, and gives one logit
    #[arg(long)]
    cross_encoder: bool,
    /// The longest input, in tokens; longer texts are cut
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(5..=65_536))]
    max_tokens: u32,
    #[command(flatten)]
    models: ModelsDir,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PoolingName {
    /// The mean over all tokens
    Mean,
    /// The first token
    Cls,
    /// The largest value over all tokens
    Max,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::Mean => Self::Mean,
            PoolingName::Cls => Self::Cls,
            PoolingName::Max => Self::Max,
        }
    }
}

/// Tries a model out, and writes its bundle. Blocks meanwhile.
pub fn run(args: &AddArgs) -> anyhow::Result<()> {
    let kind = match args.cross_encoder {
        true => ImportKind::CrossEncoder,
        false => ImportKind::Encoder {
            pooling: args.pooling.into(),
            prefixes: Prefixes { query: args.query_prefix.clone(), passage: args.passage_prefix.clone() },
        },
    };
    let (graph, tokenizer) = (read(&args.onnx)?, read(&args.tokenizer)?);
    let origin = format!("added from {}", args.onnx.display());
    let max_tokens = args.max_tokens as usize;
    let name = args.name.clone();
    let registry = args.models.registry();
    let model = import(&registry, Import { name, graph: &graph, tokenizer: &tokenizer, kind, max_tokens, origin })
        .with_context(|| format!("{} cannot be added", args.name))?;
    Ok(output::line(format!("{model} is ready: {}", registry.models_dir().display()))?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(fs_err::read(path)?)
}
