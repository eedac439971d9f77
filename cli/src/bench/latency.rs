//! Latencies and their percentiles.

use std::time::Duration;

/// How long each of many calls took.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    seconds: Vec<f64>,
}

impl Latencies {
    /// Adds one call.
    pub fn push(&mut self, elapsed: Duration) {
        self.seconds.push(elapsed.as_secs_f64());
    }

    /// Adds all calls of another client.
    pub fn extend(&mut self, other: Self) {
        self.seconds.extend(other.seconds);
    }

    /// How many calls there were.
    pub fn len(&self) -> usize {
        self.seconds.len()
    }

    /// The latency that the share `p` (0 to 1) of all calls stayed within, in
    /// milliseconds, by the nearest-rank method; 0 without calls.
    pub fn percentile_ms(&self, p: f64) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (p * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted.get(rank.min(sorted.len()).saturating_sub(1)).map_or(0.0, |seconds| seconds * 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_follow_the_nearest_rank() {
        let mut latencies = Latencies::default();
        for ms in (1..=100).rev() {
            latencies.push(Duration::from_millis(ms));
        }
        let table = [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)];
        for (p, expected) in table {
            assert!((latencies.percentile_ms(p) - expected).abs() < 1e-9, "{p}");
        }
        assert_eq!(latencies.len(), 100);
    }

    #[test]
    fn no_calls_took_no_time() {
        assert_eq!(Latencies::default().percentile_ms(0.99), 0.0);
    }
}
