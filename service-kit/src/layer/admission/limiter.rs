//! How many calls may run at once, found by measuring. Pure: every moment is an argument.
//!
//! The measure is the slow-down: the latency of a call over the latency of calls of its method when next to nothing else
//! ran. While it stays below what is tolerated, the limit grows; above, it shrinks in proportion (the gradient of
//! Netflix's `concurrency-limits`, with the tolerated slow-down in place of a queue size). Latencies are compared by their
//! logarithms, so that a few long calls do not drown many short ones.
//!
//! The latency of an idle service can only be seen when it idles. A service that is never idle is made so for a moment
//! every [`PROBE_EVERY`]: the limit drops to its floor until a few calls have been timed, as BBR does with its round trips.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Calls of one measurement.
const WINDOW_CALLS: u32 = 30;

/// The least time of one measurement.
const WINDOW: Duration = Duration::from_millis(100);

/// By how much one measurement changes the limit at most.
const STEP: f64 = 1.25;

/// The limit before anything was measured.
const FIRST_LIMIT: f64 = 64.0;

/// How long a busy service goes without its idle latency being measured.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Calls that are timed in a probe.
const PROBE_CALLS: u32 = 16;

/// How long a probe lasts at most.
const PROBE_AT_MOST: Duration = Duration::from_secs(2);

/// The share of the idle latency that one call decides, once there have been some.
const IDLE_SHARE: f64 = 0.1;

/// The span over which the rate of calls is measured.
const RATE_SPAN: Duration = Duration::from_secs(1);

/// What a refused caller is told before a rate is known, and the bounds of what it is told.
const FIRST_HINT: Duration = Duration::from_millis(100);
const SHORTEST_HINT: Duration = Duration::from_millis(10);
const LONGEST_HINT: Duration = Duration::from_secs(5);

/// Between what the limit moves, and what it aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    /// The floor: the least that the limit may be. While no more than this run, each counts as alone.
    pub min: usize,
    /// The most that the limit may be.
    pub max: usize,
    /// How many times longer a call may take than one that is alone; above 1.
    pub slowdown: f64,
}

/// A call that was let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    at: Instant,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Limiter {
    bounds: Bounds,
    limit: f64,
    in_flight: usize,
    /// When more than the floor ran last.
    crowded: Option<Instant>,
    refused: u64,
    idle: Idle,
    window: Window,
    rate: Rate,
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Probe {
    until: Instant,
    calls_left: u32,
}

impl Limiter {
    /// A limiter that has seen nothing.
    pub fn new(bounds: Bounds, now: Instant) -> Self {
        let limit = FIRST_LIMIT.clamp(bounds.min as f64, bounds.max as f64);
        Self {
            bounds,
            limit,
            in_flight: 0,
            crowded: None,
            refused: 0,
            idle: Idle::new(now),
            window: Window::new(now),
            rate: Rate::new(now),
            probe: None,
        }
    }

    /// How many calls may run at once now.
    pub fn limit(&self) -> usize {
        if self.probe.is_some() { self.bounds.min } else { self.limit as usize }
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// How long its caller should wait, when as many run as may.
    pub fn enter(&mut self, now: Instant) -> Result<Entry, Duration> {
        if self.probe.as_ref().is_some_and(|probe| now >= probe.until) {
            self.probe = None;
        }
        if self.in_flight >= self.limit() {
            self.refused = self.refused.wrapping_add(1);
            self.begin_probe(now);
            return Err(self.hint());
        }
        self.in_flight += 1;
        self.window.most_in_flight = self.window.most_in_flight.max(self.in_flight);
        self.look_around(now);
        Ok(Entry { at: now })
    }

    fn look_around(&mut self, now: Instant) {
        if self.in_flight > self.bounds.min {
            self.crowded = Some(now);
        }
    }

    /// Takes a call out. `timed` is its method, when its latency says something.
    pub fn leave(&mut self, entry: Entry, timed: Option<&'static str>, now: Instant) {
        self.look_around(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.rate.count(now);
        let Some(method) = timed else { return };
        // A clock that stands still must not make a logarithm of nothing.
        let latency = now.saturating_duration_since(entry.at).max(Duration::from_micros(1)).as_secs_f64().ln();
        let was_alone = self.crowded.is_none_or(|crowded| crowded < entry.at);
        if was_alone {
            self.idle.learn(method, latency, now);
            self.count_for_probe();
        }
        if let Some(idle) = self.idle.latency(method) {
            self.window.add(latency - idle);
            self.adjust(now);
        }
    }

    /// Whether a latency of that method would be a slow one.
    pub fn is_slow(&self, entry: Entry, method: &'static str, now: Instant) -> bool {
        let latency = now.saturating_duration_since(entry.at).as_secs_f64();
        self.idle.latency(method).is_some_and(|idle| latency >= idle.exp())
    }

    fn adjust(&mut self, now: Instant) {
        if !self.window.is_full(now) {
            return;
        }
        let slowdown = self.window.mean().exp();
        if slowdown < 1.0 {
            // Faster under load than alone: what was taken for idle was not, or the service got faster.
            self.idle.shift(self.window.mean());
        }
        let was_used = self.window.most_in_flight as f64 >= self.limit / 2.0;
        if was_used && self.probe.is_none() {
            let step = (self.bounds.slowdown / slowdown.max(1.0)).clamp(1.0 / STEP, STEP);
            self.limit = (self.limit * step).clamp(self.bounds.min as f64, self.bounds.max as f64);
        }
        self.window = Window::after(self.in_flight, now);
    }

    fn begin_probe(&mut self, now: Instant) {
        let is_due = self.idle.is_unknown() || now >= self.idle.measured + PROBE_EVERY;
        // At the floor every call is alone already.
        if is_due && self.probe.is_none() && self.limit() > self.bounds.min {
            self.probe = Some(Probe { until: now + PROBE_AT_MOST, calls_left: PROBE_CALLS });
            // If it fails, the next comes no sooner than if it had not.
            self.idle.measured = now;
        }
    }

    fn count_for_probe(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.calls_left = probe.calls_left.saturating_sub(1);
            if probe.calls_left == 0 {
                self.probe = None;
            }
        }
    }

    /// The time in which as many calls end as run now, give or take a half, so that those who are refused together do not
    /// come back together.
    fn hint(&self) -> Duration {
        let Some(rate) = self.rate.per_second() else { return FIRST_HINT };
        let spread = 0.5 + (self.refused as f64 * 0.618_033_988_749_895).fract();
        let seconds = self.in_flight as f64 / rate * spread;
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_HINT).clamp(SHORTEST_HINT, LONGEST_HINT)
    }
}

/// The latency of each method on an idle service, as a logarithm of seconds. The contract bounds the methods.
#[derive(Debug)]
struct Idle {
    methods: HashMap<&'static str, (f64, u32)>,
    measured: Instant,
}

impl Idle {
    fn new(now: Instant) -> Self {
        Self { methods: HashMap::new(), measured: now }
    }

    fn is_unknown(&self) -> bool {
        self.methods.is_empty()
    }

    fn latency(&self, method: &'static str) -> Option<f64> {
        self.methods.get(method).map(|(latency, _)| *latency)
    }

    fn learn(&mut self, method: &'static str, latency: f64, now: Instant) {
        let (mean, calls) = self.methods.entry(method).or_insert((latency, 0));
        *calls = calls.saturating_add(1);
        // A plain mean at first, then one that forgets.
        *mean += (latency - *mean) * IDLE_SHARE.max(1.0 / f64::from(*calls));
        self.measured = now;
    }

    fn shift(&mut self, by: f64) {
        for (latency, _) in self.methods.values_mut() {
            *latency += by;
        }
    }
}

/// The calls since the limit last changed.
#[derive(Debug)]
struct Window {
    began: Instant,
    /// Calls that were let in under the limit of before, and say nothing. As many are passed over as ran when it changed:
    /// to ask each when it began would pass over the long ones of those that began since.
    to_pass_over: usize,
    calls: u32,
    /// Logarithms of slow-downs.
    sum: f64,
    most_in_flight: usize,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self::after(0, now)
    }

    fn after(in_flight: usize, now: Instant) -> Self {
        Self { began: now, to_pass_over: in_flight, calls: 0, sum: 0.0, most_in_flight: in_flight }
    }

    fn add(&mut self, slowdown: f64) {
        match self.to_pass_over.checked_sub(1) {
            Some(left) => self.to_pass_over = left,
            None => {
                self.calls += 1;
                self.sum += slowdown;
            }
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.calls >= WINDOW_CALLS && now >= self.began + WINDOW
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.calls.max(1))
    }
}

/// Calls that end in a second.
#[derive(Debug)]
struct Rate {
    began: Instant,
    calls: u32,
    last: Option<f64>,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { began: now, calls: 0, last: None }
    }

    fn count(&mut self, now: Instant) {
        self.calls = self.calls.saturating_add(1);
        let span = now.saturating_duration_since(self.began);
        if span >= RATE_SPAN {
            *self = Self { began: now, calls: 0, last: Some(f64::from(self.calls) / span.as_secs_f64()) };
        }
    }

    fn per_second(&self) -> Option<f64> {
        self.last
    }
}

#[cfg(test)]
mod tests;
