//! What is configured of the audit log.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use trivium_service_kit::{ConfigError, config::at_least};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Where decisions are recorded, and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditOptions {
    /// Whether decisions are recorded, where there is a folder for it.
    pub enabled: bool,
    /// The folder. Without one nothing is recorded.
    pub dir: Option<PathBuf>,
    /// Records that may wait to be written, at least 1. A record that finds no room is lost, and counted.
    pub queue_records: usize,
    /// Size at which a file is closed and the next one begun, in bytes, 64 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// Age at which a file is closed, in milliseconds, at least 1,000.
    pub segment_age_ms: u64,
    /// The newest files that are kept, at least 1.
    pub keep_segments: usize,
    /// How long a file is kept after its last record, in milliseconds, at least 1,000.
    pub keep_age_ms: u64,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: None,
            queue_records: 4_096,
            segment_bytes: 16 << 20,
            segment_age_ms: DAY_MS,
            keep_segments: 64,
            keep_age_ms: 365 * DAY_MS,
        }
    }
}

impl AuditOptions {
    /// Checks every value. Keys are relative to the section `audit`.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("queue_records", self.queue_records, 1)?;
        at_least("segment_bytes", self.segment_bytes, 64 << 10)?;
        // A file is read whole when a record is looked for.
        if self.segment_bytes > 1 << 30 {
            return Err(ConfigError::new("segment_bytes", self.segment_bytes, "must be at most 1073741824"));
        }
        at_least("segment_age_ms", self.segment_age_ms, 1_000)?;
        at_least("keep_segments", self.keep_segments, 1)?;
        at_least("keep_age_ms", self.keep_age_ms, 1_000)
    }

    /// The folder, where decisions are recorded at all.
    pub(crate) fn folder(&self) -> Option<&PathBuf> {
        self.dir.as_ref().filter(|_| self.enabled)
    }

    pub(crate) fn segment_age(&self) -> Duration {
        Duration::from_millis(self.segment_age_ms)
    }

    pub(crate) fn keep_age(&self) -> Duration {
        Duration::from_millis(self.keep_age_ms)
    }
}
