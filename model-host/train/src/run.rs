//! A training run: epochs of steps, each judged on the validation texts.

use std::time::Duration;

use serde::Serialize;
use trivium_ranking::random::SplitMix64;

use crate::batches::{batches, parts};
use crate::checkpoint::{CheckpointError, Checkpoints};
use crate::network::{Network, Ragged, Work};
use crate::ops::dropout::Dropout;
use crate::ops::loss::{Tally, cross_entropy};
use crate::optimiser::{AdamW, Rates, schedule};
use crate::settings::Settings;

/// Texts as rows of the word table, each with the number of its label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    pub(crate) tokens: Vec<Vec<u32>>,
    pub(crate) labels: Vec<u32>,
}

impl Texts {
    fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }

    fn ragged(&self, part: &[usize]) -> (Ragged, Vec<u32>) {
        let ragged = Ragged::new(part.iter().map(|&text| &self.tokens[text][..]));
        (ragged, part.iter().map(|&text| self.labels[text]).collect())
    }
}

/// What an epoch achieved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochResult {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean loss over its steps.
    pub train_loss: f64,
    /// Share of its texts that were decided rightly, with dropout, 0 to 1.
    pub train_accuracy: f64,
    /// Mean loss on the validation texts after it.
    pub valid_loss: f64,
    /// Share of the validation texts that are decided rightly after it, 0 to 1.
    pub valid_accuracy: f64,
    /// Seconds that it took.
    pub seconds: f64,
}

impl EpochResult {
    fn beats(&self, other: &Self) -> bool {
        (self.valid_accuracy, -self.valid_loss) > (other.valid_accuracy, -other.valid_loss)
    }
}

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RunEvent {
    /// A step was made.
    Step {
        /// Steps made, all epochs together.
        done: usize,
        /// Steps in all, if the run does not stop early.
        total: usize,
        /// The epoch, from 1.
        epoch: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Share of the epoch's texts so far that were decided rightly, with dropout, 0 to 1.
        accuracy: f64,
    },
    /// An epoch was judged.
    Epoch(EpochResult),
}

/// Everything that changes while a run goes on, and so what a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) weights: Vec<f32>,
    pub(crate) adam: AdamW,
    pub(crate) progress: Progress,
    /// The weights after the best epoch so far; empty before the first.
    pub(crate) best: Vec<f32>,
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// Steps made in the epoch that is under way.
    pub(crate) step: usize,
    pub(crate) loss: f64,
    pub(crate) correct: usize,
    pub(crate) texts: usize,
    /// Seconds spent in the epoch that is under way.
    pub(crate) seconds: f64,
    /// The epochs that are done.
    pub(crate) epochs: Vec<EpochResult>,
}

impl State {
    pub(crate) fn new(weights: Vec<f32>) -> Self {
        Self { adam: AdamW::new(weights.len()), weights, progress: Progress::default(), best: Vec::new() }
    }
}

/// A run's result.
pub(crate) struct Trained {
    /// The weights after the best epoch.
    pub(crate) weights: Vec<f32>,
    /// The best epoch, from 1.
    pub(crate) chosen_epoch: usize,
    pub(crate) epochs: Vec<EpochResult>,
}

/// What a run does not change.
pub(crate) struct Run<'a> {
    pub(crate) network: &'a Network,
    pub(crate) settings: &'a Settings,
    pub(crate) train: &'a Texts,
    pub(crate) valid: &'a Texts,
    /// Where the state is kept, and after how many steps.
    pub(crate) checkpoints: Option<(&'a Checkpoints, usize)>,
    /// Time since some moment; only for what is reported.
    pub(crate) clock: &'a dyn Fn() -> Duration,
}

impl Run<'_> {
    /// Trains from `state` to the end.
    ///
    /// # Errors
    /// When a checkpoint cannot be written, or the loss is no longer a number.
    pub(crate) fn finish(&self, mut state: State, observe: &mut dyn FnMut(RunEvent)) -> Result<Trained, RunError> {
        let mut session = Session {
            work: Work::default(),
            gradients: vec![0.0; self.network.layout().len()],
            lengths: self.train.lengths(),
        };
        while state.progress.epochs.len() < self.settings.epochs && !self.stalled(&state.progress.epochs) {
            self.epoch(&mut state, &mut session, observe)?;
            self.save(&state)?;
        }
        let chosen_epoch = best(&state.progress.epochs).map_or(0, |best| best.epoch);
        Ok(Trained { weights: state.best, chosen_epoch, epochs: state.progress.epochs })
    }

    fn stalled(&self, epochs: &[EpochResult]) -> bool {
        best(epochs).is_some_and(|best| epochs.len() - best.epoch >= self.settings.patience)
    }

    fn epoch(
        &self,
        state: &mut State,
        session: &mut Session,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let number = state.progress.epochs.len();
        let started = (self.clock)();
        let before = state.progress.seconds;
        let batches = batches(&session.lengths, self.settings.batch, self.settings.seed, number);
        for batch in batches.iter().skip(state.progress.step) {
            let tally = self.step(state, session, batch, number * batches.len(), batches.len());
            let progress = &mut state.progress;
            progress.step += 1;
            progress.loss += tally.loss;
            progress.correct += tally.correct;
            progress.texts += tally.texts;
            progress.seconds = before + ((self.clock)() - started).as_secs_f64();
            let done = number * batches.len() + progress.step;
            if !progress.loss.is_finite() {
                return Err(RunError::Diverged { step: done });
            }
            let sums = progress.tally();
            let (loss, accuracy, epoch) = (sums.mean_loss(), sums.accuracy(), number + 1);
            observe(RunEvent::Step { done, total: self.settings.epochs * batches.len(), epoch, loss, accuracy });
            if let Some((_, every)) = self.checkpoints
                && progress.step.is_multiple_of(every)
                && progress.step < batches.len()
            {
                self.save(state)?;
            }
        }
        let judged = self.judge(&state.weights, &mut session.work);
        let sums = state.progress.tally();
        let result = EpochResult {
            epoch: number + 1,
            train_loss: sums.mean_loss(),
            train_accuracy: sums.accuracy(),
            valid_loss: judged.mean_loss(),
            valid_accuracy: judged.accuracy(),
            seconds: before + ((self.clock)() - started).as_secs_f64(),
        };
        if best(&state.progress.epochs).is_none_or(|best| result.beats(best)) {
            state.best.clone_from(&state.weights);
        }
        let mut epochs = std::mem::take(&mut state.progress.epochs);
        epochs.push(result);
        state.progress = Progress { epochs, ..Progress::default() };
        observe(RunEvent::Epoch(result));
        Ok(())
    }

    fn step(
        &self,
        state: &mut State,
        session: &mut Session,
        batch: &[usize],
        steps_before: usize,
        steps_in_epoch: usize,
    ) -> Tally {
        let settings = self.settings;
        let (layout, classes) = (self.network.layout(), self.network.sizes().classes);
        let step = steps_before + state.progress.step;
        let first = layout.first_trained(settings.frozen_layers);
        let gradients = &mut session.gradients;
        gradients[first..].fill(0.0);
        let mut tally = Tally::default();
        for (number, part) in parts(batch, &session.lengths, settings.pass_tokens).into_iter().enumerate() {
            let (texts, labels) = self.train.ragged(part);
            let seed = SplitMix64::keyed(&[settings.seed, DROPOUT, step as u64, number as u64]).draw();
            let dropout = Dropout::new(settings.dropout, seed);
            let (weights, work) = (&state.weights, &mut session.work);
            self.network.forward(weights, &texts, dropout, work);
            let share = 1.0 / batch.len() as f32;
            tally.add(cross_entropy(work.logits(), &labels, classes, settings.smoothing, share));
            self.network.backward(weights, &texts, dropout, settings.frozen_layers, work, gradients);
        }
        let rates = Rates {
            encoder: settings.encoder_rate,
            head: settings.head_rate,
            decay: settings.decay,
            clip: settings.clip,
        };
        let share = schedule(step, settings.epochs * steps_in_epoch, settings.warm_up);
        state.adam.step(&mut state.weights, gradients, layout.variables(), first, rates, share);
        tally
    }

    /// Loss without smoothing, and accuracy, on the validation texts.
    fn judge(&self, weights: &[f32], work: &mut Work) -> Tally {
        let lengths = self.valid.lengths();
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&text| lengths[text]);
        let mut tally = Tally::default();
        for part in parts(&order, &lengths, self.settings.pass_tokens) {
            let (texts, labels) = self.valid.ragged(part);
            self.network.forward(weights, &texts, Dropout::OFF, work);
            tally.add(cross_entropy(work.logits(), &labels, self.network.sizes().classes, 0.0, 0.0));
        }
        tally
    }

    fn save(&self, state: &State) -> Result<(), RunError> {
        match self.checkpoints {
            Some((checkpoints, _)) => Ok(checkpoints.write(state)?),
            None => Ok(()),
        }
    }
}

impl Progress {
    fn tally(&self) -> Tally {
        Tally { loss: self.loss, correct: self.correct, texts: self.texts }
    }
}

/// Memory that steps share.
struct Session {
    work: Work,
    gradients: Vec<f32>,
    lengths: Vec<usize>,
}

/// The best epoch: of those that decide most validation texts rightly, the one with the lowest
/// loss.
fn best(epochs: &[EpochResult]) -> Option<&EpochResult> {
    epochs.iter().reduce(|best, next| if next.beats(best) { next } else { best })
}

/// Keeps dropout apart from all else that the seed decides.
const DROPOUT: u64 = 0x6472_6f70;

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The loss became infinite or not a number.
    #[error("the loss is no longer a number after {step} steps; lower learning rates may help")]
    Diverged {
        /// Steps made.
        step: usize,
    },
    /// The state could not be kept.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
