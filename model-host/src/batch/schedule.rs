//! The work of all models before the cores of one machine.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::lane::Waiting;
use super::pace::{BATCH_TIME, Pace};
use super::{Caller, Entry, Formed, Full, Lane, Limits};

/// A model in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelKey(u64);

/// What the machine has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Batches of one thread each that run side by side; at least 1.
    pub batches: usize,
    /// Threads of a query that has the machine to itself; at least 1.
    pub lone_query_threads: usize,
}

/// What waits for which model, and what runs.
///
/// Queries go before bulk work, whatever their model. A query's batch starts when fewer
/// query batches run than there are cores, so that it never waits for a bulk batch to end;
/// a bulk batch starts only on a core that nothing else uses. So the cores are shared for
/// at most the rest of the bulk batches that ran when queries came.
#[derive(Debug)]
pub struct Schedule<T> {
    cores: Cores,
    models: BTreeMap<ModelKey, Model<T>>,
    next_key: u64,
    /// The model that had the last turn in each lane.
    last: [Option<ModelKey>; 2],
    running_queries: usize,
    running_threads: usize,
}

#[derive(Debug)]
struct Model<T> {
    limits: Limits,
    pace: Pace,
    lanes: [Waiting<T>; 2],
}

/// A batch to run.
#[derive(Debug)]
pub struct Job<T> {
    /// On which model.
    pub model: ModelKey,
    /// From which lane.
    pub lane: Lane,
    /// On how many threads.
    pub threads: usize,
    /// The texts; at least one.
    pub batch: Vec<Entry<T>>,
}

/// What a worker does next.
#[derive(Debug)]
pub struct Next<T> {
    /// The batch to run, if one may start now.
    pub job: Option<Job<T>>,
    /// Texts whose deadline passed while they waited.
    pub expired: Vec<Entry<T>>,
}

impl<T> Schedule<T> {
    /// A schedule without models.
    pub fn new(cores: Cores) -> Self {
        Self {
            cores: Cores { batches: cores.batches.max(1), lone_query_threads: cores.lone_query_threads.max(1) },
            models: BTreeMap::new(),
            next_key: 0,
            last: [None; 2],
            running_queries: 0,
            running_threads: 0,
        }
    }

    /// Adds a model.
    pub fn add(&mut self, limits: Limits) -> ModelKey {
        let key = ModelKey(self.next_key);
        self.next_key += 1;
        let lanes = [Waiting::new(), Waiting::new()];
        self.models.insert(key, Model { limits, pace: Pace::default(), lanes });
        key
    }

    /// Takes a model away, with everything that waits for it.
    pub fn remove(&mut self, model: ModelKey) {
        self.models.remove(&model);
    }

    /// Takes all models away.
    pub fn clear(&mut self) {
        self.models.clear();
    }

    /// How many texts wait for a model, in both lanes.
    pub fn waiting(&self, model: ModelKey) -> usize {
        self.models.get(&model).map_or(0, |model| model.lanes.iter().map(Waiting::len).sum())
    }

    /// How many texts wait in a lane, of all models.
    pub fn waiting_in(&self, lane: Lane) -> usize {
        self.models.values().map(|model| model.lanes[lane as usize].len()).sum()
    }

    /// The oldest text of each caller of each model in a lane: the oldest of all is among them.
    pub fn oldest_in(&self, lane: Lane) -> impl Iterator<Item = &T> {
        self.models.values().flat_map(move |model| model.lanes[lane as usize].oldest())
    }

    /// Adds all of `entries` to the end of their caller's line, or none. A model that is
    /// gone has room for nothing.
    pub fn push(&mut self, model: ModelKey, lane: Lane, caller: Caller, entries: Vec<Entry<T>>) -> Result<(), Full> {
        let Some(model) = self.models.get_mut(&model) else {
            return Err(Full { capacity: 0 });
        };
        let capacity = match lane {
            Lane::Query => model.limits.query_texts,
            Lane::Bulk => model.limits.bulk_texts,
        };
        let waiting = &mut model.lanes[lane as usize];
        if waiting.len().saturating_add(entries.len()) > capacity {
            return Err(Full { capacity });
        }
        waiting.push(caller, entries);
        Ok(())
    }

    /// Takes out the next batch that may start now, and counts it as running until
    /// [`Self::finished`]. Models with work in the same lane take turns. `abandoned` says
    /// whether the caller of a text has left: such texts are dropped without a word.
    pub fn next(&mut self, now: Instant, abandoned: impl Fn(&T) -> bool) -> Next<T> {
        let mut expired = Vec::new();
        for lane in [Lane::Query, Lane::Bulk] {
            let may_start = match lane {
                Lane::Query => self.running_queries < self.cores.batches,
                Lane::Bulk => self.running_threads < self.cores.batches,
            };
            if !may_start {
                continue;
            }
            while let Some(model) = self.turn(lane) {
                let formed = self.form(model, lane, now, &abandoned);
                expired.extend(formed.expired);
                if !formed.batch.is_empty() {
                    return Next { job: Some(self.start(model, lane, formed.batch)), expired };
                }
            }
        }
        Next { job: None, expired }
    }

    /// Whether another batch might start now.
    pub fn may_start(&self) -> bool {
        let waits = |lane: Lane| self.models.values().any(|model| !model.lanes[lane as usize].is_empty());
        (self.running_queries < self.cores.batches && waits(Lane::Query))
            || (self.running_threads < self.cores.batches && waits(Lane::Bulk))
    }

    /// Counts a batch as ended.
    pub fn finished(&mut self, lane: Lane, threads: usize) {
        self.running_threads = self.running_threads.saturating_sub(threads);
        if lane == Lane::Query {
            self.running_queries = self.running_queries.saturating_sub(1);
        }
    }

    /// Remembers how long a bulk batch took on one thread.
    pub fn observe(&mut self, model: ModelKey, padded_tokens: usize, time: Duration) {
        if let Some(model) = self.models.get_mut(&model) {
            model.pace.observe(padded_tokens, time);
        }
    }

    /// The model whose turn it is in a lane, of those that have something waiting there.
    fn turn(&self, lane: Lane) -> Option<ModelKey> {
        let after = self.last[lane as usize].map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.models.range((after, Bound::Unbounded));
        let waits = |(_, model): &(&ModelKey, &Model<T>)| !model.lanes[lane as usize].is_empty();
        later.chain(&self.models).find(waits).map(|(key, _)| *key)
    }

    fn form(&mut self, key: ModelKey, lane: Lane, now: Instant, abandoned: &impl Fn(&T) -> bool) -> Formed<T> {
        self.last[lane as usize] = Some(key);
        let Some(model) = self.models.get_mut(&key) else {
            return Formed { batch: Vec::new(), expired: Vec::new() };
        };
        let budget_tokens = model.pace.tokens_within(BATCH_TIME, model.limits.batch_tokens);
        model.lanes[lane as usize].take(budget_tokens, now, abandoned)
    }

    fn start(&mut self, model: ModelKey, lane: Lane, batch: Vec<Entry<T>>) -> Job<T> {
        let alone = self.running_threads == 0
            && batch.iter().all(|entry| entry.may_widen)
            && self.models.values().all(|model| model.lanes[Lane::Query as usize].is_empty());
        let threads = if lane == Lane::Query && alone { self.cores.lone_query_threads } else { 1 };
        self.running_threads += threads;
        if lane == Lane::Query {
            self.running_queries += 1;
        }
        Job { model, lane, threads, batch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { batch_tokens: 64, query_texts: 8, bulk_texts: 100 };
    const CORES: Cores = Cores { batches: 2, lone_query_threads: 2 };

    fn entry(work: usize) -> Entry<usize> {
        Entry { tokens: 60, deadline: None, may_widen: true, work }
    }

    struct Machine {
        schedule: Schedule<usize>,
        models: [ModelKey; 2],
    }

    impl Machine {
        fn new() -> Self {
            let mut schedule = Schedule::new(CORES);
            let models = [schedule.add(LIMITS), schedule.add(LIMITS)];
            Self { schedule, models }
        }

        fn push(&mut self, model: usize, lane: Lane, works: &[usize]) {
            let entries = works.iter().map(|&work| entry(work)).collect();
            self.schedule.push(self.models[model], lane, Caller(1), entries).unwrap();
        }

        /// The text, lane and threads of the batch that starts next; each holds one text.
        fn next(&mut self) -> Option<(usize, Lane, usize)> {
            let job = self.schedule.next(Instant::now(), |_| false).job?;
            assert_eq!(job.batch.len(), 1);
            Some((job.batch[0].work, job.lane, job.threads))
        }
    }

    #[test]
    fn queries_of_any_model_go_before_bulk_work_of_any() {
        let mut machine = Machine::new();
        machine.push(0, Lane::Bulk, &[1, 2]);
        machine.push(1, Lane::Query, &[3, 4]);
        assert_eq!(machine.next(), Some((3, Lane::Query, 1)));
        assert_eq!(machine.next(), Some((4, Lane::Query, 1)));
        // Both cores have queries; bulk work waits until one is free.
        assert_eq!(machine.next(), None);
        assert!(!machine.schedule.may_start());
        machine.schedule.finished(Lane::Query, 1);
        assert_eq!(machine.next(), Some((1, Lane::Bulk, 1)));
    }

    #[test]
    fn a_query_never_waits_for_bulk_work_to_end() {
        let mut machine = Machine::new();
        machine.push(0, Lane::Bulk, &[1, 2, 3]);
        assert_eq!(machine.next(), Some((1, Lane::Bulk, 1)));
        assert_eq!(machine.next(), Some((2, Lane::Bulk, 1)));
        assert_eq!(machine.next(), None);
        machine.push(1, Lane::Query, &[4, 5, 6]);
        assert_eq!(machine.next(), Some((4, Lane::Query, 1)));
        assert_eq!(machine.next(), Some((5, Lane::Query, 1)));
        assert_eq!(machine.next(), None);
        machine.schedule.finished(Lane::Query, 1);
        assert_eq!(machine.next(), Some((6, Lane::Query, 1)));
        machine.schedule.finished(Lane::Query, 1);
        machine.schedule.finished(Lane::Query, 1);
        // Two bulk batches still run, so a third does not start.
        assert_eq!(machine.next(), None);
        machine.schedule.finished(Lane::Bulk, 1);
        assert_eq!(machine.next(), Some((3, Lane::Bulk, 1)));
    }

    #[test]
    fn models_take_turns_in_a_lane() {
        let mut machine = Machine::new();
        machine.push(0, Lane::Bulk, &[1, 2, 3]);
        machine.push(1, Lane::Bulk, &[11, 12]);
        let mut order = Vec::new();
        while let Some((work, lane, threads)) = machine.next() {
            order.push(work);
            machine.schedule.finished(lane, threads);
        }
        assert_eq!(order, [1, 11, 2, 12, 3]);
    }

    #[test]
    fn a_lone_query_has_all_cores_and_two_have_one_each() {
        let mut machine = Machine::new();
        machine.push(0, Lane::Query, &[1]);
        assert_eq!(machine.next(), Some((1, Lane::Query, 2)));
        // It uses both cores, so that no bulk batch starts; a query does.
        machine.push(0, Lane::Bulk, &[2]);
        assert_eq!(machine.next(), None);
        machine.push(0, Lane::Query, &[3]);
        assert_eq!(machine.next(), Some((3, Lane::Query, 1)));
        machine.schedule.finished(Lane::Query, 2);
        machine.schedule.finished(Lane::Query, 1);
        assert_eq!(machine.next(), Some((2, Lane::Bulk, 1)));
        machine.schedule.finished(Lane::Bulk, 1);
        machine.push(0, Lane::Query, &[4]);
        machine.push(1, Lane::Query, &[5]);
        assert_eq!(machine.next().map(|(.., threads)| threads), Some(1));
        assert_eq!(machine.next().map(|(.., threads)| threads), Some(1));
    }

    #[test]
    fn a_request_to_two_models_keeps_them_side_by_side() {
        let mut machine = Machine::new();
        let narrow = Entry { may_widen: false, ..entry(1) };
        machine.schedule.push(machine.models[0], Lane::Query, Caller(1), vec![narrow]).unwrap();
        assert_eq!(machine.next(), Some((1, Lane::Query, 1)));
    }

    #[test]
    fn expired_and_abandoned_texts_never_run() {
        let now = Instant::now();
        let mut machine = Machine::new();
        let with_deadline = |work, deadline| Entry { deadline: Some(deadline), tokens: 5, ..entry(work) };
        let entries = vec![
            with_deadline(0, now),
            Entry { tokens: 5, ..entry(1) },
            with_deadline(2, now + Duration::from_millis(1)),
            Entry { tokens: 5, ..entry(3) },
        ];
        machine.schedule.push(machine.models[0], Lane::Query, Caller(1), entries).unwrap();
        let next = machine.schedule.next(now, |&work| work == 1);
        assert_eq!(next.expired.iter().map(|entry| entry.work).collect::<Vec<_>>(), [0]);
        let batch: Vec<usize> = next.job.unwrap().batch.iter().map(|entry| entry.work).collect();
        assert_eq!(batch, [2, 3]);
    }

    #[test]
    fn a_full_lane_takes_all_or_nothing() {
        let mut machine = Machine::new();
        let model = machine.models[0];
        let many = |n| (0..n).map(entry).collect::<Vec<_>>();
        machine.schedule.push(model, Lane::Query, Caller(1), many(7)).unwrap();
        let refused = machine.schedule.push(model, Lane::Query, Caller(2), many(2));
        assert_eq!(refused, Err(Full { capacity: 8 }));
        assert_eq!(machine.schedule.waiting(model), 7);
        machine.schedule.push(model, Lane::Query, Caller(1), many(1)).unwrap();
        // The other lane and the other model have room of their own.
        machine.schedule.push(model, Lane::Bulk, Caller(1), many(100)).unwrap();
        machine.schedule.push(machine.models[1], Lane::Query, Caller(1), many(8)).unwrap();
    }

    #[test]
    fn a_model_that_is_gone_takes_nothing() {
        let mut machine = Machine::new();
        machine.push(0, Lane::Query, &[1]);
        machine.schedule.remove(machine.models[0]);
        assert_eq!(machine.next(), None);
        let refused = machine.schedule.push(machine.models[0], Lane::Query, Caller(1), vec![entry(2)]);
        assert_eq!(refused, Err(Full { capacity: 0 }));
    }
}
