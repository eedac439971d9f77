//! Which waiting texts run together next. Pure: the caller brings the time.

use std::collections::VecDeque;
use std::time::Instant;

/// Texts of up to this many tokens are never kept apart by length.
const SMALLEST_BUCKET_TOKENS: usize = 16;

/// Where a text waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A person waits for it; always served first.
    Query,
    /// Bulk embedding; served when no query waits.
    Bulk,
}

/// Which lanes a worker may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Queries alone, so that one worker is always free for them.
    Queries,
    /// Queries first, then bulk work.
    Everything,
}

/// How much may run together, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most tokens of one batch, padding included. A single longer text runs alone.
    pub batch_tokens: usize,
    /// The most texts that wait in the query lane.
    pub query_texts: usize,
    /// The most texts that wait in the bulk lane.
    pub bulk_texts: usize,
}

/// One waiting text.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its length.
    pub tokens: usize,
    /// When nobody waits for it any more.
    pub deadline: Option<Instant>,
    /// Whatever else the caller needs to know of it.
    pub work: T,
}

/// What a worker does next.
#[derive(Debug)]
pub struct Formed<T> {
    /// Texts that run together; empty when nothing waits.
    pub batch: Vec<Entry<T>>,
    /// Texts whose deadline passed while they waited.
    pub expired: Vec<Entry<T>>,
}

/// The lane has no room for all of the texts; none was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many texts may wait in that lane.
    pub capacity: usize,
}

/// The texts that wait, in the order in which they came.
#[derive(Debug)]
pub struct Queue<T> {
    limits: Limits,
    queries: VecDeque<Entry<T>>,
    bulk: VecDeque<Entry<T>>,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self { limits, queries: VecDeque::new(), bulk: VecDeque::new() }
    }

    /// How many texts wait in both lanes.
    pub fn len(&self) -> usize {
        self.queries.len() + self.bulk.len()
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.queries.clear();
        self.bulk.clear();
    }

    /// Adds all of `entries` to the end of a lane, or none.
    pub fn push(&mut self, lane: Lane, entries: Vec<Entry<T>>) -> Result<(), Full> {
        let (waiting, capacity) = match lane {
            Lane::Query => (&mut self.queries, self.limits.query_texts),
            Lane::Bulk => (&mut self.bulk, self.limits.bulk_texts),
        };
        if waiting.len().saturating_add(entries.len()) > capacity {
            return Err(Full { capacity });
        }
        waiting.extend(entries);
        Ok(())
    }

    /// Takes the next batch out of the queue.
    ///
    /// The oldest text that is still wanted is always in it, so that none waits for ever;
    /// younger ones of similar length join it as long as the padded batch stays within the
    /// budget. Lanes never mix. `abandoned` says whether the caller of a text has left:
    /// such texts are dropped without a word.
    pub fn form(&mut self, now: Instant, serves: Serves, abandoned: impl Fn(&T) -> bool) -> Formed<T> {
        let budget = self.limits.batch_tokens;
        let mut formed = take(&mut self.queries, budget, now, &abandoned);
        if formed.batch.is_empty() && serves == Serves::Everything {
            let bulk = take(&mut self.bulk, budget, now, &abandoned);
            formed.batch = bulk.batch;
            formed.expired.extend(bulk.expired);
        }
        formed
    }
}

fn take<T>(
    waiting: &mut VecDeque<Entry<T>>,
    budget: usize,
    now: Instant,
    abandoned: &impl Fn(&T) -> bool,
) -> Formed<T> {
    let mut formed = Formed { batch: Vec::new(), expired: Vec::new() };
    let mut longest = 0;
    let mut kept = VecDeque::with_capacity(waiting.len());
    for entry in waiting.drain(..) {
        if abandoned(&entry.work) {
            continue;
        }
        if entry.deadline.is_some_and(|deadline| deadline <= now) {
            formed.expired.push(entry);
            continue;
        }
        let joined = longest.max(entry.tokens);
        let fits = match formed.batch.first() {
            None => true,
            Some(oldest) => {
                bucket(oldest.tokens) == bucket(entry.tokens) && joined * (formed.batch.len() + 1) <= budget
            }
        };
        if fits {
            longest = joined;
            formed.batch.push(entry);
        } else {
            kept.push_back(entry);
        }
    }
    *waiting = kept;
    formed
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
    use std::time::Duration;

    const LIMITS: Limits = Limits { batch_tokens: 64, query_texts: 8, bulk_texts: 100 };

    fn entry(work: usize, tokens: usize) -> Entry<usize> {
        Entry { tokens, deadline: None, work }
    }

    fn works(entries: &[Entry<usize>]) -> Vec<usize> {
        entries.iter().map(|entry| entry.work).collect()
    }

    fn bulk_queue(lengths: &[usize]) -> Queue<usize> {
        let mut queue = Queue::new(LIMITS);
        let entries = lengths.iter().enumerate().map(|(i, &n)| entry(i, n));
        queue.push(Lane::Bulk, entries.collect()).unwrap();
        queue
    }

    fn next(queue: &mut Queue<usize>) -> Vec<usize> {
        let formed = queue.form(Instant::now(), Serves::Everything, |_| false);
        works(&formed.batch)
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
            let mut queue = bulk_queue(&lengths);
            for batch in batches {
                assert_eq!(next(&mut queue), batch, "{lengths:?}");
            }
            assert_eq!(queue.len(), 0, "{lengths:?}");
        }
    }

    #[test]
    fn queries_go_first_and_lanes_never_mix() {
        let mut queue = bulk_queue(&[5, 5]);
        queue.push(Lane::Query, vec![entry(9, 5)]).unwrap();
        assert_eq!(next(&mut queue), [9]);
        assert_eq!(next(&mut queue), [0, 1]);
    }

    #[test]
    fn a_worker_kept_for_queries_leaves_bulk_work_alone() {
        let mut queue = bulk_queue(&[5]);
        let formed = queue.form(Instant::now(), Serves::Queries, |_| false);
        assert!(formed.batch.is_empty());
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn expired_and_abandoned_texts_never_run() {
        let now = Instant::now();
        let mut queue = Queue::new(LIMITS);
        let with_deadline = |work, deadline| Entry { deadline: Some(deadline), ..entry(work, 5) };
        let entries =
            vec![with_deadline(0, now), entry(1, 5), with_deadline(2, now + Duration::from_millis(1)), entry(3, 5)];
        queue.push(Lane::Query, entries).unwrap();
        let formed = queue.form(now, Serves::Everything, |&work| work == 1);
        assert_eq!(works(&formed.expired), [0]);
        assert_eq!(works(&formed.batch), [2, 3]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_full_lane_takes_all_or_nothing() {
        let mut queue = Queue::new(LIMITS);
        let many = |n| (0..n).map(|i| entry(i, 5)).collect::<Vec<_>>();
        queue.push(Lane::Query, many(7)).unwrap();
        assert_eq!(queue.push(Lane::Query, many(2)), Err(Full { capacity: 8 }));
        assert_eq!(queue.len(), 7);
        queue.push(Lane::Query, many(1)).unwrap();
        queue.push(Lane::Bulk, many(100)).unwrap();
    }

    proptest! {
        #[test]
        fn every_text_runs_once_within_the_budget_and_the_oldest_first(
            lengths in prop::collection::vec(1usize..200, 0..100),
        ) {
            let mut queue = bulk_queue(&lengths);
            let mut waiting: Vec<usize> = (0..lengths.len()).collect();
            while !waiting.is_empty() {
                let batch = next(&mut queue);
                prop_assert_eq!(batch[0], waiting[0]);
                let longest = batch.iter().map(|&i| lengths[i]).max().unwrap();
                let shortest = batch.iter().map(|&i| lengths[i]).min().unwrap();
                prop_assert!(batch.len() == 1 || longest * batch.len() <= LIMITS.batch_tokens);
                prop_assert!(longest <= SMALLEST_BUCKET_TOKENS || longest < 2 * shortest);
                prop_assert!(batch.is_sorted());
                waiting.retain(|i| !batch.contains(i));
                prop_assert_eq!(queue.len(), waiting.len());
            }
            prop_assert!(next(&mut queue).is_empty());
        }
    }
}
