//! Which kills a seed gives.

use trivium_ranking::random::SplitMix64;
use trivium_retriever::failpoint::Failpoint;

/// Pseudo-random numbers, so that a seed says it all.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.between(0, last as u64) as usize);
        }
    }
}

/// How a round ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kill {
    /// At an instant that nobody chose.
    Random {
        /// Acknowledged writes to wait for.
        acknowledged: u64,
        /// Time to let pass then, so that the kill falls anywhere in a write, in microseconds.
        delay_us: u64,
    },
    /// By the process itself, at a failpoint.
    Failpoint {
        /// The failpoint.
        point: Failpoint,
        /// How often it is reached, the last time included.
        count: u64,
    },
}

impl Kill {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random { .. } => "random",
            Self::Failpoint { point, .. } => point.name(),
        }
    }

    pub fn failpoint(&self) -> Option<(Failpoint, u64)> {
        match self {
            Self::Random { .. } => None,
            Self::Failpoint { point, count } => Some((*point, *count)),
        }
    }
}

/// One kill of each kind.
pub fn kinds() -> Vec<Kill> {
    let points = Failpoint::ALL.map(|point| Kill::Failpoint { point, count: 1 });
    points.into_iter().chain([Kill::Random { acknowledged: 0, delay_us: 0 }]).collect()
}

/// Kills for so many rounds: every kind once in a random order, then again.
pub fn kills(random: &mut Random, rounds: u64) -> Vec<Kill> {
    let mut kills = Vec::new();
    while (kills.len() as u64) < rounds {
        let mut kinds = kinds();
        random.shuffle(&mut kinds);
        kills.extend(kinds.into_iter().map(|kind| with_instant(random, kind)));
    }
    kills.truncate(rounds as usize);
    kills
}

fn with_instant(random: &mut Random, kind: Kill) -> Kill {
    match kind {
        Kill::Random { .. } => {
            Kill::Random { acknowledged: random.between(0, 30), delay_us: random.between(0, 50_000) }
        }
        Kill::Failpoint { point, .. } => Kill::Failpoint { point, count: random.between(1, most(point)) },
    }
}

/// The most often that a failpoint is to be reached: once where that takes many writes, or a start.
fn most(point: Failpoint) -> u64 {
    match point {
        Failpoint::InCompaction
        | Failpoint::AfterCompaction
        | Failpoint::InVectorIndexing
        | Failpoint::AfterVectorIndexing
        | Failpoint::InRebuild
        | Failpoint::InRebuildSwap => 1,
        _ => 8,
    }
}
