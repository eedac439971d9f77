//! A models folder with a tiny encoder, and queries that it can learn to tell apart.

#[path = "../../../tests/it/support/tiny.rs"]
mod tiny;

use std::time::Duration;

use trivium_model_host::bundle::{ModelRef, Registry};
use trivium_model_host::intent::{Example, Splits};
use trivium_model_host::pull::import_encoder;
use trivium_train::{Event, FinetuneError, Options, Outcome, Settings, finetune};

const LABELS: [(&str, [&str; 3]); 3] =
    [("chat", ["hello", "thanks", "song"]), ("fix", ["error", "restart", "replica"]), ("oos", ["moon", "cat", "a"])];

/// A models folder that holds the tiny encoder as `tiny/1`, in production.
pub struct Models {
    pub folder: tempfile::TempDir,
    pub registry: Registry,
}

impl Models {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        let model = ModelRef::new("tiny", "1").unwrap();
        import_encoder(&registry, model, &tiny::TinyBert::random(7).files(), 24).unwrap();
        Self { folder, registry }
    }

    /// Trains with the usual test data, and collects the events.
    pub fn train(&self, options: &Options) -> (Result<Outcome, FinetuneError>, Vec<Event>) {
        let (train, valid, test) = (examples(0), examples(1), examples(2));
        let splits = Splits { train: &train, valid: Some(&valid), test: Some(&test) };
        let mut events = Vec::new();
        let outcome = finetune(&self.registry, options, splits, &|| Duration::ZERO, &mut |event| events.push(event));
        (outcome, events)
    }
}

/// Options for a model named `intents`, in seconds on one thread.
pub fn options() -> Options {
    let mut options = Options::named("intents".parse().unwrap(), "tiny".parse().unwrap());
    options.threads = 1;
    options.checkpoint_steps = 2;
    options.settings =
        Settings { epochs: 12, patience: 12, batch: 4, encoder_rate: 2e-3, head_rate: 2e-2, ..Settings::default() };
    options
}

/// Each label's words with different words around them; `shift` makes different sets.
pub fn examples(shift: usize) -> Vec<Example> {
    let around = ["how is", "what is the", "the", "compare", "is a cache", "of the index", "code of", "redis with"];
    let frames = around.iter().enumerate();
    let label = |(label, words): (&str, [&str; 3])| {
        let query = move |(number, frame): (usize, &&str)| {
            let word = words[(number + shift) % words.len()];
            Example { text: format!("{frame} {word} {word} {word} {word}"), label: label.to_owned() }
        };
        frames.clone().map(query).collect::<Vec<_>>()
    };
    LABELS.into_iter().flat_map(label).collect()
}
