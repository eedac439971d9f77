//! How the model host is configured.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};
use trivium_service_kit::config::at_least;
use trivium_service_kit::{ConfigError, ServerOptions};

use crate::batch::Limits;
use crate::bundle::{ModelId, default_models_dir};
use crate::generate::{EXTRACTIVE, OpenAiOptions, PromptOptions};

/// The port on which the model host listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 7702;

/// The most texts of one embedding request.
pub const MAX_TEXTS: usize = 256;

/// Settings of the model host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How it listens.
    pub server: ServerOptions,
    /// The folder of model bundles. Unset means [`default_models_dir`].
    pub models_dir: Option<PathBuf>,
    /// The encoder bundle whose production version makes query and passage vectors.
    pub encoder: String,
    /// The intent bundle whose production version decides.
    pub intents: String,
    /// Batches that run at once. 0 means one more than there are cores: with several, one
    /// is kept for queries, and the rest should keep the cores busy with bulk work.
    pub engine_workers: usize,
    /// Threads of one batch. One is the most efficient, more shorten a single query on an
    /// idle machine.
    pub engine_threads: usize,
    /// The most tokens of one batch, padding included.
    pub batch_tokens: usize,
    /// Texts that may wait in the query lane before callers are turned away.
    pub query_queue_texts: usize,
    /// Texts that may wait in the bulk lane before callers are turned away.
    pub bulk_queue_texts: usize,
    /// The generator that serves requests that name none: `extractive`, or a key of
    /// `generators`.
    pub default_generator: String,
    /// Language model servers, by the name that requests use.
    pub generators: BTreeMap<String, OpenAiOptions>,
    /// Prompts for language models, by the name that routes and generators use.
    pub prompts: BTreeMap<String, PromptOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server: ServerOptions::at(DEFAULT_PORT),
            models_dir: None,
            encoder: "minilm".to_owned(),
            intents: "intents".to_owned(),
            engine_workers: 0,
            engine_threads: 1,
            // Batches beyond this size gain no more throughput on a CPU, and cost latency.
            batch_tokens: 256,
            query_queue_texts: 512,
            bulk_queue_texts: 4096,
            default_generator: EXTRACTIVE.to_owned(),
            generators: BTreeMap::new(),
            prompts: BTreeMap::new(),
        }
    }
}

impl Options {
    /// Checks every value. Keys are relative to the model host's own section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.encoder_name()?;
        self.intents_name()?;
        at_least("engine_threads", self.engine_threads, 1)?;
        at_least("batch_tokens", self.batch_tokens, 16)?;
        // A smaller lane could never take the largest request.
        at_least("bulk_queue_texts", self.bulk_queue_texts, MAX_TEXTS)?;
        at_least("query_queue_texts", self.query_queue_texts, MAX_TEXTS)?;
        let default = &self.default_generator;
        if default != EXTRACTIVE && !self.generators.contains_key(default) {
            return Err(ConfigError::new("default_generator", default, "must be extractive or a key of generators"));
        }
        for (name, generator) in &self.generators {
            let section = format!("generators.{name}");
            if name == EXTRACTIVE {
                return Err(ConfigError::new(section, "", "extractive is built in; choose another name"));
            }
            generator.validate().map_err(|error| error.within(&section))?;
        }
        for (name, prompt) in &self.prompts {
            prompt.validate().map_err(|error| error.within(&format!("prompts.{name}")))?;
        }
        Ok(())
    }

    /// The folder of model bundles.
    pub fn models_dir(&self) -> PathBuf {
        self.models_dir.clone().unwrap_or_else(default_models_dir)
    }

    /// The encoder bundle's name.
    ///
    /// # Errors
    /// When it cannot be a bundle's name.
    pub fn encoder_name(&self) -> Result<ModelId, ConfigError> {
        self.encoder.parse().map_err(|_| bad_name("encoder", &self.encoder))
    }

    /// The intent bundle's name.
    ///
    /// # Errors
    /// When it cannot be a bundle's name.
    pub fn intents_name(&self) -> Result<ModelId, ConfigError> {
        self.intents.parse().map_err(|_| bad_name("intents", &self.intents))
    }

    /// Batches that run at once, at least 1.
    pub fn workers(&self) -> usize {
        match self.engine_workers {
            0 => available_parallelism().map_or(1, NonZero::get) + 1,
            workers => workers,
        }
    }

    /// How much may run together, and how much may wait.
    pub fn limits(&self) -> Limits {
        Limits {
            batch_tokens: self.batch_tokens,
            query_texts: self.query_queue_texts,
            bulk_texts: self.bulk_queue_texts,
        }
    }
}

fn bad_name(key: &str, value: &str) -> ConfigError {
    let why = "must be 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit";
    ConfigError::new(key, value, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
        assert!(Options::default().workers() >= 2);
    }

    #[test]
    fn bad_values_are_named() {
        type Change = fn(&mut Options);
        let table: [(Change, &str); 8] = [
            (|o| o.encoder = "../etc".to_owned(), "encoder"),
            (|o| o.intents.clear(), "intents"),
            (|o| o.engine_threads = 0, "engine_threads"),
            (|o| o.bulk_queue_texts = 255, "bulk_queue_texts"),
            (|o| o.default_generator = "gpt".to_owned(), "default_generator"),
            (|o| drop(o.generators.insert("extractive".to_owned(), OpenAiOptions::default())), "generators.extractive"),
            (|o| drop(o.generators.insert("gpt".to_owned(), OpenAiOptions::default())), "generators.gpt.base_url"),
            (
                |o| {
                    let prompt = PromptOptions { user: Some("{{ oops }}".to_owned()), ..PromptOptions::default() };
                    o.prompts.insert("support".to_owned(), prompt);
                },
                "prompts.support.user",
            ),
        ];
        for (change, key) in table {
            let mut options = Options::default();
            change(&mut options);
            assert_eq!(options.validate().map_err(|error| error.key), Err(key.to_owned()));
        }
    }
}
