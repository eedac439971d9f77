//! Fits a projection to an encoder.

use trivium_ranking::random::SplitMix64;

use super::Map;
use super::principal::Moments;
use crate::bundle::{
    BundleError, InvalidModelId, ModelId, ModelRef, ModelSpec, PROJECTION_FILE, ProjectionSpec, Registry,
};
use crate::encoder::{Encoder, EncoderError};
use crate::pooling::normalise;
use crate::tensors::TensorFileError;

/// What the name of an encoder's projections ends with.
pub const PROJECTION_SUFFIX: &str = "-tokens";

/// Length of a token vector unless another is asked for. A passage of 254 tokens then takes 16 kB; on judged sets, 96 and
/// 128 numbers gained less than half a point of nDCG more.
pub const DEFAULT_DIMENSION: usize = 64;

/// Texts that are drawn from the vocabulary, and the tokens of each.
const DRAWN_TEXTS: usize = 400;
const DRAWN_TOKENS: usize = 48;
/// Where the drawing begins: any number would do, and another would make another projection.
const SEED: u64 = 6;

/// How a projection is fitted.
#[derive(Clone, Debug)]
pub struct FitOptions<'a> {
    /// Length of a token vector, 1 to that of a hidden state.
    pub dimension: usize,
    /// Texts of the kind that will be searched, and where they came from. Without any, texts are drawn from the encoder's
    /// own vocabulary, which needs no data and favours no subject.
    pub texts: Option<(&'a [String], &'a str)>,
}

/// Why a projection was not fitted.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The encoder cannot be run.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The file cannot be made.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// A length that no token vector can have.
    #[error("the dimension is {found}; it must be 1 to {largest}")]
    Dimension {
        /// What was asked for.
        found: usize,
        /// Length of a hidden state.
        largest: usize,
    },
    /// Too little text to tell directions by.
    #[error("the texts have {found} tokens; at least {needed} are needed, one for each number of a hidden state")]
    TooFewTokens {
        /// Tokens of all texts.
        found: usize,
        /// Length of a hidden state.
        needed: usize,
    },
}

/// The name of an encoder's projections.
///
/// # Errors
/// When the encoder's name is too long to add to.
pub fn projection_name(encoder: &ModelId) -> Result<ModelId, InvalidModelId> {
    format!("{encoder}{PROJECTION_SUFFIX}").parse()
}

/// Fits a projection to an encoder and writes it as the next version of its bundle, by the states of the tokens of many
/// texts. The first version is in production. The same encoder and texts give the same file on one machine.
///
/// # Errors
/// When there is too little text, the encoder fails, or the bundle cannot be written.
pub fn fit(
    registry: &Registry,
    encoder: &Encoder,
    options: &FitOptions<'_>,
    progress: impl FnMut(usize),
) -> Result<ModelRef, ProjectionError> {
    let input = encoder.spec().dimension;
    let dimension = options.dimension;
    if !(1..=input).contains(&dimension) {
        return Err(ProjectionError::Dimension { found: dimension, largest: input });
    }
    let tokens = match options.texts {
        Some((texts, _)) => encoder.passage_tokens(texts)?,
        None => drawn(encoder),
    };
    let moments = moments(encoder, &tokens, progress)?;
    if moments.count() < input {
        return Err(ProjectionError::TooFewTokens { found: moments.count(), needed: input });
    }
    let mean = moments.mean().into_iter().map(|x| x as f32).collect();
    let map = Map { mean, rows: moments.principal(dimension) };
    let fitted_on = options.texts.map_or("texts drawn from the vocabulary", |(_, origin)| origin).to_owned();
    let spec = ProjectionSpec { base: encoder.model().clone(), input, dimension, fitted_on };
    write(registry, &map, spec)
}

fn moments(encoder: &Encoder, texts: &[Vec<u32>], mut progress: impl FnMut(usize)) -> Result<Moments, ProjectionError> {
    let mut moments = Moments::new(encoder.spec().dimension);
    for (done, text) in texts.iter().enumerate() {
        for mut state in encoder.token_states(text)? {
            normalise(&mut state);
            moments.add(&state);
        }
        progress(done + 1);
    }
    Ok(moments)
}

/// Texts whose tokens are drawn one by one from the vocabulary.
fn drawn(encoder: &Encoder) -> Vec<Vec<u32>> {
    let tokenizer = encoder.tokenizer();
    let words = tokenizer.words();
    let tokens = DRAWN_TOKENS.min(tokenizer.max_tokens() - tokenizer.special_tokens());
    let mut random = SplitMix64::new(SEED);
    let mut text = || {
        let drawn = (0..tokens).filter_map(|_| words.get(random.below(words.len())).copied());
        tokenizer.between_specials(drawn)
    };
    (0..DRAWN_TEXTS).map(|_| text()).collect()
}

fn write(registry: &Registry, map: &Map, spec: ProjectionSpec) -> Result<ModelRef, ProjectionError> {
    let name = projection_name(&spec.base.name).map_err(BundleError::from)?;
    let model = registry.next_version(&name)?;
    let origin = format!("fitted to {} on {}", spec.base, spec.fitted_on);
    let mut writer = registry.create(model, origin)?;
    writer.add(PROJECTION_FILE, &map.to_safetensors()?)?;
    let model = writer.finish(ModelSpec::Projection(spec))?;
    if let Err(BundleError::NoProduction { .. }) = registry.production(&model.name) {
        registry.promote(&model)?;
    }
    Ok(model)
}
