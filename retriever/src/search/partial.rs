//! A search of both legs that answers with one, because the other failed or was late.

use super::{Leg, LegReport};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use trivium_service_kit::{Deadline, Error, Reason};

/// What is kept of the time that is left, so that the hits of the leg that is there can still be read and sent.
const RESERVE: Duration = Duration::from_millis(25);

/// Leave to answer with one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// The most that a leg may take, from the start of the search; `None` for all the time there is.
    pub leg_budget: Option<Duration>,
}

/// Why a leg is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The entry of the error catalogue.
    pub reason: Reason,
    /// What happened.
    pub detail: String,
}

/// Both legs of a search, one of which may be missing.
pub(super) struct Settled<T> {
    /// The legs that are there, the lexical one first.
    pub(super) outcomes: Vec<T>,
    /// The one that is not.
    pub(super) missing: Option<LegReport>,
}

impl Partial {
    /// The moment at which a leg is late: when its budget is used up, and before the deadline in any case. `remaining` is
    /// the time to the deadline; a quarter of it is kept where that is less than [`RESERVE`].
    fn leg_time(self, remaining: Duration) -> Duration {
        let most = remaining.saturating_sub(RESERVE.min(remaining / 4));
        self.leg_budget.map_or(most, |budget| budget.min(most))
    }
}

/// Runs both legs side by side, each within its time, and settles for one where the other fails.
///
/// # Errors
/// When both fail, and when the collection was deleted, which no leg outlives.
pub(super) async fn settle<T>(
    partial: Partial,
    deadline: Deadline,
    lexical: impl Future<Output = Result<T, Error>>,
    semantic: impl Future<Output = Result<T, Error>>,
) -> Result<Settled<T>, Error> {
    let started = Instant::now();
    let limit = Deadline::after(partial.leg_time(deadline.remaining()));
    let (lexical, semantic) =
        tokio::join!(limit.limit("the lexical leg", lexical), limit.limit("the semantic leg", semantic));
    let missing = |leg, error: &Error| LegReport {
        leg,
        candidates: 0,
        elapsed: started.elapsed(),
        missing: Some(Missing { reason: error.reason(), detail: error.message().to_owned() }),
    };
    match (lexical.flatten(), semantic.flatten()) {
        (Ok(lexical), Ok(semantic)) => Ok(Settled { outcomes: vec![lexical, semantic], missing: None }),
        (Ok(there), Err(error)) if can_be_missed(&error) => {
            Ok(Settled { outcomes: vec![there], missing: Some(missing(Leg::Semantic, &error)) })
        }
        (Err(error), Ok(there)) if can_be_missed(&error) => {
            Ok(Settled { outcomes: vec![there], missing: Some(missing(Leg::Lexical, &error)) })
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// A collection that was deleted has no leg to answer with.
fn can_be_missed(error: &Error) -> bool {
    error.reason() != Reason::CollectionNotFound
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_leg_leaves_time_to_answer(budget_ms in prop::option::of(0_u64..100_000), remaining_us in 0_u64..100_000_000) {
            let remaining = Duration::from_micros(remaining_us);
            let partial = Partial { leg_budget: budget_ms.map(Duration::from_millis) };
            let time = partial.leg_time(remaining);
            prop_assert!(time <= remaining);
            prop_assert!(remaining - time >= RESERVE.min(remaining / 4));
            prop_assert!(partial.leg_budget.is_none_or(|budget| time <= budget));
            prop_assert!(time >= partial.leg_budget.unwrap_or(remaining).min(remaining / 4 * 3));
        }
    }

    const ANY_TIME: Partial = Partial { leg_budget: None };

    async fn fails(reason: Reason) -> Result<&'static str, Error> {
        Err(Error::new(reason, "as the test asked"))
    }

    async fn gives(leg: &'static str) -> Result<&'static str, Error> {
        Ok(leg)
    }

    async fn settled(
        lexical: impl Future<Output = Result<&'static str, Error>>,
        semantic: impl Future<Output = Result<&'static str, Error>>,
    ) -> Result<(Vec<&'static str>, Option<(Leg, Reason)>), Reason> {
        let settled = settle(ANY_TIME, Deadline::after(Duration::from_millis(200)), lexical, semantic).await;
        let settled = settled.map_err(|error| error.reason())?;
        let missing = settled.missing.map(|report| (report.leg, report.missing.expect("it says why").reason));
        Ok((settled.outcomes, missing))
    }

    #[tokio::test]
    async fn one_leg_answers_where_the_other_fails_or_hangs() {
        let (failed, late, gone) = (Reason::CollectionDamaged, Reason::DeadlineExceeded, Reason::CollectionNotFound);
        let hangs = std::future::pending;
        assert_eq!(settled(gives("l"), gives("s")).await, Ok((vec!["l", "s"], None)));
        assert_eq!(settled(gives("l"), fails(failed)).await, Ok((vec!["l"], Some((Leg::Semantic, failed)))));
        assert_eq!(settled(fails(failed), gives("s")).await, Ok((vec!["s"], Some((Leg::Lexical, failed)))));
        assert_eq!(settled(gives("l"), hangs()).await, Ok((vec!["l"], Some((Leg::Semantic, late)))));
        assert_eq!(settled(hangs(), gives("s")).await, Ok((vec!["s"], Some((Leg::Lexical, late)))));
        assert_eq!(settled(fails(failed), hangs()).await, Err(failed));
        assert_eq!(settled(hangs(), hangs()).await, Err(late));
        assert_eq!(settled(gives("l"), fails(gone)).await, Err(gone));
        assert_eq!(settled(fails(gone), gives("s")).await, Err(gone));
    }
}
