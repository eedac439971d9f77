//! Which waiting texts run together next, of which model, and on how many threads. Pure:
//! the caller brings the time.

mod lane;
mod pace;
mod schedule;

use std::time::Instant;

pub use schedule::{Cores, Job, ModelKey, Next, Schedule};

/// Where a text waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A person waits for it; always served first.
    Query,
    /// Bulk embedding; served when no query waits.
    Bulk,
}

impl Lane {
    /// Both, the first to be served first.
    pub const ALL: [Self; 2] = [Self::Query, Self::Bulk];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Bulk => "bulk",
        }
    }
}

/// Who sent a text. Callers whose texts wait in the same lane take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller(pub u64);

/// How much of one model's work may run together, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most tokens of one batch, padding included. A single longer text runs alone.
    pub batch_tokens: usize,
    /// The most texts that wait in the query lane.
    pub query_texts: usize,
    /// The most texts that wait in the bulk lane.
    pub bulk_texts: usize,
}

/// One waiting text.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its length.
    pub tokens: usize,
    /// When nobody waits for it any more.
    pub deadline: Option<Instant>,
    /// Whether it may run on all cores when nothing else runs. A request that sends texts to
    /// two models at once wants them side by side instead.
    pub may_widen: bool,
    /// Whatever else the caller needs to know of it.
    pub work: T,
}

/// A batch on its way to an engine.
#[derive(Debug)]
pub struct Formed<T> {
    /// Texts that run together; empty when nothing waits.
    pub batch: Vec<Entry<T>>,
    /// Texts whose deadline passed while they waited.
    pub expired: Vec<Entry<T>>,
}

/// The lane has no room for all of the texts; none was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many texts may wait in that lane.
    pub capacity: usize,
}
