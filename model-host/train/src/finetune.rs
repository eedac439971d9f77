//! From labelled queries to a bundle.

mod frozen;
mod whole;

use std::time::Duration;

use trivium_model_host::bundle::{BundleError, ModelId, Registry};
use trivium_model_host::encoder::{Encoder, EncoderError};
use trivium_model_host::intent::{FitError, FitProgress, Fitted, HeadError, ScopeBy, Splits};
use trivium_model_host::onnx::ReadError;
use trivium_model_host::tokenize::TokenizeError;

use crate::checkpoint::CheckpointError;
use crate::checks::{Findings, Looked, look_through};
use crate::data::{Data, DataError};
use crate::run::{EpochResult, RunError, RunEvent};
use crate::settings::{InvalidSetting, Settings};

/// What to train.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the bundle; its version is the next number.
    pub name: ModelId,
    /// The encoder to start from: its version in production.
    pub base: ModelId,
    /// The label of queries outside the scope.
    pub out_of_scope_label: String,
    /// How such queries are told. By a score, they are not learned, but evidence for the choice of
    /// the score; by their label, they are learned like any other.
    pub scope_by: ScopeBy,
    /// Whether only a head is fitted, on the encoder's vectors as they are.
    pub head_only: bool,
    /// Whether to go on where an interrupted run with the same data and settings was.
    pub resume: bool,
    /// Whether the new version becomes the one that serves.
    pub promote: bool,
    /// Whether queries are looked for whose label is likely to be wrong; this encodes all
    /// training queries once.
    pub find_suspects: bool,
    /// Threads to compute on; at least 1.
    pub threads: usize,
    /// Steps after which the state is kept, at least 1; it is also kept after each epoch.
    pub checkpoint_steps: usize,
    /// Everything that decides the weights.
    pub settings: Settings,
}

impl Options {
    /// The usual settings.
    pub fn named(name: ModelId, base: ModelId) -> Self {
        Self {
            name,
            base,
            out_of_scope_label: "oos".to_owned(),
            scope_by: ScopeBy::score(),
            head_only: false,
            resume: false,
            promote: true,
            find_suspects: true,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            checkpoint_steps: 100,
            settings: Settings::default(),
        }
    }
}

/// What training is at.
#[derive(Clone, Debug)]
pub enum Event {
    /// The data was looked through.
    Findings(Findings),
    /// Training queries are turned into the base encoder's vectors.
    Encoding {
        /// Queries done.
        done: usize,
        /// Queries in all.
        total: usize,
    },
    /// An interrupted run goes on.
    Resumed {
        /// Epochs that it had done.
        epochs: usize,
        /// Steps that it had made in the next one.
        steps: usize,
    },
    /// A step or an epoch is done.
    Run(RunEvent),
    /// The bundle is put together and judged.
    Assembling(FitProgress),
}

/// A trained model.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The bundle that was written, with its report.
    pub fitted: Fitted,
    /// What was found in the data.
    pub findings: Findings,
    /// What each epoch achieved; none for a head alone.
    pub epochs: Vec<EpochResult>,
    /// The epoch, from 1, whose weights were kept; 0 for a head alone.
    pub chosen_epoch: usize,
}

/// Why no model came of it. Nothing half-made is left behind; the state of an interrupted run is
/// kept for one that resumes it.
#[derive(Debug, thiserror::Error)]
pub enum FinetuneError {
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The data cannot be trained on.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The base encoder's bundle is absent or damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The base encoder cannot run.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The base encoder's weights cannot be read.
    #[error("{model} cannot be fine-tuned: {source}")]
    Base {
        /// The bundle.
        model: String,
        /// The cause.
        source: ReadError,
    },
    /// A query cannot be tokenized.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The base encoder's tokenizer makes numbers that its table has no rows for, or the table is
    /// of another size than the graph says.
    #[error("{0} contradicts itself: its tokenizer and its weights are not of one encoder")]
    Inconsistent(String),
    /// The system gives no more threads.
    #[error("the threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The run broke off.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The state of an interrupted run cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The trained weights cannot be written down.
    #[error("the trained weights cannot be written: {0}")]
    Weights(#[from] safetensors::SafeTensorError),
    /// The head is none.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The bundle cannot be calibrated, judged or written.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// What all steps of training share.
struct Context<'a> {
    registry: &'a Registry,
    options: &'a Options,
    data: &'a Data,
    clock: &'a (dyn Fn() -> Duration + Sync),
}

/// Trains a model on `splits` and writes it as the next version of the bundle `options.name`.
///
/// Without validation data, a part of the training data is held out. The test data is looked at
/// only to report on the finished model, and to say which of its queries are also trained on.
/// `clock` tells the time since some moment; it decides nothing but the seconds that are
/// reported.
///
/// # Errors
/// See [`FinetuneError`].
pub fn finetune(
    registry: &Registry,
    options: &Options,
    splits: Splits<'_>,
    clock: &(dyn Fn() -> Duration + Sync),
    observe: &mut (dyn FnMut(Event) + Send),
) -> Result<Outcome, FinetuneError> {
    options.settings.check()?;
    let outside = options.scope_by.outside(&options.out_of_scope_label);
    let data = Data::new(splits, outside)?;
    let looked = Looked { train: &data.train, valid: &data.valid, test: data.test.as_deref().unwrap_or_default() };
    let findings = look_through(looked, outside);
    let base = registry.open(&registry.production(&options.base)?)?;
    let context = Context { registry, options, data: &data, clock };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build()?;
    let encoder = Encoder::load(&base, options.threads.max(1))?;
    pool.install(|| {
        if options.head_only {
            frozen::train(&context, &encoder, findings, observe)
        } else {
            whole::train(&context, &base, encoder, findings, observe)
        }
    })
}
