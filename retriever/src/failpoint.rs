//! Named instants at which a crash test ends the process, as `kill -9` or a failing machine would.
//!
//! Nothing happens at them unless `TRIVIUM_FAILPOINT` names one when the service starts: `after_table_commit:3` aborts
//! the process the third time that it gets there. Unarmed, a failpoint costs one load of a static. It is meant for crash
//! tests alone, and is no part of the configuration.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use trivium_service_kit::ConfigError;

/// The environment variable that arms a failpoint.
const VARIABLE: &str = "TRIVIUM_FAILPOINT";

/// An instant of the write path at which a crash is worth a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// All files of a change are written, and nothing says yet that they belong to the table.
    BeforeTableCommit,
    /// The table's new manifest can be seen, and is not durable yet.
    InTableCommit,
    /// The table holds the change, the lexical index does not.
    AfterTableCommit,
    /// The lexical index has written its files, and has not named them yet.
    InIndexCommit,
    /// Both legs hold the change, and no reader sees it.
    AfterIndexCommit,
    /// Small fragments are rewritten, and the table does not know the new ones yet.
    InCompaction,
    /// The table knows the rewritten fragments, and nothing else does.
    AfterCompaction,
    /// An index of the vectors is written, and no version of the table names it yet.
    InVectorIndexing,
    /// The table names a new index of the vectors, and nothing else knows of that version.
    AfterVectorIndexing,
    /// The lexical index is built anew beside the old one.
    InRebuild,
    /// The old lexical index is out of its place, and the new one is not there yet.
    InRebuildSwap,
}

impl Failpoint {
    /// All of them, in the order of a write's way.
    pub const ALL: [Self; 11] = [
        Self::BeforeTableCommit,
        Self::InTableCommit,
        Self::AfterTableCommit,
        Self::InIndexCommit,
        Self::AfterIndexCommit,
        Self::InCompaction,
        Self::AfterCompaction,
        Self::InVectorIndexing,
        Self::AfterVectorIndexing,
        Self::InRebuild,
        Self::InRebuildSwap,
    ];

    /// The name by which the environment arms it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeTableCommit => "before_table_commit",
            Self::InTableCommit => "in_table_commit",
            Self::AfterTableCommit => "after_table_commit",
            Self::InIndexCommit => "in_index_commit",
            Self::AfterIndexCommit => "after_index_commit",
            Self::InCompaction => "in_compaction",
            Self::AfterCompaction => "after_compaction",
            Self::InVectorIndexing => "in_vector_indexing",
            Self::AfterVectorIndexing => "after_vector_indexing",
            Self::InRebuild => "in_rebuild",
            Self::InRebuildSwap => "in_rebuild_swap",
        }
    }

    /// Ends the process if this failpoint is armed and its count is reached.
    pub(crate) fn reach(self) {
        if let Some(armed) = ARMED.get()
            && armed.point == self
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            tracing::error!(failpoint = self.name(), "ending the process for a crash test");
            std::process::abort();
        }
    }
}

impl fmt::Display for Failpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// A failpoint and how often it may still be passed, the last time included.
#[derive(Debug)]
struct Armed {
    point: Failpoint,
    left: AtomicU64,
}

impl FromStr for Armed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let named = Failpoint::ALL.into_iter().find(|point| point.name() == name);
        let point = named.ok_or_else(|| {
            let names = Failpoint::ALL.map(Failpoint::name).join(", ");
            format!("must be one of {names}, with a count after a colon if it is not the first time")
        })?;
        let count: NonZeroU64 =
            count.parse().map_err(|_| "must have a count of at least 1 after the colon".to_owned())?;
        Ok(Self { point, left: AtomicU64::new(count.get()) })
    }
}

/// Arms the failpoint that the environment names, if it names one. Of several services in one process the first counts.
///
/// # Errors
/// The variable names no failpoint.
pub(crate) fn arm_from_environment() -> Result<(), ConfigError> {
    let Ok(value) = std::env::var(VARIABLE) else { return Ok(()) };
    let armed: Armed = value.parse().map_err(|why: String| ConfigError::new(VARIABLE, &value, why))?;
    tracing::warn!(failpoint = armed.point.name(), "a failpoint is armed: the process will end there");
    // A second service finds it armed already, which is what was asked for.
    let _ = ARMED.set(armed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_armed_by_its_name_and_a_count() {
        for point in Failpoint::ALL {
            let armed: Armed = format!("{point}:7").parse().unwrap();
            assert_eq!((armed.point, armed.left.into_inner()), (point, 7));
        }
        let armed: Armed = "in_rebuild".parse().unwrap();
        assert_eq!((armed.point, armed.left.into_inner()), (Failpoint::InRebuild, 1));
    }

    #[test]
    fn what_names_no_failpoint_is_refused_with_what_would() {
        for (text, part) in [
            ("", "before_table_commit"),
            ("nowhere:1", "before_table_commit"),
            ("in_rebuild:", "at least 1"),
            ("in_rebuild:0", "at least 1"),
            ("in_rebuild:-1", "at least 1"),
        ] {
            let why = text.parse::<Armed>().unwrap_err();
            assert!(why.contains(part), "{text:?}: {why}");
        }
    }
}
