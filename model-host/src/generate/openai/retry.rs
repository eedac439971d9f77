//! Whether and when a request is sent again. Pure.

use std::time::{Duration, SystemTime};

use super::super::GenerateError;

/// No pause of our own choice is longer. What a server asks for may be.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What is left of the patience with one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    left: u32,
    backoff: Duration,
}

impl Retries {
    pub(super) fn new(most: u32, first_backoff: Duration) -> Self {
        Self { left: most, backoff: first_backoff.min(LONGEST_BACKOFF) }
    }

    /// How long to wait before the request is sent again after `error`, or `None` when the
    /// error stands: it would come again, no retry is left, or the pause would outlast
    /// `time_left`. `random` is uniform in 0 to 1.
    pub(super) fn after(&mut self, error: &GenerateError, time_left: Duration, random: f64) -> Option<Duration> {
        if self.left == 0 || !is_transient(error) {
            return None;
        }
        let own = self.backoff.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
        let asked = match error {
            GenerateError::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        };
        let pause = asked.map_or(own, |asked| asked.max(own));
        if pause >= time_left {
            return None;
        }
        self.left -= 1;
        self.backoff = self.backoff.saturating_mul(2).min(LONGEST_BACKOFF);
        Some(pause)
    }
}

/// Whether the next attempt may well go better. A time-out is not among them: the time that
/// the caller had for the first token is spent.
fn is_transient(error: &GenerateError) -> bool {
    match error {
        GenerateError::Unreachable { .. } | GenerateError::RateLimited { .. } | GenerateError::Cut { .. } => true,
        GenerateError::Status { status, .. } => matches!(status, 500 | 502 | 503 | 504),
        _ => false,
    }
}

/// Reads a `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3). A date that
/// has passed means at once.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        // Some servers send fractions, which the standard does not have.
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn name() -> String {
        "gpt".to_owned()
    }

    fn status(status: u16) -> GenerateError {
        GenerateError::Status { generator: name(), status, code: None }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let limited = GenerateError::RateLimited { generator: name(), retry_after: None };
        let unreachable = GenerateError::Unreachable { generator: name(), reason: String::new() };
        let malformed = GenerateError::Malformed { generator: name(), reason: String::new() };
        let table = [
            (status(500), true),
            (status(503), true),
            (status(501), false),
            (status(400), false),
            (status(401), false),
            (limited, true),
            (unreachable, true),
            (GenerateError::Cut { generator: name() }, true),
            (malformed, false),
        ];
        for (error, again) in table {
            let mut retries = Retries::new(1, Duration::from_millis(100));
            assert_eq!(retries.after(&error, LONG, 0.0).is_some(), again, "{error}");
            assert_eq!(retries.after(&error, LONG, 0.0), None, "the only retry is spent");
        }
    }

    #[test]
    fn a_server_is_given_the_time_it_asks_for_or_none() {
        let after =
            |seconds| GenerateError::RateLimited { generator: name(), retry_after: Some(Duration::from_secs(seconds)) };
        let mut retries = Retries::new(2, Duration::from_millis(100));
        assert_eq!(retries.after(&after(7), Duration::from_secs(7), 0.5), None);
        assert_eq!(retries.after(&after(7), Duration::from_secs(8), 0.5), Some(Duration::from_secs(7)));
        assert_eq!(retries.after(&after(0), LONG, 0.0), Some(Duration::from_millis(200)));
    }

    #[test]
    fn both_forms_of_the_header_are_read() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        let table = [
            ("120", Some(120.0)),
            (" 0 ", Some(0.0)),
            ("1.5", Some(1.5)),
            ("Wed, 21 Oct 2026 07:28:30 GMT", Some(30.0)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", Some(0.0)),
            ("-1", None),
            ("NaN", None),
            ("1e400", None),
            ("soon", None),
        ];
        for (value, expected) in table {
            assert_eq!(retry_after(value, now).map(|pause| pause.as_secs_f64()), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn pauses_grow_stay_bounded_and_vary_by_half(random in 0.0..=1.0_f64, first in 1u64..60_000) {
            let mut retries = Retries::new(20, Duration::from_millis(first));
            let mut full = Duration::from_millis(first).min(LONGEST_BACKOFF);
            while let Some(pause) = retries.after(&status(500), LONG, random) {
                prop_assert!(pause <= full && pause >= full / 2 - Duration::from_micros(1), "{pause:?} {full:?}");
                full = (full * 2).min(LONGEST_BACKOFF);
            }
        }
    }
}
