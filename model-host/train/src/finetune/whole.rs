//! Fine-tuning of the whole encoder.

use trivium_model_host::bundle::{Bundle, GRAPH_FILE, TOKENIZER_FILE, sha256_hex};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{AssembleOptions, EpochSummary, Example, FineTuned, Head, TrainingSummary, assemble};
use trivium_model_host::onnx::read_bert;
use trivium_model_host::tokenize::Tokenizer;

use super::frozen::find_suspects;
use super::{Context, Event, FinetuneError, Outcome};
use crate::checkpoint::Checkpoints;
use crate::checks::Findings;
use crate::data::Data;
use crate::network::Network;
use crate::run::{EpochResult, Run, State, Texts, Trained};
use crate::weights::{Base, Vocabulary};

/// The folder inside a model's own that keeps the state of its run. The leading dot keeps it out
/// of every listing of versions.
const STATE_FOLDER: &str = ".finetune";
const STATE_FILE: &str = "state.safetensors";

pub(super) fn train(
    context: &Context<'_>,
    bundle: &Bundle,
    encoder: Encoder,
    mut findings: Findings,
    observe: &mut (dyn FnMut(Event) + Send),
) -> Result<Outcome, FinetuneError> {
    let started = (context.clock)();
    if context.options.find_suspects {
        findings.suspects = find_suspects(context, &encoder, observe)?;
    }
    observe(Event::Findings(findings.clone()));
    // Training keeps weights of its own; two sets would only take up memory.
    drop(encoder);
    let prepared = Prepared::new(context, bundle)?;
    let trained = prepared.run(context, observe)?;
    let head = prepared.head(&trained)?;
    let seconds = ((context.clock)() - started).as_secs_f64();
    let training = summary(context, &trained, &findings, seconds);
    let weights = prepared.base.safetensors(prepared.network.layout(), &prepared.vocabulary, &trained.weights)?;
    let config = prepared.base.config_json();
    let tuned = FineTuned {
        base: bundle.model_ref(),
        weights: &weights,
        config: &config,
        tokenizer: &prepared.tokenizer,
        max_tokens: prepared.max_tokens,
        labels: context.data.labels.clone(),
        head,
        training,
    };
    let progress = |step| observe(Event::Assembling(step));
    let fitted = assemble(context.registry, &assemble_options(context), tuned, context.data.splits(), progress)?;
    prepared.checkpoints.remove()?;
    let Trained { chosen_epoch, epochs, .. } = trained;
    Ok(Outcome { fitted, findings, epochs, chosen_epoch })
}

/// Everything that a run needs, read and put into the trainer's form.
struct Prepared {
    base: Base,
    vocabulary: Vocabulary,
    network: Network,
    /// The weights to start from.
    flat: Vec<f32>,
    train: Texts,
    valid: Texts,
    tokenizer: Vec<u8>,
    max_tokens: usize,
    checkpoints: Checkpoints,
}

impl Prepared {
    fn new(context: &Context<'_>, bundle: &Bundle) -> Result<Self, FinetuneError> {
        let model = bundle.model_ref().to_string();
        let unreadable = |source| FinetuneError::Base { model: model.clone(), source };
        let base = Base::new(read_bert(&bundle.read(GRAPH_FILE)?).map_err(unreadable)?);
        let max_tokens = bundle.encoder()?.max_tokens.min(base.config().max_position_embeddings);
        let tokenizer = bundle.read(TOKENIZER_FILE)?;
        let reader = Tokenizer::from_json(&tokenizer, max_tokens)?;
        let train = tokenize(&reader, context.data, &context.data.train)?;
        let valid = tokenize(&reader, context.data, &context.data.valid)?;
        let fingerprint = fingerprint(context, bundle, &train, &valid);
        let vocabulary = Vocabulary::of(train.tokens.iter().chain(&valid.tokens).map(Vec::as_slice));
        let sizes = base.architecture(&vocabulary, max_tokens, context.data.labels.len());
        let network = Network::new(sizes);
        let inconsistent = || FinetuneError::Inconsistent(model.clone());
        let flat = base.flat(network.layout(), &vocabulary, context.options.settings.seed).ok_or_else(inconsistent)?;
        let train = train.on(&vocabulary).ok_or_else(inconsistent)?;
        let valid = valid.on(&vocabulary).ok_or_else(inconsistent)?;
        let folder = context.registry.models_dir().join(context.options.name.as_str()).join(STATE_FOLDER);
        let checkpoints = Checkpoints::new(folder.join(STATE_FILE), fingerprint);
        Ok(Self { base, vocabulary, network, flat, train, valid, tokenizer, max_tokens, checkpoints })
    }

    fn run(&self, context: &Context<'_>, observe: &mut (dyn FnMut(Event) + Send)) -> Result<Trained, FinetuneError> {
        let resumed = if context.options.resume { self.checkpoints.read(self.flat.len())? } else { None };
        if let Some(state) = &resumed {
            observe(Event::Resumed { epochs: state.progress.epochs.len(), steps: state.progress.step });
        }
        let state = resumed.unwrap_or_else(|| State::new(self.flat.clone()));
        let run = Run {
            network: &self.network,
            settings: &context.options.settings,
            train: &self.train,
            valid: &self.valid,
            checkpoints: Some((&self.checkpoints, context.options.checkpoint_steps.max(1))),
            clock: context.clock,
        };
        Ok(run.finish(state, &mut |event| observe(Event::Run(event)))?)
    }

    fn head(&self, trained: &Trained) -> Result<Head, FinetuneError> {
        let part = |name: &str| {
            let variables = self.network.layout().variables();
            let place = variables.iter().find(|variable| variable.name == name).map(|variable| variable.place.clone());
            place.map_or_else(Vec::new, |place| trained.weights[place].to_vec())
        };
        Ok(Head::new(part("classifier.weight"), part("classifier.bias"))?)
    }
}

/// Queries in scope as the tokenizer numbers them.
fn tokenize(tokenizer: &Tokenizer, data: &Data, examples: &[Example]) -> Result<Texts, FinetuneError> {
    let mut texts = Texts::default();
    for example in examples {
        if let Some(label) = data.label(example) {
            texts.tokens.push(tokenizer.encode(&example.text)?.ids);
            texts.labels.push(label as u32);
        }
    }
    Ok(texts)
}

impl Texts {
    /// With the rows of a vocabulary for the tokenizer's numbers.
    fn on(self, vocabulary: &Vocabulary) -> Option<Self> {
        let tokens = self.tokens.iter().map(|text| vocabulary.rows(text)).collect::<Option<Vec<_>>>()?;
        Some(Self { tokens, labels: self.labels })
    }
}

/// Tells this run from any other: all that its weights depend on.
fn fingerprint(context: &Context<'_>, bundle: &Bundle, train: &Texts, valid: &Texts) -> String {
    let mut told =
        serde_json::to_vec(&(&context.options.settings, &context.data.labels, bundle.manifest())).unwrap_or_default();
    for texts in [train, valid] {
        for (tokens, label) in texts.tokens.iter().zip(&texts.labels) {
            told.extend(label.to_le_bytes());
            told.extend((tokens.len() as u64).to_le_bytes());
            told.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        }
        told.extend(u32::MAX.to_le_bytes());
    }
    sha256_hex(&told)
}

fn summary(context: &Context<'_>, trained: &Trained, findings: &Findings, seconds: f64) -> TrainingSummary {
    let mut data = findings.counts();
    data.insert("train".to_owned(), context.data.train.len());
    data.insert("valid".to_owned(), context.data.valid.len());
    TrainingSummary {
        seconds,
        chosen_epoch: trained.chosen_epoch,
        settings: context.options.settings.by_name(),
        data,
        epochs: trained.epochs.iter().map(epoch_summary).collect(),
    }
}

fn epoch_summary(epoch: &EpochResult) -> EpochSummary {
    EpochSummary {
        epoch: epoch.epoch,
        train_loss: epoch.train_loss as f32,
        valid_loss: epoch.valid_loss as f32,
        valid_accuracy: epoch.valid_accuracy as f32,
        seconds: epoch.seconds,
    }
}

fn assemble_options(context: &Context<'_>) -> AssembleOptions {
    let options = context.options;
    AssembleOptions {
        out_of_scope_label: options.out_of_scope_label.clone(),
        scope_by: options.scope_by,
        threads: options.threads.max(1),
        promote: options.promote,
        ..AssembleOptions::named(options.name.clone())
    }
}
