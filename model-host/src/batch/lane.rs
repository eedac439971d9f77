//! One lane of one model: the texts that wait, by caller, and whose turn it is.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Caller, Entry, Formed};

/// Texts of up to this many tokens are never kept apart by length.
const SMALLEST_BUCKET_TOKENS: usize = 16;

/// The texts that wait in one lane. Each caller has a line of its own, in the order in
/// which its texts came; the callers take turns.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    /// The lines, the caller whose turn it is first; none is empty.
    lines: VecDeque<Line<T>>,
}

#[derive(Debug)]
struct Line<T> {
    caller: Caller,
    entries: VecDeque<Entry<T>>,
}

impl<T> Waiting<T> {
    pub(super) fn new() -> Self {
        Self { lines: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(|line| line.entries.len()).sum()
    }

    /// The oldest text of each caller.
    pub(super) fn oldest(&self) -> impl Iterator<Item = &T> {
        self.lines.iter().filter_map(|line| line.entries.front()).map(|entry| &entry.work)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds entries to the end of their caller's line.
    pub(super) fn push(&mut self, caller: Caller, entries: Vec<Entry<T>>) {
        if entries.is_empty() {
            return;
        }
        match self.lines.iter_mut().find(|line| line.caller == caller) {
            Some(line) => line.entries.extend(entries),
            None => self.lines.push_back(Line { caller, entries: entries.into() }),
        }
    }

    /// Takes out the next batch: the oldest text of the caller whose turn it is, then, one
    /// from each caller in turn, others of similar length as long as the padded batch stays
    /// within `budget_tokens`. A text alone runs whatever its length.
    pub(super) fn take(&mut self, budget_tokens: usize, now: Instant, abandoned: &impl Fn(&T) -> bool) -> Formed<T> {
        let mut formed = Formed { batch: Vec::new(), expired: self.sweep(now, abandoned) };
        let Some(first) = self.lines.front_mut().and_then(|line| line.entries.pop_front()) else {
            return formed;
        };
        let bucket = bucket(first.tokens);
        let mut longest = first.tokens;
        formed.batch.push(first);
        // The caller of the first text has had its turn of this round already.
        let mut turn = 1;
        loop {
            let before = formed.batch.len();
            for line in self.lines.iter_mut().skip(turn) {
                let count = formed.batch.len() + 1;
                let fits = |entry: &Entry<T>| {
                    self::bucket(entry.tokens) == bucket && longest.max(entry.tokens) * count <= budget_tokens
                };
                if let Some(entry) = line.take_first(fits) {
                    longest = longest.max(entry.tokens);
                    formed.batch.push(entry);
                }
            }
            // A round of the others alone that added nothing does not mean that the first
            // caller has nothing more to add.
            if formed.batch.len() == before && turn == 0 {
                break;
            }
            turn = 0;
        }
        self.lines.rotate_left(1);
        self.lines.retain(|line| !line.entries.is_empty());
        formed
    }

    /// Drops what nobody waits for, and gives back what waited too long.
    fn sweep(&mut self, now: Instant, abandoned: &impl Fn(&T) -> bool) -> Vec<Entry<T>> {
        let mut expired = Vec::new();
        for line in &mut self.lines {
            line.entries.retain(|entry| !abandoned(&entry.work));
            let late = |entry: &Entry<T>| entry.deadline.is_some_and(|deadline| deadline <= now);
            if line.entries.iter().any(late) {
                let (past, kept) = line.entries.drain(..).partition::<VecDeque<_>, _>(late);
                expired.extend(past);
                line.entries = kept;
            }
        }
        self.lines.retain(|line| !line.entries.is_empty());
        expired
    }
}

impl<T> Line<T> {
    fn take_first(&mut self, wanted: impl Fn(&Entry<T>) -> bool) -> Option<Entry<T>> {
        let index = self.entries.iter().position(wanted)?;
        self.entries.remove(index)
    }
}

/// Texts of one bucket differ by less than a factor of two in length, so that less than
/// half of a batch is padding.
fn bucket(tokens: usize) -> usize {
    tokens.next_power_of_two().max(SMALLEST_BUCKET_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: usize = 64;

    fn entry(work: usize, tokens: usize) -> Entry<usize> {
        Entry { tokens, deadline: None, may_widen: true, work }
    }

    /// Entry `i` of `texts` belongs to the caller and has the length that stand there.
    fn lane(texts: &[(u64, usize)]) -> Waiting<usize> {
        let mut lane = Waiting::new();
        for (index, &(caller, tokens)) in texts.iter().enumerate() {
            lane.push(Caller(caller), vec![entry(index, tokens)]);
        }
        lane
    }

    fn next(lane: &mut Waiting<usize>) -> Vec<usize> {
        lane.take(BUDGET, Instant::now(), &|_| false).batch.iter().map(|entry| entry.work).collect()
    }

    #[test]
    fn batches_by_length_and_budget() {
        for (lengths, batches) in [
            (vec![], vec![vec![]]),
            (vec![12], vec![vec![0]]),
            // Short texts share a bucket; 5 x 13 would be over the budget of 64.
            (vec![12, 5, 12, 13, 12], vec![vec![0, 1, 2, 3], vec![4]]),
            // A long text does not make a short one wait for its padding.
            (vec![30, 5, 31, 6], vec![vec![0, 2], vec![1, 3]]),
            // The oldest decides, however long it is.
            (vec![500, 5, 400], vec![vec![0], vec![1], vec![2]]),
            // One that does not fit lets a shorter one pass, and is then the oldest.
            (vec![20, 30, 30, 20], vec![vec![0, 1], vec![2, 3]]),
        ] {
            let mut lane = lane(&lengths.iter().map(|&tokens| (1, tokens)).collect::<Vec<_>>());
            for batch in batches {
                assert_eq!(next(&mut lane), batch, "{lengths:?}");
            }
            assert!(lane.is_empty(), "{lengths:?}");
        }
    }

    #[test]
    fn callers_take_turns() {
        // Caller 1 came first with six texts; 2 and 3 bring one each. Four fit into a batch.
        let mut lane = lane(&[(1, 16), (1, 16), (1, 16), (1, 16), (1, 16), (1, 16), (2, 16), (3, 16)]);
        assert_eq!(next(&mut lane), [0, 6, 7, 1]);
        assert_eq!(next(&mut lane), [2, 3, 4, 5]);
        assert!(lane.is_empty());
    }

    #[test]
    fn the_first_place_goes_round_too() {
        // Texts so long that each runs alone.
        let mut lane = lane(&[(1, 60), (1, 60), (1, 60), (2, 60), (2, 60)]);
        let order: Vec<usize> = (0..5).flat_map(|_| next(&mut lane)).collect();
        assert_eq!(order, [0, 3, 1, 4, 2]);
    }

    #[test]
    fn one_caller_of_other_lengths_does_not_stop_the_round() {
        let mut lane = lane(&[(1, 16), (1, 16), (2, 60), (1, 16)]);
        assert_eq!(next(&mut lane), [0, 1, 3]);
        assert_eq!(next(&mut lane), [2]);
    }

    proptest! {
        #[test]
        fn every_text_runs_once_in_its_callers_order(
            texts in prop::collection::vec((0u64..4, 1usize..200), 0..100),
        ) {
            let mut lane = lane(&texts);
            let mut seen: Vec<usize> = Vec::new();
            while !lane.is_empty() {
                let batch = next(&mut lane);
                prop_assert!(!batch.is_empty());
                let longest = batch.iter().map(|&i| texts[i].1).max().unwrap();
                let shortest = batch.iter().map(|&i| texts[i].1).min().unwrap();
                prop_assert!(batch.len() == 1 || longest * batch.len() <= BUDGET);
                prop_assert!(longest <= SMALLEST_BUCKET_TOKENS || longest < 2 * shortest);
                // The first of a batch is the oldest of its caller.
                let caller = texts[batch[0]].0;
                let oldest = (0..texts.len()).find(|i| texts[*i].0 == caller && !seen.contains(i));
                prop_assert_eq!(Some(batch[0]), oldest);
                seen.extend(batch);
                prop_assert_eq!(lane.len(), texts.len() - seen.len());
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..texts.len()).collect::<Vec<_>>());
        }

        #[test]
        fn nobody_waits_longer_than_one_turn_of_everyone(callers in prop::collection::vec(0u64..6, 1..60)) {
            let texts: Vec<(u64, usize)> = callers.iter().map(|&caller| (caller, 60)).collect();
            let mut lane = lane(&texts);
            let mut last: std::collections::BTreeMap<u64, usize> = std::collections::BTreeMap::new();
            for turn in 0..texts.len() {
                let batch = next(&mut lane);
                let caller = texts[batch[0]].0;
                if let Some(before) = last.insert(caller, turn) {
                    prop_assert!(turn - before <= 6);
                }
            }
        }
    }
}
