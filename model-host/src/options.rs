//! How the model host is configured.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};
use trivium_service_kit::config::at_least;
use trivium_service_kit::{ConfigError, ServerOptions};

use crate::batch::{Cores, Limits};
use crate::bundle::{ModelId, PrecisionChoice, default_models_dir};
use crate::generate::{EXTRACTIVE, ExtractiveOptions, OpenAiOptions, PromptOptions};

/// The port on which the model host listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 7702;

/// The most texts of one embedding request.
pub const MAX_TEXTS: usize = 256;

/// The smallest budget of a batch.
const LEAST_BATCH_TOKENS: usize = 16;

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
    /// The cross-encoder bundle whose production version reranks unless a call names
    /// another. Empty means none.
    pub reranker: String,
    /// Other bundles that are loaded when the host starts, and limits of their own for any
    /// bundle, by name.
    pub models: BTreeMap<String, ModelOptions>,
    /// The numbers in which encoders of vectors compute. Eight-bit weights change vectors,
    /// and with them what a search finds.
    pub precision: PrecisionChoice,
    /// The numbers in which encoders of vectors compute queries, where passages are computed in 32-bit floats. In eight
    /// bits a query costs less, and stored vectors stay as they are. `auto` takes eight where the encoder has or can be
    /// given such weights, and its vectors of a few queries hardly change.
    pub query_precision: PrecisionChoice,
    /// The numbers in which intent models with an encoder of their own compute.
    pub intents_precision: PrecisionChoice,
    /// The most models in memory at the same time.
    pub max_loaded_models: usize,
    /// Batches of one thread each that run at once. 0 means as many as there are cores.
    pub engine_workers: usize,
    /// Threads of a query that has the machine to itself. 0 means as many as there are
    /// cores.
    pub engine_threads: usize,
    /// Recent analyses that are remembered. 0 means none.
    pub analysis_cache_entries: usize,
    /// The most tokens of one batch, padding included.
    pub batch_tokens: usize,
    /// Texts that may wait in the query lane before callers are turned away.
    pub query_queue_texts: usize,
    /// Texts that may wait in the bulk lane before callers are turned away.
    pub bulk_queue_texts: usize,
    /// The generator that serves requests that name none: `extractive`, or a key of
    /// `generators`.
    pub default_generator: String,
    /// How much the built-in generator quotes.
    pub extractive: ExtractiveOptions,
    /// Language model servers, by the name that requests use.
    pub generators: BTreeMap<String, OpenAiOptions>,
    /// Prompts for language models, by the name that routes and generators use.
    pub prompts: BTreeMap<String, PromptOptions>,
}

/// Settings of one bundle. What is left out is as for all bundles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// Versions that are loaded besides the one that serves, so that calls can name them.
    pub versions: Vec<String>,
    /// The numbers in which it computes.
    pub precision: Option<PrecisionChoice>,
    /// The numbers in which it computes queries, if it makes vectors.
    pub query_precision: Option<PrecisionChoice>,
    /// The most tokens of one batch, padding included.
    pub batch_tokens: Option<usize>,
    /// Texts that may wait in the query lane before callers are turned away.
    pub query_queue_texts: Option<usize>,
    /// Texts that may wait in the bulk lane before callers are turned away.
    pub bulk_queue_texts: Option<usize>,
}

impl ModelOptions {
    /// The limits of this bundle, where `general` are those of all.
    pub fn limits(&self, general: Limits) -> Limits {
        Limits {
            batch_tokens: self.batch_tokens.unwrap_or(general.batch_tokens),
            query_texts: self.query_queue_texts.unwrap_or(general.query_texts),
            bulk_texts: self.bulk_queue_texts.unwrap_or(general.bulk_texts),
        }
    }

    fn validate(&self, name: &str) -> Result<(), ConfigError> {
        if name.parse::<ModelId>().is_err() {
            return Err(bad_name("models", name));
        }
        let key = |key: &str| format!("models.{name}.{key}");
        if let Some(version) = self.versions.iter().find(|version| version.parse::<ModelId>().is_err()) {
            return Err(bad_name(&key("versions"), version));
        }
        at_least(&key("batch_tokens"), self.batch_tokens.unwrap_or(LEAST_BATCH_TOKENS), LEAST_BATCH_TOKENS)?;
        at_least(&key("query_queue_texts"), self.query_queue_texts.unwrap_or(MAX_TEXTS), MAX_TEXTS)?;
        at_least(&key("bulk_queue_texts"), self.bulk_queue_texts.unwrap_or(MAX_TEXTS), MAX_TEXTS)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server: ServerOptions::at(DEFAULT_PORT),
            models_dir: None,
            encoder: "minilm".to_owned(),
            intents: "intents".to_owned(),
            reranker: String::new(),
            models: BTreeMap::new(),
            precision: PrecisionChoice::Fp32,
            query_precision: PrecisionChoice::Auto,
            intents_precision: PrecisionChoice::Auto,
            max_loaded_models: 16,
            engine_workers: 0,
            engine_threads: 0,
            analysis_cache_entries: 1024,
            // Batches beyond this size gain no more throughput on a CPU, and cost latency.
            batch_tokens: 256,
            query_queue_texts: 512,
            bulk_queue_texts: 4096,
            default_generator: EXTRACTIVE.to_owned(),
            extractive: ExtractiveOptions::default(),
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
        self.reranker_name()?;
        for (name, model) in &self.models {
            model.validate(name)?;
        }
        // The encoder, the intent model, one with an encoder of another bundle, and room for
        // the next version of each.
        at_least("max_loaded_models", self.max_loaded_models, 4)?;
        at_least("batch_tokens", self.batch_tokens, LEAST_BATCH_TOKENS)?;
        // A smaller lane could never take the largest request.
        at_least("bulk_queue_texts", self.bulk_queue_texts, MAX_TEXTS)?;
        at_least("query_queue_texts", self.query_queue_texts, MAX_TEXTS)?;
        let default = &self.default_generator;
        if default != EXTRACTIVE && !self.generators.contains_key(default) {
            return Err(ConfigError::new("default_generator", default, "must be extractive or a key of generators"));
        }
        self.extractive.validate().map_err(|error| error.within("extractive"))?;
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

    /// The cross-encoder bundle's name, if there is one.
    ///
    /// # Errors
    /// When it cannot be a bundle's name.
    pub fn reranker_name(&self) -> Result<Option<ModelId>, ConfigError> {
        if self.reranker.is_empty() {
            return Ok(None);
        }
        self.reranker.parse().map(Some).map_err(|_| bad_name("reranker", &self.reranker))
    }

    /// How the machine is shared.
    pub fn cores(&self) -> Cores {
        let there = available_parallelism().map_or(1, NonZero::get);
        let or_all = |count: usize| if count == 0 { there } else { count };
        Cores { batches: or_all(self.engine_workers), lone_query_threads: or_all(self.engine_threads) }
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
        let cores = Options::default().cores();
        assert!(cores.batches >= 1 && cores.lone_query_threads == cores.batches);
    }

    fn small_queue() -> ModelOptions {
        ModelOptions { bulk_queue_texts: Some(1), ..ModelOptions::default() }
    }

    #[test]
    fn a_bundle_may_have_limits_of_its_own() {
        let own = ModelOptions { batch_tokens: Some(64), ..ModelOptions::default() };
        let general = Options::default().limits();
        assert_eq!(own.limits(general), Limits { batch_tokens: 64, ..general });
    }

    #[test]
    fn bad_values_are_named() {
        type Change = fn(&mut Options);
        let table: [(Change, &str); 12] = [
            (|o| o.encoder = "../etc".to_owned(), "encoder"),
            (|o| o.intents.clear(), "intents"),
            (|o| o.reranker = "a/b".to_owned(), "reranker"),
            (|o| o.max_loaded_models = 1, "max_loaded_models"),
            (|o| drop(o.models.insert("../a".to_owned(), ModelOptions::default())), "models"),
            (|o| drop(o.models.insert("a".to_owned(), small_queue())), "models.a.bulk_queue_texts"),
            (|o| o.bulk_queue_texts = 255, "bulk_queue_texts"),
            (|o| o.extractive.sentences = 0, "extractive.sentences"),
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
