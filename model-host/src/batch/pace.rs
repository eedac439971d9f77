//! How fast a model runs here, so that a batch can be cut to a length of time.

use std::time::Duration;

/// The longest that a batch should take: what comes after it waits no longer than this.
pub const BATCH_TIME: Duration = Duration::from_millis(100);

/// Each batch counts half as much as the next, so that the pace follows the machine's load
/// within a few batches.
const MEMORY: f64 = 0.5;

/// Below this many tokens a smaller batch would not be faster by much.
const FEWEST_TOKENS: usize = 16;

/// A running estimate of the time that one padded token takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    tokens: f64,
    seconds: f64,
}

impl Pace {
    /// Takes a batch of `padded_tokens` into account that ran for `time`.
    pub fn observe(&mut self, padded_tokens: usize, time: Duration) {
        self.tokens = self.tokens * MEMORY + padded_tokens as f64;
        self.seconds = self.seconds * MEMORY + time.as_secs_f64();
    }

    /// The most tokens, at most `limit`, that should run within `time`; the limit itself as
    /// long as nothing was observed.
    pub fn tokens_within(&self, time: Duration, limit: usize) -> usize {
        if self.seconds <= 0.0 || self.tokens <= 0.0 {
            return limit;
        }
        // Saturates, as conversions of floats do.
        let fitting = (time.as_secs_f64() * self.tokens / self.seconds) as usize;
        fitting.clamp(FEWEST_TOKENS.min(limit), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_to_the_time_that_it_may_take() {
        let mut pace = Pace::default();
        assert_eq!(pace.tokens_within(BATCH_TIME, 256), 256);
        // 0.25 ms a token: 400 fit into 100 ms.
        pace.observe(128, Duration::from_millis(32));
        assert_eq!(pace.tokens_within(BATCH_TIME, 256), 256);
        assert_eq!(pace.tokens_within(BATCH_TIME, 1000), 400);
        // The machine is busy now, and each token takes 2 ms; soon that is known.
        for _ in 0..8 {
            pace.observe(128, Duration::from_millis(256));
        }
        assert!((48..=60).contains(&pace.tokens_within(BATCH_TIME, 256)));
    }

    #[test]
    fn the_bounds_hold_for_the_slowest_and_the_fastest() {
        let mut pace = Pace::default();
        pace.observe(1, Duration::from_secs(3600));
        assert_eq!(pace.tokens_within(BATCH_TIME, 256), FEWEST_TOKENS);
        assert_eq!(pace.tokens_within(BATCH_TIME, 8), 8);
        let mut pace = Pace::default();
        pace.observe(1000, Duration::ZERO);
        assert_eq!(pace.tokens_within(BATCH_TIME, 256), 256);
    }
}
