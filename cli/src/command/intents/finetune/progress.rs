//! What a person sees while a model trains: a bar on stderr, and lines on stdout.

use indicatif::{ProgressBar, ProgressStyle};
use trivium_model_host::intent::FitProgress;
use trivium_train::{EpochResult, Event, RunEvent};

use super::findings;
use crate::output;

/// Shows the events of a run.
pub struct Shown {
    bar: ProgressBar,
    /// Whether lines go to stdout; a JSON document has it to itself.
    lines: bool,
    /// The first line that could not be written; a run is not broken off for it.
    failed: Option<anyhow::Error>,
}

impl Shown {
    /// A bar, and lines if they are wanted.
    pub fn new(lines: bool) -> Self {
        Self { bar: ProgressBar::new(0).with_style(counting()), lines, failed: None }
    }

    /// Shows one event.
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Findings(found) => self.write(|| findings::show(&found)),
            Event::Encoding { done, total } => self.count("looking", done, total),
            Event::Resumed { epochs, steps } => {
                let text = format!("going on after {epochs} epochs and {steps} steps");
                self.write(|| Ok(output::line(text)?));
            }
            Event::Run(RunEvent::Step { done, total, epoch, loss, accuracy }) => {
                self.bar.set_style(training());
                self.bar.set_message(format!("epoch {epoch}, loss {loss:.3}, accuracy {accuracy:.3}"));
                // The time left is told from the steps of this run, not of the one that it resumes.
                if self.bar.length() != Some(total as u64) {
                    self.bar.reset();
                    self.bar.set_length(total as u64);
                    self.bar.set_position(done.saturating_sub(1) as u64);
                    self.bar.reset_eta();
                }
                self.bar.set_position(done as u64);
            }
            Event::Run(RunEvent::Epoch(epoch)) => self.write(|| Ok(output::line(line(&epoch))?)),
            Event::Assembling(FitProgress::Encoding { done, total }) => self.count("judging", done, total),
            Event::Assembling(FitProgress::Fitting { done, total }) => self.count("fitting", done, total),
        }
    }

    /// Takes the bar away.
    ///
    /// # Errors
    /// When a line could not be written.
    pub fn finish(self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        self.failed.map_or(Ok(()), Err)
    }

    fn count(&self, words: &'static str, done: usize, total: usize) {
        self.bar.set_style(counting());
        self.bar.set_message(words);
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn write(&mut self, write: impl FnOnce() -> anyhow::Result<()>) {
        if self.lines
            && self.failed.is_none()
            && let Err(error) = self.bar.suspend(write)
        {
            self.failed = Some(error);
        }
    }
}

fn counting() -> ProgressStyle {
    style("{msg:>9} {bar:40.cyan/dim} {pos}/{len}")
}

fn training() -> ProgressStyle {
    style("{bar:30.cyan/dim} {pos}/{len}  {msg}  {eta} left")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(epoch: &EpochResult) -> String {
    let EpochResult { epoch, train_loss, train_accuracy, valid_loss, valid_accuracy, seconds } = epoch;
    format!(
        "epoch {epoch}: training loss {train_loss:.3}, accuracy {train_accuracy:.3}; validation loss {valid_loss:.3}, accuracy \
         {valid_accuracy:.4}; {seconds:.0} s"
    )
}
