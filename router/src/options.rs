//! What the router is configured with.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use trivium_service_kit::{ClientOptions, ConfigError, ServerOptions, config::at_least};

use crate::{
    audit::AuditOptions,
    cache::CacheOptions,
    policy::{MAX_COLLECTIONS, is_collection_name},
};

/// The router's section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where it listens, and what it takes.
    pub server: ServerOptions,
    /// Where the model host is.
    pub model_host: ClientOptions,
    /// Where the retriever is.
    pub retriever: ClientOptions,
    /// The policy, a `routes.toml`. Without one the built-in policy serves.
    pub routes_file: Option<PathBuf>,
    /// How often the file is looked at for changes, in milliseconds.
    pub routes_poll_ms: u64,
    /// The collections that are searched where the policy names none.
    pub collections: Vec<String>,
    /// The most that each hop below may take.
    pub hops: HopOptions,
    /// The record of what was decided.
    pub audit: AuditOptions,
    /// Answers that are given again.
    pub cache: CacheOptions,
}

/// The most that each hop may take, whatever the caller allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HopOptions {
    /// Intent and vector, in milliseconds.
    pub analyze_ms: u64,
    /// The search of one collection, in milliseconds.
    pub search_ms: u64,
    /// One leg of a search, before the other answers alone, in milliseconds.
    pub leg_ms: u64,
    /// The whole generation, in milliseconds.
    pub generate_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // The router is the door: what it lets in, the services behind it can bear.
            server: ServerOptions { max_slowdown_percent: 200, ..ServerOptions::at(7700) },
            model_host: ClientOptions::to(7702),
            retriever: ClientOptions::to(7701),
            routes_file: None,
            routes_poll_ms: 1_000,
            collections: vec!["docs".to_owned()],
            hops: HopOptions::default(),
            audit: AuditOptions::default(),
            cache: CacheOptions::default(),
        }
    }
}

impl Default for HopOptions {
    fn default() -> Self {
        Self { analyze_ms: 10_000, search_ms: 20_000, leg_ms: 2_000, generate_ms: 120_000 }
    }
}

impl HopOptions {
    pub(crate) fn analyze(&self) -> Duration {
        Duration::from_millis(self.analyze_ms)
    }

    pub(crate) fn search(&self) -> Duration {
        Duration::from_millis(self.search_ms)
    }

    pub(crate) fn generate(&self) -> Duration {
        Duration::from_millis(self.generate_ms)
    }
}

impl Options {
    /// Checks every value. Keys are relative to the router's own section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.model_host.validate().map_err(|error| error.within("model_host"))?;
        self.retriever.validate().map_err(|error| error.within("retriever"))?;
        self.validate_collections()?;
        self.audit.validate().map_err(|error| error.within("audit"))?;
        self.cache.validate().map_err(|error| error.within("cache"))?;
        at_least("routes_poll_ms", self.routes_poll_ms, 10)?;
        at_least("hops.analyze_ms", self.hops.analyze_ms, 1)?;
        at_least("hops.search_ms", self.hops.search_ms, 1)?;
        at_least("hops.leg_ms", self.hops.leg_ms, 1)?;
        at_least("hops.generate_ms", self.hops.generate_ms, 1)
    }

    fn validate_collections(&self) -> Result<(), ConfigError> {
        let refuse = |why: String| Err(ConfigError::new("collections", self.collections.join(", "), why));
        if self.collections.is_empty() || self.collections.len() > MAX_COLLECTIONS {
            return refuse(format!("must name 1 to {MAX_COLLECTIONS} collections"));
        }
        match self.collections.iter().find(|name| !is_collection_name(name)) {
            Some(name) => refuse(format!("{name:?} is no name of a collection")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn a_bad_value_is_refused_by_its_key() {
        type Spoil = fn(&mut Options);
        let table: [(&str, Spoil); 9] = [
            ("server.default_deadline_ms", |options| options.server.default_deadline_ms = 0),
            ("model_host.endpoint", |options| options.model_host.endpoint = "nowhere".into()),
            ("retriever.endpoint", |options| options.retriever.endpoint = "https://x".into()),
            ("collections", |options| options.collections.clear()),
            ("collections", |options| options.collections.push("No Name".into())),
            ("audit.queue_records", |options| options.audit.queue_records = 0),
            ("audit.segment_bytes", |options| options.audit.segment_bytes = 1 << 40),
            ("cache.max_bytes", |options| options.cache.max_bytes = 1),
            ("hops.search_ms", |options| options.hops.search_ms = 0),
        ];
        for (key, spoil) in table {
            let mut options = Options::default();
            spoil(&mut options);
            assert_eq!(options.validate().expect_err(key).key, key);
        }
    }
}
