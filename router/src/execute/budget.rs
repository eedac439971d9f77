//! The caller's time, divided between the hops.
//!
//! A hop may take all the time there is but for two things: a reserve, in which what is there is still sent, and a part
//! for each hop that is to come. So a hop that hangs never takes the whole deadline with it, and the next rung of the
//! ladder has time to stand on. What a hop does not use is left to those after it.

use std::time::Duration;

use trivium_service_kit::Deadline;

use crate::options::HopOptions;

/// The most that is kept to send what is there.
const MAX_RESERVE: Duration = Duration::from_millis(50);

/// The part of the time that is kept to send what is there, where that is less: one in so many.
const RESERVE_PART: u32 = 10;

/// The part of the time that is kept for each hop to come: one in so many.
const LATER_PART: u32 = 5;

/// A hop of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HopKind {
    /// Intent and vector.
    Analyze,
    /// The search of all collections.
    Search,
    /// The answer.
    Generate,
}

impl HopKind {
    /// The most that the hop may take, whatever the caller allows.
    fn cap(self, caps: &HopOptions) -> Duration {
        match self {
            Self::Analyze => caps.analyze(),
            Self::Search => caps.search(),
            Self::Generate => caps.generate(),
        }
    }

    /// The most that is kept for the hop by those before it: enough for words alone to be searched, or for the first
    /// words of an answer.
    fn kept(self) -> Duration {
        match self {
            Self::Analyze => Duration::ZERO,
            Self::Search => Duration::from_millis(250),
            Self::Generate => Duration::from_millis(500),
        }
    }
}

/// The hops that may come after one, on a road with retrieval. A search that is made again has as many after it as the
/// analysis.
pub(super) fn after(hop: HopKind, wants_answer: bool) -> &'static [HopKind] {
    match (hop, wants_answer) {
        (HopKind::Analyze, true) => &[HopKind::Search, HopKind::Generate],
        (HopKind::Analyze, false) => &[HopKind::Search],
        (HopKind::Search, true) => &[HopKind::Generate],
        (HopKind::Search, false) | (HopKind::Generate, _) => &[],
    }
}

/// The time for a hop, of what is left to the caller's deadline: at most the hop's own cap.
pub(super) fn share(remaining: Duration, hop: HopKind, later: &[HopKind], caps: &HopOptions) -> Duration {
    let later = later.iter().map(|hop| hop.kept().min(remaining / LATER_PART)).sum::<Duration>();
    remaining.saturating_sub(reserve(remaining) + later).min(hop.cap(caps))
}

/// The deadline of a hop that begins now.
pub(super) fn deadline(whole: Deadline, hop: HopKind, later: &[HopKind], caps: &HopOptions) -> Deadline {
    Deadline::after(share(whole.remaining(), hop, later, caps)).min(whole)
}

fn reserve(remaining: Duration) -> Duration {
    (remaining / RESERVE_PART).min(MAX_RESERVE)
}

#[cfg(test)]
mod tests {
    use HopKind::{Analyze, Generate, Search};
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn time_is_divided_as_tabled() {
        // Remaining time, hop, later hops, the hop's share; all in milliseconds.
        let table: [(u64, HopKind, &[HopKind], u64); 9] = [
            (30_000, Analyze, &[Search, Generate], 10_000),
            (30_000, Generate, &[], 29_950),
            (2_000, Analyze, &[Search, Generate], 1_300),
            (1_000, Analyze, &[Search, Generate], 550),
            (1_000, Analyze, &[], 950),
            (700, Search, &[Generate], 510),
            (100, Analyze, &[Search, Generate], 50),
            (100, Generate, &[], 90),
            (0, Analyze, &[Search, Generate], 0),
        ];
        for (remaining, hop, later, expected) in table {
            let share = share(ms(remaining), hop, later, &HopOptions::default());
            assert_eq!(share, ms(expected), "{remaining} ms for {hop:?} before {later:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_hop_takes_the_later_ones_and_the_reserve_are_left(
            remaining_us in 0_u64..300_000_000,
            analyze_ms in 1_u64..60_000,
            search_ms in 1_u64..60_000,
            generate_ms in 1_u64..300_000,
        ) {
            let caps = HopOptions { analyze_ms, search_ms, generate_ms, ..HopOptions::default() };
            let whole = Duration::from_micros(remaining_us);
            let mut left = whole;
            let hops = [Analyze, Search, Generate];
            for (place, hop) in hops.into_iter().enumerate() {
                let share = share(left, hop, &hops[place + 1..], &caps);
                prop_assert!(share <= hop.cap(&caps));
                // Every hop takes all that it may, and each still gets a part of the whole.
                prop_assert!(share >= hop.cap(&caps).min(whole / 10).min(ms(100)), "{:?} of {:?} for {:?}", share, whole, hop);
                left -= share;
            }
            prop_assert!(left >= (whole / 200).min(ms(10)), "{:?} of {:?} is left", left, whole);
        }

        #[test]
        fn more_time_is_never_less_for_a_hop(less_us in 0_u64..100_000_000, more_us in 0_u64..100_000_000) {
            let (less, more) = (less_us.min(more_us), less_us.max(more_us));
            for (hop, later) in [(Analyze, &[Search, Generate][..]), (Search, &[Generate]), (Generate, &[])] {
                let of = |micros| share(Duration::from_micros(micros), hop, later, &HopOptions::default());
                prop_assert!(of(less) <= of(more));
            }
        }
    }
}
