//! Whether a replica is fit to be called. Pure: time comes in as an argument.

use tokio::time::{Duration, Instant};

/// What a call says about its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Verdict {
    /// It answered.
    Answered,
    /// It did not answer in a fair time.
    Silent,
    /// The connection could not be made or broke.
    Broken,
}

/// Calls without an answer, one after the other, that take a replica out. One alone may be a slow query.
const SILENCES: u32 = 5;

/// For how long a replica is left out at first; it doubles each time that it comes back no better.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest such time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How a replica has done of late.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::client) struct Standing {
    silences: u32,
    /// How often it was taken out since it last answered.
    failures: u32,
    out_until: Option<Instant>,
}

impl Standing {
    /// Whether calls should go to it.
    pub fn is_fit(&self, now: Instant) -> bool {
        self.out_until.is_none_or(|until| until <= now)
    }

    /// Notes how a call went. Gives whether the replica is newly taken out. `share`, between 0 and 1, is a random part of
    /// half the pause, so that several clients do not come back at the same time.
    pub fn note(&mut self, verdict: Verdict, now: Instant, share: f64) -> bool {
        match verdict {
            Verdict::Answered => {
                // An answer to an older call does not bring it back: the connection may have broken since.
                if self.is_fit(now) {
                    *self = Self::default();
                }
                return false;
            }
            Verdict::Silent => {
                self.silences += 1;
                if self.silences < SILENCES {
                    return false;
                }
            }
            Verdict::Broken => {}
        }
        if !self.is_fit(now) {
            // The other calls that were under way say nothing new.
            return false;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.silences = 0;
        self.out_until = Some(now + pause.mul_f64(1.0 + 0.5 * share.clamp(0.0, 1.0)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_takes_a_replica_out_for_longer_each_time() {
        let start = Instant::now();
        let (mut standing, mut now) = (Standing::default(), start);
        for pause_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert!(standing.note(Verdict::Broken, now, 0.0));
            assert!(!standing.note(Verdict::Broken, now, 0.0), "what else was under way says nothing new");
            assert!(!standing.note(Verdict::Answered, now, 0.0));
            assert!(!standing.is_fit(now + Duration::from_millis(pause_ms - 1)));
            now += Duration::from_millis(pause_ms);
            assert!(standing.is_fit(now), "{pause_ms}");
        }
        standing.note(Verdict::Answered, now, 0.0);
        assert!(standing.note(Verdict::Broken, now, 0.0));
        assert!(standing.is_fit(now + FIRST_PAUSE), "an answer makes it as good as new");
    }

    #[test]
    fn silence_counts_when_nothing_else_is_heard() {
        let now = Instant::now();
        let mut standing = Standing::default();
        for _ in 0..3 {
            (1..SILENCES).for_each(|_| assert!(!standing.note(Verdict::Silent, now, 0.0)));
            standing.note(Verdict::Answered, now, 0.0);
        }
        (1..SILENCES).for_each(|_| assert!(!standing.note(Verdict::Silent, now, 0.0)));
        assert!(standing.note(Verdict::Silent, now, 1.0));
        assert!(!standing.is_fit(now + FIRST_PAUSE.mul_f64(1.4)), "half of the pause is random");
        assert!(standing.is_fit(now + FIRST_PAUSE.mul_f64(1.5)));
    }
}
