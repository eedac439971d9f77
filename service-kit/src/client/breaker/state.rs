//! The circuit breaker as a state machine. It reads no clock: every moment is an argument.
//!
//! Closed, it counts the calls of the last ten seconds; when enough of them failed it opens. Open, it refuses every call
//! until its pause is over. Then it is half open: one call at a time goes through as a probe. A probe that fails opens it
//! again for twice as long; two that succeed in a row close it.

use std::time::Duration;

use tokio::time::Instant;

/// The window in which calls are counted, in slots of a second.
const SLOTS: usize = 10;

/// Probes that must succeed in a row before all calls are let through again.
const PROBES: u32 = 2;

/// How often a pause is doubled at most.
const DOUBLINGS: u32 = 4;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The least calls that say anything.
    pub calls: u32,
    /// The share of them that must have failed, in percent.
    pub failures_percent: u32,
    /// The first pause.
    pub pause: Duration,
}

/// How a call ended, as far as the peer's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The peer answered, be it with an error.
    Answered,
    /// It did not answer, or broke off.
    Failed,
    /// Nothing can be said: the caller went away, or had no patience.
    Unknown,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes through, and its outcome is to be told with this mark.
    Pass(Mark),
    /// It does not; the next probe may be sent after this long.
    Refuse(Duration),
}

/// The state in which a call was let through. Calls of an earlier state change nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// The name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Every call goes through.
    Closed,
    /// None does.
    Open,
    /// One at a time does.
    HalfOpen,
}

impl Phase {
    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Breaker {
    rule: Rule,
    state: State,
    /// Goes up with each change of state.
    mark: u64,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant, doublings: u32 },
    HalfOpen { probing: bool, succeeded: u32, doublings: u32 },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(rule: Rule, now: Instant) -> Self {
        Self { rule, state: State::Closed(Window::new(now)), mark: 0 }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closed(_) => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    /// What becomes of a call that would be sent now.
    pub fn ask(&mut self, now: Instant) -> Verdict {
        if let State::Open { until, doublings } = self.state
            && now >= until
        {
            self.go(State::HalfOpen { probing: false, succeeded: 0, doublings });
        }
        match &mut self.state {
            State::Closed(_) => Verdict::Pass(Mark(self.mark)),
            State::Open { until, .. } => Verdict::Refuse(until.saturating_duration_since(now)),
            State::HalfOpen { probing: true, .. } => Verdict::Refuse(self.rule.pause),
            State::HalfOpen { probing, .. } => {
                *probing = true;
                Verdict::Pass(Mark(self.mark))
            }
        }
    }

    /// Takes the outcome of a call that was let through.
    pub fn tell(&mut self, mark: Mark, health: Health, now: Instant) {
        if mark != Mark(self.mark) {
            return;
        }
        match (&mut self.state, health) {
            (State::Closed(window), Health::Answered | Health::Failed) => {
                window.count(now, health == Health::Failed);
                if window.is_bad(now, self.rule) {
                    self.open(now, 0);
                }
            }
            (State::HalfOpen { doublings, .. }, Health::Failed) => {
                let doublings = (*doublings + 1).min(DOUBLINGS);
                self.open(now, doublings);
            }
            (State::HalfOpen { probing, succeeded, .. }, Health::Answered) => {
                *probing = false;
                *succeeded += 1;
                if *succeeded >= PROBES {
                    self.go(State::Closed(Window::new(now)));
                }
            }
            (State::HalfOpen { probing, .. }, Health::Unknown) => *probing = false,
            (State::Closed(_), Health::Unknown) | (State::Open { .. }, _) => {}
        }
    }

    fn open(&mut self, now: Instant, doublings: u32) {
        self.go(State::Open { until: now + self.rule.pause * 2_u32.pow(doublings), doublings });
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.mark += 1;
    }
}

/// The calls of the last [`SLOTS`] seconds.
#[derive(Debug)]
struct Window {
    began: Instant,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which second since the window began.
    second: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { began: now, slots: [Slot::default(); SLOTS] }
    }

    fn count(&mut self, now: Instant, failed: bool) {
        let second = self.second(now);
        let slot = &mut self.slots[(second % SLOTS as u64) as usize];
        if slot.second != second {
            *slot = Slot { second, ..Slot::default() };
        }
        slot.calls = slot.calls.saturating_add(1);
        slot.failures = slot.failures.saturating_add(failed.into());
    }

    fn is_bad(&self, now: Instant, rule: Rule) -> bool {
        let second = self.second(now);
        let recent = self.slots.iter().filter(|slot| slot.second + SLOTS as u64 > second);
        let (calls, failures) = recent.fold((0_u64, 0_u64), |(calls, failures), slot| {
            (calls + u64::from(slot.calls), failures + u64::from(slot.failures))
        });
        calls >= u64::from(rule.calls) && failures * 100 >= calls * u64::from(rule.failures_percent)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

#[cfg(test)]
mod tests;
