//! Absolute deadlines: taken from the caller once, handed on to every hop.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{Error, Reason};

/// What a hop keeps for itself of the time that is left, so that its own answer
/// still reaches the caller when a hop below it runs out of time.
pub const HOP_MARGIN: Duration = Duration::from_millis(5);

/// The moment after which nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that lies `budget` from now. Budgets beyond a year count as a year.
    pub fn after(budget: Duration) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        Self(Instant::now() + budget.min(YEAR))
    }

    /// The deadline of a request that came in. The server's deadline layer sets
    /// it on every request; a request made by hand has [`FALLBACK`].
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or_else(|| Self::after(FALLBACK))
    }

    /// The moment itself.
    pub fn at(self) -> Instant {
        self.0
    }

    /// The time that is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The deadline for the hops below: this one, less [`HOP_MARGIN`], or less
    /// half of what is left when that is smaller.
    pub fn for_downstream(self) -> Self {
        let margin = HOP_MARGIN.min(self.remaining() / 2);
        Self(self.0 - margin)
    }

    /// A request to the hop below that carries [`Self::for_downstream`].
    pub fn request<T>(self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self.for_downstream());
        request
    }

    /// Waits for `work`, but not beyond the deadline.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`, naming `what`, when the deadline passes first.
    pub async fn limit<F: Future>(self, what: &str, work: F) -> Result<F::Output, Error> {
        timeout_at(self.0, work).await.map_err(|_| exceeded(what))
    }
}

/// The budget of a request that no server layer has stamped.
pub const FALLBACK: Duration = Duration::from_secs(30);

/// The error for work that ran out of time.
pub fn exceeded(what: &str) -> Error {
    Error::new(Reason::DeadlineExceeded, format!("the deadline passed during {what}"))
}

/// Reads the `grpc-timeout` header: at most eight digits and a unit.
/// The format is that of the gRPC over HTTP/2 protocol, section "Requests".
pub fn parse_grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Writes a `grpc-timeout` header, in the finest unit that eight digits hold.
pub fn format_grpc_timeout(budget: Duration) -> String {
    const LIMIT: u128 = 100_000_000;
    for (amount, unit) in [(budget.as_micros(), 'u'), (budget.as_millis(), 'm'), (u128::from(budget.as_secs()), 'S')] {
        if amount < LIMIT {
            return format!("{amount}{unit}");
        }
    }
    format!("{}M", (budget.as_secs() / 60).min(99_999_999))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_protocol_allows_and_nothing_else() {
        let table = [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3_000)),
            ("250m", Some(250)),
            ("5000u", Some(5)),
            ("0n", Some(0)),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("-1S", None),
            ("1.5S", None),
            ("5s", None),
            ("5é", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse_grpc_timeout(value), expected.map(Duration::from_millis), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_rounded_down(micros in 0_u64..200_000_000_000_000) {
            let budget = Duration::from_micros(micros);
            let read = parse_grpc_timeout(&format_grpc_timeout(budget)).expect("own format");
            prop_assert!(read <= budget);
            prop_assert!(budget - read <= budget / 1_000 + Duration::from_micros(1));
        }

        #[test]
        fn no_header_makes_it_panic(value in ".*") {
            let _ = parse_grpc_timeout(&value);
        }
    }

    #[test]
    fn the_hop_below_gets_less() {
        let deadline = Deadline::after(Duration::from_secs(3_600));
        assert_eq!(deadline.at() - deadline.for_downstream().at(), HOP_MARGIN);
        let passed = Deadline(Instant::now());
        assert!(passed.for_downstream() <= passed);
    }
}
