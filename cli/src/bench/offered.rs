//! Calls that are offered at a rate, whatever becomes of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::{JoinError, JoinSet};
use trivium_service_kit::{Error, Reason};

use super::{
    latency::Latencies,
    load::{Call, Target, is_refusal},
};

/// What is offered, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// The kind of call.
    pub call: Call,
    /// Calls a second.
    pub per_second: f64,
    /// For how long.
    pub lasting: Duration,
}

/// What became of the calls. Each is in exactly one of the three.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How long the served ones took, counted from when each was due.
    pub served: Latencies,
    /// How long refusals took, counted from when each call was sent.
    pub refused: Latencies,
    /// Refusals that did not say when to come back.
    pub without_hint: usize,
    /// Calls that failed otherwise, by reason.
    pub failed: std::collections::BTreeMap<&'static str, usize>,
}

/// A tally as it is reported.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Calls a second that were offered.
    pub offered_per_second: f64,
    /// Calls that were offered.
    pub offered: usize,
    /// Those that were served.
    pub served: usize,
    /// Those that were refused because there was enough to do.
    pub refused: usize,
    /// Refusals that did not say when to come back.
    pub refused_without_hint: usize,
    /// Those that failed otherwise.
    pub failed: usize,
    /// Median latency of the served.
    pub p50_ms: f64,
    /// Their 95th percentile.
    pub p95_ms: f64,
    /// Their 99th percentile.
    pub p99_ms: f64,
    /// The 99th percentile of the time that a refusal took.
    pub refusal_p99_ms: f64,
}

impl Tally {
    /// All calls.
    pub fn offered(&self) -> usize {
        self.served.len() + self.refused.len() + self.failed.values().sum::<usize>()
    }

    /// The report.
    pub fn row(&self, per_second: f64) -> Row {
        Row {
            offered_per_second: per_second,
            offered: self.offered(),
            served: self.served.len(),
            refused: self.refused.len(),
            refused_without_hint: self.without_hint,
            failed: self.failed.values().sum(),
            p50_ms: self.served.percentile_ms(0.5),
            p95_ms: self.served.percentile_ms(0.95),
            p99_ms: self.served.percentile_ms(0.99),
            refusal_p99_ms: self.refused.percentile_ms(0.99),
        }
    }

    fn take(&mut self, due: Instant, sent: Instant, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) => self.served.push(due.elapsed()),
            Err(error) if is_refusal(&error) => {
                self.refused.push(sent.elapsed());
                self.without_hint += usize::from(error.retry_after().is_none());
            }
            Err(error) => *self.failed.entry(error.reason().as_str()).or_default() += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.served.extend(other.served);
        self.refused.extend(other.refused);
        self.without_hint += other.without_hint;
        for (reason, calls) in other.failed {
            *self.failed.entry(reason).or_default() += calls;
        }
    }
}

/// Makes the calls of `offer` from as many clients as there are targets, each with a connection of its own. A call that comes
/// while all clients are busy waits for one, and the wait counts.
///
/// # Errors
/// Only when a client ends abnormally: calls that fail are counted.
pub async fn offer(targets: &[Target], offer: Offer) -> Result<Tally, Error> {
    let calls = (offer.per_second * offer.lasting.as_secs_f64()).round() as usize;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for target in targets {
        clients.spawn(client(target.clone(), offer, Arc::clone(&next), calls, began));
    }
    let mut all = Tally::default();
    while let Some(ended) = clients.join_next().await {
        all.add(ended.map_err(abnormal)?);
    }
    Ok(all)
}

async fn client(target: Target, offer: Offer, next: Arc<AtomicUsize>, calls: usize, began: Instant) -> Tally {
    let mut tally = Tally::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            return tally;
        }
        let due = began + Duration::from_secs_f64(number as f64 / offer.per_second);
        tokio::time::sleep_until(due.into()).await;
        let sent = Instant::now();
        let outcome = target.call(offer.call, number).await;
        tally.take(due, sent, outcome.map(drop));
    }
}

fn abnormal(error: JoinError) -> Error {
    Error::new(Reason::Internal, format!("a client ended abnormally: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_counted_once() {
        let now = Instant::now();
        let mut tally = Tally::default();
        tally.take(now, now, Ok(()));
        tally.take(now, now, Err(Error::new(Reason::Overloaded, "full").with_retry_after(Duration::from_millis(5))));
        tally.take(now, now, Err(Error::new(Reason::Overloaded, "full")));
        tally.take(now, now, Err(Error::new(Reason::Internal, "broken")));
        let mut all = tally.clone();
        all.add(tally);
        let row = all.row(10.0);
        assert_eq!((row.offered, row.served, row.refused, row.failed), (8, 2, 4, 2));
        assert_eq!(row.refused_without_hint, 2);
    }
}
