//! When an index is built or extended, and how many lists it has: pure functions of numbers of rows.

/// Lists of a segment. Training computes with a number of rows that grows with this one, whatever the table holds.
const MOST_LISTS: usize = 512;
/// Rows of a list at least, on average.
const FEWEST_ROWS: u64 = 32;
/// Lists of each segment that a search looks at to begin with, if there are as many; more follow where they hold fewer rows
/// than are asked for. Of the largest segments these are three in eight.
pub(in super::super) const PROBES: usize = 192;

/// Lists of a segment of so many rows.
pub(super) fn lists(rows: u64) -> usize {
    usize::try_from(rows / FEWEST_ROWS).map_or(MOST_LISTS, |lists| lists.clamp(1, MOST_LISTS))
}

/// What is due when the segments of an index cover `segments` live rows, the oldest first, and `unindexed` rows are in none,
/// where `tail_rows` may be: how many of the newest segments give way to one that covers their rows and those. `None` when
/// nothing is due.
///
/// A segment gives way when it is at most twice as large as what is written with it. So a row's segment is half as large
/// again, or larger, whenever the row is written again; and each segment that stays is more than twice as large as the next, so
/// that they are few, for each costs a search a little.
pub(super) fn due(segments: &[u64], unindexed: u64, tail_rows: u64) -> Option<usize> {
    if unindexed <= tail_rows {
        return None;
    }
    let (mut absorbed, mut together) = (0, unindexed);
    for segment in segments.iter().rev() {
        if *segment > 2 * together {
            break;
        }
        absorbed += 1;
        together += segment;
    }
    Some(absorbed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_segments_have_few_lists() {
        for (rows, expected) in [(0, 1), (31, 1), (320, 10), (3_000, 93), (16_384, 512), (u64::MAX, 512)] {
            assert_eq!(lists(rows), expected, "{rows}");
        }
    }

    #[test]
    fn rows_decide_what_is_due() {
        let cases: [(&[u64], u64, Option<usize>); 8] = [
            (&[], 1_000, None),
            (&[], 1_001, Some(0)),
            (&[10_000], 1_000, None),
            (&[10_000], 1_001, Some(0)),
            (&[10_000, 2_002], 1_001, Some(1)),
            (&[10_000, 2_003], 1_001, Some(0)),
            (&[6_006, 2_002], 1_001, Some(2)),
            (&[0, 50], 1_001, Some(2)),
        ];
        for (segments, unindexed, expected) in cases {
            assert_eq!(due(segments, unindexed, 1_000), expected, "{segments:?} {unindexed}");
        }
    }

    proptest! {
        /// However many rows come at a time, there are few segments, and each row is written into few of them.
        #[test]
        fn any_growth_keeps_segments_few(batches in prop::collection::vec(1..5_000_u64, 1..300)) {
            const TAIL: u64 = 1_000;
            let mut segments: Vec<u64> = Vec::new();
            let (mut unindexed, mut total, mut written) = (0, 0_u64, 0_u64);
            for rows in batches {
                (total, unindexed) = (total + rows, unindexed + rows);
                let Some(absorbed) = due(&segments, unindexed, TAIL) else { continue };
                let kept = segments.len() - absorbed;
                let new = segments.drain(kept..).sum::<u64>() + unindexed;
                segments.push(new);
                written += new;
                unindexed = 0;
                prop_assert_eq!(segments.iter().sum::<u64>(), total);
                let doublings = u64::from((total / TAIL).ilog2());
                prop_assert!(segments.len() as u64 <= doublings + 1, "{segments:?}");
                prop_assert!(written <= total * (2 * doublings + 3), "{written} of {total}");
            }
        }
    }
}
