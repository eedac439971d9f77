//! The queue and its workers, with an engine whose batches start and end when a test says.

use std::sync::mpsc;
use std::time::Instant;

use trivium_model_host::batcher::{BatchError, Batcher, Pending};
use trivium_model_host::bundle::{EncoderSpec, Pooling, Prefixes};
use trivium_model_host::engine::{Engine, EngineError, HiddenStates, TokenBatch};
use trivium_model_host::tokenize::Tokens;
use trivium_model_host::{Lane, Limits, RequestTrace};

const LIMITS: Limits = Limits { batch_tokens: 64, query_texts: 3, bulk_texts: 8 };

/// The first token of each text is its name.
type Names = Vec<u32>;

/// Tells when a batch starts, and holds it until it is released.
struct HeldEngine {
    started: mpsc::SyncSender<Names>,
    release: mpsc::Receiver<()>,
}

impl Engine for HeldEngine {
    fn forward(&self, batch: &TokenBatch) -> Result<HiddenStates, EngineError> {
        let names: Names = batch.ids().chunks(batch.columns()).map(|ids| ids[0] as u32).collect();
        let panics = names.contains(&13);
        self.started.send(names).map_err(|error| EngineError::Run(error.to_string()))?;
        self.release.recv().map_err(|error| EngineError::Run(error.to_string()))?;
        assert!(!panics, "an engine that panics, as the test wants");
        let data = batch.ids().iter().map(|&id| id as f32).collect();
        Ok(HiddenStates { data, columns: batch.columns(), width: 1 })
    }
}

/// The test's side of a [`HeldEngine`].
struct Control {
    started: mpsc::Receiver<Names>,
    release: mpsc::SyncSender<()>,
}

impl Control {
    fn batch(&self) -> Names {
        self.started.recv().unwrap()
    }

    fn release(&self) {
        self.release.send(()).unwrap();
    }
}

fn batcher(workers: usize) -> (Batcher, Vec<Control>) {
    let (engines, controls) = (0..workers)
        .map(|_| {
            let (started, started_receiver) = mpsc::sync_channel(8);
            let (release, release_receiver) = mpsc::sync_channel(8);
            let engine = HeldEngine { started, release: release_receiver };
            (Box::new(engine) as Box<dyn Engine>, Control { started: started_receiver, release })
        })
        .unzip();
    let spec = EncoderSpec {
        dimension: 1,
        max_tokens: 64,
        pooling: Pooling::Mean,
        normalise: false,
        prefixes: Prefixes::default(),
    };
    (Batcher::start(engines, &spec, LIMITS).unwrap(), controls)
}

fn text(name: u32) -> Tokens {
    Tokens { ids: vec![name; 5], truncated: false }
}

fn submit(batcher: &Batcher, lane: Lane, name: u32) -> Result<Pending, BatchError> {
    batcher.submit(vec![text(name)], lane, None, RequestTrace::none())
}

async fn value(pending: Pending) -> f32 {
    pending.wait().await.unwrap()[0].vector[0]
}

#[tokio::test]
async fn queries_overtake_bulk_and_the_abandoned_never_run() {
    let (batcher, controls) = batcher(1);
    let running = submit(&batcher, Lane::Query, 1).unwrap();
    assert_eq!(controls[0].batch(), [1]);
    let bulk = submit(&batcher, Lane::Bulk, 2).unwrap();
    drop(submit(&batcher, Lane::Bulk, 3).unwrap());
    let query = submit(&batcher, Lane::Query, 4).unwrap();
    let another = submit(&batcher, Lane::Query, 5).unwrap();
    controls[0].release();
    assert_eq!(controls[0].batch(), [4, 5]);
    controls[0].release();
    assert_eq!(controls[0].batch(), [2]);
    controls[0].release();
    let values = [value(running).await, value(query).await, value(another).await, value(bulk).await];
    assert_eq!(values, [1.0, 4.0, 5.0, 2.0]);
}

#[tokio::test]
async fn the_expired_are_told_and_never_run() {
    let (batcher, controls) = batcher(1);
    let running = submit(&batcher, Lane::Query, 1).unwrap();
    assert_eq!(controls[0].batch(), [1]);
    let passed = Some(Instant::now());
    let late = batcher.submit(vec![text(2)], Lane::Query, passed, RequestTrace::none()).unwrap();
    let in_time = submit(&batcher, Lane::Query, 3).unwrap();
    controls[0].release();
    assert_eq!(controls[0].batch(), [3]);
    controls[0].release();
    assert!(matches!(late.wait().await, Err(BatchError::Expired)));
    assert_eq!((value(running).await, value(in_time).await), (1.0, 3.0));
}

#[tokio::test]
async fn a_full_lane_turns_callers_away_and_recovers() {
    let (batcher, controls) = batcher(1);
    let running = submit(&batcher, Lane::Query, 1).unwrap();
    assert_eq!(controls[0].batch(), [1]);
    let waiting: Vec<Pending> = (2..5).map(|name| submit(&batcher, Lane::Query, name).unwrap()).collect();
    let refused = submit(&batcher, Lane::Query, 5).err();
    assert!(matches!(refused, Some(BatchError::Overloaded { capacity: 3 })), "{refused:?}");
    // The other lane has room of its own.
    let bulk = submit(&batcher, Lane::Bulk, 6).unwrap();
    for expected in [vec![2, 3, 4], vec![6]] {
        controls[0].release();
        assert_eq!(controls[0].batch(), expected);
    }
    controls[0].release();
    for pending in waiting {
        pending.wait().await.unwrap();
    }
    assert_eq!((value(running).await, value(bulk).await), (1.0, 6.0));
    let next = submit(&batcher, Lane::Query, 7).unwrap();
    assert_eq!(controls[0].batch(), [7]);
    controls[0].release();
    assert_eq!(value(next).await, 7.0);
}

#[tokio::test]
async fn one_of_several_workers_is_kept_for_queries() {
    let (batcher, controls) = batcher(2);
    let first = submit(&batcher, Lane::Bulk, 1).unwrap();
    assert_eq!(controls[1].batch(), [1]);
    let second = submit(&batcher, Lane::Bulk, 2).unwrap();
    let query = submit(&batcher, Lane::Query, 3).unwrap();
    assert_eq!(controls[0].batch(), [3]);
    assert_eq!(batcher.waiting(), 1);
    controls[0].release();
    assert_eq!(value(query).await, 3.0);
    controls[1].release();
    assert_eq!(controls[1].batch(), [2]);
    controls[1].release();
    assert_eq!((value(first).await, value(second).await), (1.0, 2.0));
}

#[tokio::test]
async fn an_engine_that_panics_fails_its_batch_alone() {
    let (batcher, controls) = batcher(1);
    let unlucky = submit(&batcher, Lane::Query, 13).unwrap();
    assert_eq!(controls[0].batch(), [13]);
    controls[0].release();
    assert!(matches!(unlucky.wait().await, Err(BatchError::Engine(_))));
    let next = submit(&batcher, Lane::Query, 1).unwrap();
    assert_eq!(controls[0].batch(), [1]);
    controls[0].release();
    assert_eq!(value(next).await, 1.0);
}

#[tokio::test]
async fn texts_that_wait_when_it_stops_are_told() {
    let (batcher, _) = batcher(0);
    let waiting = submit(&batcher, Lane::Query, 1).unwrap();
    drop(batcher);
    assert!(matches!(waiting.wait().await, Err(BatchError::Stopped)));
}
