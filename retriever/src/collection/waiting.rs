//! Writes that were accepted and that no search sees yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The writes of one collection that wait for their publication, with the moment at which each came.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// A write's place among those that wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Waiting {
    /// One more write.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Place {
        let mut places = self.lock();
        let number = places.next;
        places.next += 1;
        places.since.insert(number, now);
        drop(places);
        Place { waiting: self.clone(), number }
    }

    /// How many wait, and how long the oldest has waited.
    pub(super) fn now(&self, now: Instant) -> (usize, Duration) {
        let places = self.lock();
        // Numbers are given in the order in which writes come.
        let oldest = places.since.first_key_value().map(|(_, since)| now.saturating_duration_since(*since));
        (places.since.len(), oldest.unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_still_waits_is_what_counts() {
        let waiting = Arc::new(Waiting::default());
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(waiting.now(after(9)), (0, Duration::ZERO));
        let first = waiting.enter(start);
        let second = waiting.enter(after(2));
        assert_eq!(waiting.now(after(5)), (2, Duration::from_secs(5)));
        drop(first);
        assert_eq!(waiting.now(after(5)), (1, Duration::from_secs(3)));
        drop(second);
        assert_eq!(waiting.now(after(5)), (0, Duration::ZERO));
    }
}
