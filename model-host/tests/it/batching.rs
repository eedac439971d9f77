//! The queue and its workers, with an engine whose batches start and end when a test says.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use trivium_model_host::batcher::{BatchError, BatchModel, Batcher, ModelQueue, Pending, Submission};
use trivium_model_host::engine::{EngineError, Threads, TokenBatch};
use trivium_model_host::tokenize::Tokens;
use trivium_model_host::{Caller, Cores, Lane, Limits, RequestTrace};

const LIMITS: Limits = Limits { batch_tokens: 64, query_texts: 3, bulk_texts: 8 };

/// The first token of each text is its name.
type Names = Vec<u32>;

/// Tells when a batch starts, and holds it until its own release comes.
struct HeldModel {
    started: mpsc::SyncSender<Running>,
}

/// A batch that runs until it is released.
struct Running {
    names: Names,
    release: mpsc::SyncSender<()>,
}

impl Running {
    fn release(self) {
        self.release.send(()).unwrap();
    }
}

impl BatchModel for HeldModel {
    fn run(&self, batch: &TokenBatch, _: &Threads) -> Result<Vec<Vec<f32>>, EngineError> {
        let names: Names = batch.ids().chunks(batch.columns()).map(|ids| ids[0] as u32).collect();
        let vectors = names.iter().map(|&name| vec![name as f32]).collect();
        let panics = names.contains(&13);
        let (release, released) = mpsc::sync_channel(1);
        self.started.send(Running { names, release }).map_err(|error| EngineError::Run(error.to_string()))?;
        released.recv().map_err(|error| EngineError::Run(error.to_string()))?;
        assert!(!panics, "a model that panics, as the test wants");
        Ok(vectors)
    }
}

/// A model before threads of its own, and the test's side of it.
struct Bench {
    queue: ModelQueue,
    started: Mutex<mpsc::Receiver<Running>>,
}

impl Bench {
    fn new(batches: usize) -> Self {
        let batcher = Batcher::start(Cores { batches, lone_query_threads: 1 }).unwrap();
        Self::on(&batcher)
    }

    fn on(batcher: &Arc<Batcher>) -> Self {
        let (started, receiver) = mpsc::sync_channel(8);
        let queue = batcher.register(Arc::new(HeldModel { started }), LIMITS);
        Self { queue, started: Mutex::new(receiver) }
    }

    /// The batch that starts next, which must have these texts.
    fn runs(&self, names: &[u32]) -> Running {
        let running = self.started.lock().unwrap().recv().unwrap();
        assert_eq!(running.names, names);
        running
    }

    fn submit(&self, lane: Lane, name: u32) -> Result<Pending, BatchError> {
        self.submit_until(lane, name, None)
    }

    fn submit_until(&self, lane: Lane, name: u32, deadline: Option<Instant>) -> Result<Pending, BatchError> {
        self.queue.submit(Submission {
            texts: vec![Tokens { ids: vec![name; 5], second_tokens: 0, truncated: false }],
            lane,
            deadline,
            caller: Caller::default(),
            may_widen: true,
            projection: None,
            trace: RequestTrace::none(),
        })
    }
}

async fn value(pending: Pending) -> f32 {
    pending.wait().await.unwrap()[0].vector[0]
}

#[tokio::test]
async fn queries_overtake_bulk_and_the_abandoned_never_run() {
    let bench = Bench::new(1);
    let first = bench.submit(Lane::Query, 1).unwrap();
    let running = bench.runs(&[1]);
    let bulk = bench.submit(Lane::Bulk, 2).unwrap();
    drop(bench.submit(Lane::Bulk, 3).unwrap());
    let query = bench.submit(Lane::Query, 4).unwrap();
    let another = bench.submit(Lane::Query, 5).unwrap();
    running.release();
    bench.runs(&[4, 5]).release();
    bench.runs(&[2]).release();
    let values = [value(first).await, value(query).await, value(another).await, value(bulk).await];
    assert_eq!(values, [1.0, 4.0, 5.0, 2.0]);
    assert_eq!((bench.queue.counters().texts(), bench.queue.counters().errors()), (4, 0));
}

#[tokio::test]
async fn a_query_never_waits_for_bulk_work_to_end() {
    let bench = Bench::new(1);
    let bulk = bench.submit(Lane::Bulk, 1).unwrap();
    let running = bench.runs(&[1]);
    let more = bench.submit(Lane::Bulk, 2).unwrap();
    let query = bench.submit(Lane::Query, 3).unwrap();
    bench.runs(&[3]).release();
    assert_eq!(value(query).await, 3.0);
    assert_eq!(bench.queue.waiting(), 1);
    running.release();
    bench.runs(&[2]).release();
    assert_eq!((value(bulk).await, value(more).await), (1.0, 2.0));
}

#[tokio::test]
async fn models_share_the_threads() {
    let batcher = Batcher::start(Cores { batches: 1, lone_query_threads: 1 }).unwrap();
    let (one, other) = (Bench::on(&batcher), Bench::on(&batcher));
    let first = one.submit(Lane::Bulk, 1).unwrap();
    let running = one.runs(&[1]);
    let second = one.submit(Lane::Bulk, 2).unwrap();
    let query = other.submit(Lane::Query, 3).unwrap();
    other.runs(&[3]).release();
    let third = other.submit(Lane::Bulk, 4).unwrap();
    running.release();
    // The other model has not had its turn in the bulk lane yet.
    other.runs(&[4]).release();
    one.runs(&[2]).release();
    let values = [value(first).await, value(second).await, value(query).await, value(third).await];
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test]
async fn a_model_that_goes_lets_its_batch_end() {
    let batcher = Batcher::start(Cores { batches: 1, lone_query_threads: 1 }).unwrap();
    let bench = Bench::on(&batcher);
    let first = bench.submit(Lane::Query, 1).unwrap();
    let running = bench.runs(&[1]);
    let waiting = bench.submit(Lane::Query, 2).unwrap();
    drop(bench);
    running.release();
    assert_eq!(value(first).await, 1.0);
    assert!(matches!(waiting.wait().await, Err(BatchError::Stopped)));
}

#[tokio::test]
async fn the_expired_are_told_and_never_run() {
    let bench = Bench::new(1);
    let first = bench.submit(Lane::Query, 1).unwrap();
    let running = bench.runs(&[1]);
    let late = bench.submit_until(Lane::Query, 2, Some(Instant::now())).unwrap();
    let in_time = bench.submit(Lane::Query, 3).unwrap();
    running.release();
    bench.runs(&[3]).release();
    assert!(matches!(late.wait().await, Err(BatchError::Expired)));
    assert_eq!((value(first).await, value(in_time).await), (1.0, 3.0));
    assert_eq!(bench.queue.counters().errors(), 1);
}

#[tokio::test]
async fn a_full_lane_turns_callers_away_and_recovers() {
    let bench = Bench::new(1);
    let first = bench.submit(Lane::Query, 1).unwrap();
    let running = bench.runs(&[1]);
    let waiting: Vec<Pending> = (2..5).map(|name| bench.submit(Lane::Query, name).unwrap()).collect();
    let refused = bench.submit(Lane::Query, 5).err();
    assert!(matches!(refused, Some(BatchError::Overloaded { capacity: 3 })), "{refused:?}");
    // The other lane has room of its own.
    let bulk = bench.submit(Lane::Bulk, 6).unwrap();
    running.release();
    bench.runs(&[2, 3, 4]).release();
    bench.runs(&[6]).release();
    for pending in waiting {
        pending.wait().await.unwrap();
    }
    assert_eq!((value(first).await, value(bulk).await), (1.0, 6.0));
    let next = bench.submit(Lane::Query, 7).unwrap();
    bench.runs(&[7]).release();
    assert_eq!(value(next).await, 7.0);
}

#[tokio::test]
async fn a_model_that_panics_fails_its_batch_alone() {
    let bench = Bench::new(1);
    let unlucky = bench.submit(Lane::Query, 13).unwrap();
    bench.runs(&[13]).release();
    assert!(matches!(unlucky.wait().await, Err(BatchError::Engine(_))));
    let next = bench.submit(Lane::Query, 1).unwrap();
    bench.runs(&[1]).release();
    assert_eq!(value(next).await, 1.0);
}
