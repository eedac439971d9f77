//! What is configured of the cache.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trivium_service_kit::{ConfigError, config::at_least};

/// Whether answers are kept, how many and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheOptions {
    /// Whether answers are kept at all.
    pub enabled: bool,
    /// The most memory that they take, in bytes, at least 64 KiB.
    pub max_bytes: u64,
    /// How long an answer is kept, in milliseconds, at least 1.
    pub ttl_ms: u64,
    /// Whether queries that differ in white space alone are one query, as they are to encoders of the BERT family.
    pub ignore_white_space: bool,
    /// Whether answers that a language model wrote are kept too. Asked again, it might write another.
    pub language_models: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { enabled: false, max_bytes: 64 << 20, ttl_ms: 600_000, ignore_white_space: true, language_models: false }
    }
}

impl CacheOptions {
    /// Checks every value. Keys are relative to the section `cache`.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("max_bytes", self.max_bytes, 64 << 10)?;
        at_least("ttl_ms", self.ttl_ms, 1)
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}
