//! Calls at fixed times.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use trivium_service_kit::{Error, Reason};

use super::latency::Latencies;

/// Calls under way above which the next one waits; its latency counts from when it was due all the same.
const MOST_UNDER_WAY: usize = 1_024;

/// Starts `call(0)`, `call(1)` and so on, `per_second` of them a second for the given time. A latency is counted from when
/// its call was due, so that a stall shows in every call that it delayed.
///
/// # Errors
/// The first call that fails: figures of failing calls mean nothing.
pub async fn open_loop<F>(per_second: f64, lasting: Duration, call: impl Fn(usize) -> F) -> Result<Latencies, Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let started = Instant::now();
    let calls = (per_second * lasting.as_secs_f64()).round() as usize;
    let mut running = JoinSet::new();
    let mut latencies = Latencies::default();
    for number in 0..calls {
        let due = started + Duration::from_secs_f64(number as f64 / per_second);
        tokio::time::sleep_until(due.into()).await;
        while running.len() >= MOST_UNDER_WAY
            && let Some(ended) = running.join_next().await
        {
            latencies.push(elapsed(ended)?);
        }
        let call = call(number);
        running.spawn(async move { call.await.map(|()| due.elapsed()) });
    }
    while let Some(ended) = running.join_next().await {
        latencies.push(elapsed(ended)?);
    }
    Ok(latencies)
}

fn elapsed(ended: Result<Result<Duration, Error>, tokio::task::JoinError>) -> Result<Duration, Error> {
    ended.map_err(|error| Error::new(Reason::Internal, format!("a call ended abnormally: {error}")))?
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn every_call_is_made_once_and_counted() {
        let made = Arc::new(AtomicUsize::new(0));
        let call = |number| {
            let made = made.clone();
            async move {
                made.fetch_add(number, Ordering::Relaxed);
                Ok(())
            }
        };
        let latencies = open_loop(1_000.0, Duration::from_millis(20), call).await.expect("no call fails");
        assert_eq!((latencies.len(), made.load(Ordering::Relaxed)), (20, (0..20).sum()));
    }

    #[tokio::test]
    async fn a_call_that_fails_ends_the_measurement() {
        let call =
            |number| async move { if number == 3 { Err(Error::new(Reason::Internal, "the fourth")) } else { Ok(()) } };
        let error = open_loop(1_000.0, Duration::from_millis(10), call).await.expect_err("one call fails");
        assert_eq!(error.message(), "the fourth");
    }
}
