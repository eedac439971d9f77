//! The threads that run batches of every model, and the bounded queues in front of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use trivium_service_kit::Service;
use trivium_service_kit::telemetry::metrics::{self, Texts};
use trivium_service_kit::telemetry::names::{attribute as key, metric};

use crate::batch::{Caller, Cores, Entry, Job, Lane, Limits, ModelKey, Next, Schedule};
use crate::engine::{EngineError, Threads, TokenBatch};
use crate::projection::{Projection, TokenVectors};
use crate::tokenize::Tokens;
use crate::trace::{self, RequestTrace};

/// What runs a batch: a loaded model.
pub trait BatchModel: Send + Sync {
    /// Runs one batch on `threads`, and gives one vector for each row.
    ///
    /// # Errors
    /// When the engine fails.
    fn run(&self, batch: &TokenBatch, threads: &Threads) -> Result<Vec<Vec<f32>>, EngineError>;

    /// As [`Self::run`], with the token vectors of each row that has a projection. A model without hidden states of its own
    /// gives none.
    ///
    /// # Errors
    /// When the engine fails.
    fn run_with_tokens(
        &self,
        batch: &TokenBatch,
        _projections: &[Option<Arc<Projection>>],
        threads: &Threads,
    ) -> Result<Vec<Computed>, EngineError> {
        let vectors = self.run(batch, threads)?;
        Ok(vectors.into_iter().map(|vector| Computed { vector, tokens: None }).collect())
    }
}

/// What a model gave for one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    /// The vector.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, where they were asked for.
    pub tokens: Option<TokenVectors>,
}

/// The threads that run forward passes. All models of a host share them, so that they
/// never ask for more than the machine has. Dropping it stops the threads.
pub struct Batcher {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<()>>,
}

/// One model's place before the threads. Dropping it takes the model away: texts that still
/// wait then fail with [`BatchError::Stopped`], and a batch that runs ends in peace.
pub struct ModelQueue {
    batcher: Arc<Batcher>,
    key: ModelKey,
    model: Arc<dyn BatchModel>,
    counters: Arc<Counters>,
}

/// What a model has done since it was loaded.
#[derive(Debug, Default)]
pub struct Counters {
    texts: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    /// Texts that were computed.
    pub fn texts(&self) -> u64 {
        self.texts.load(Ordering::Relaxed)
    }

    /// Texts that were refused, expired, or failed in the engine.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// The texts of one request, and how they are to be run.
pub struct Submission {
    /// The texts.
    pub texts: Vec<Tokens>,
    /// Where they wait.
    pub lane: Lane,
    /// When nobody waits for them any more.
    pub deadline: Option<Instant>,
    /// Who sent them.
    pub caller: Caller,
    /// False when the request sends texts to another model at the same time, so that they
    /// run side by side on one core each.
    pub may_widen: bool,
    /// Makes token vectors of the texts, where they are wanted.
    pub projection: Option<Arc<Projection>>,
    /// Gets the spans of the steps.
    pub trace: RequestTrace,
}

/// A text's vector, and how long it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// What the model gave for the text.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, where they were asked for.
    pub tokens: Option<TokenVectors>,
    /// Time from submission to the start of the batch.
    pub queued: Duration,
    /// Time of the batch's forward pass and pooling.
    pub forward: Duration,
}

/// Why a text was not encoded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BatchError {
    /// Too many texts wait already.
    #[error("the queue is full: it holds {capacity} texts")]
    Overloaded {
        /// How many texts may wait in that lane.
        capacity: usize,
    },
    /// The deadline passed while the text waited.
    #[error("the deadline passed before an engine was free")]
    Expired,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The host is shutting down.
    #[error("the engine has stopped")]
    Stopped,
}

/// Vectors that are being computed. Dropping it cancels those that still wait.
pub struct Pending {
    replies: Vec<oneshot::Receiver<Result<Encoded, BatchError>>>,
}

impl Pending {
    /// Waits for all vectors, in the order of the texts.
    ///
    /// # Errors
    /// That of the first text that failed.
    pub async fn wait(self) -> Result<Vec<Encoded>, BatchError> {
        let mut encoded = Vec::with_capacity(self.replies.len());
        for reply in self.replies {
            encoded.push(reply.await.unwrap_or(Err(BatchError::Stopped))?);
        }
        Ok(encoded)
    }
}

impl Batcher {
    /// Starts the threads: as many as may run batches when queries come upon bulk work,
    /// which is one for each lane of each core.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(cores: Cores) -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { schedule: Schedule::new(cores), stopped: false }),
            work_arrived: Condvar::new(),
        });
        let wide = Threads::new(cores.lone_query_threads.max(1));
        let mut batcher = Self { shared, workers: Vec::new() };
        for index in 0..2 * cores.batches.max(1) {
            let shared = Arc::clone(&batcher.shared);
            let worker = Worker { shared, narrow: Threads::new(1), wide: wide.clone() };
            let narrow = worker.narrow.clone();
            // Each thread that has to be woken may wait for bulk work to leave a core, so the
            // worker lives on the engine's own thread.
            let run = move || narrow.inside(|| worker.run());
            let thread = thread::Builder::new().name(format!("engine-{index}")).spawn(run)?;
            batcher.workers.push(thread);
        }
        batcher.shared.observe();
        Ok(Arc::new(batcher))
    }

    /// Gives a model its place.
    pub fn register(self: &Arc<Self>, model: Arc<dyn BatchModel>, limits: Limits) -> ModelQueue {
        self.place(model, limits, Arc::default())
    }

    fn place(self: &Arc<Self>, model: Arc<dyn BatchModel>, limits: Limits, counters: Arc<Counters>) -> ModelQueue {
        let key = self.shared.lock().schedule.add(limits);
        ModelQueue { batcher: Arc::clone(self), key, model, counters }
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work_arrived.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its engine's panics; there is nothing left to report here.
            let _ = worker.join();
        }
        // Nobody will form a batch again: dropping what waits tells its callers so.
        self.shared.lock().schedule.clear();
    }
}

impl ModelQueue {
    /// Gives the same model in another precision a place of its own, with which it is counted together.
    pub fn twin(&self, model: Arc<dyn BatchModel>, limits: Limits) -> Self {
        self.batcher.place(model, limits, Arc::clone(&self.counters))
    }

    /// Queues the texts of one request: all of them, or none.
    ///
    /// # Errors
    /// When the lane has no room for them.
    pub fn submit(&self, submission: Submission) -> Result<Pending, BatchError> {
        let Submission { texts, lane, deadline, caller, may_widen, projection, trace } = submission;
        let trace = Arc::new(trace);
        let submitted = Instant::now();
        let submitted_texts = texts.len();
        let count = submitted_texts as u64;
        let (entries, replies) = texts
            .into_iter()
            .map(|tokens| {
                let (reply, receiver) = oneshot::channel();
                let work = Work {
                    tokens,
                    projection: projection.clone(),
                    submitted,
                    lane,
                    trace: Arc::clone(&trace),
                    model: Arc::clone(&self.model),
                    counters: Arc::clone(&self.counters),
                    reply,
                };
                (Entry { tokens: work.tokens.ids.len(), deadline, may_widen, work }, receiver)
            })
            .unzip();
        let pushed = self.batcher.shared.lock().schedule.push(self.key, lane, caller, entries);
        pushed.map_err(|full| {
            self.counters.errors.fetch_add(count, Ordering::Relaxed);
            metrics::of(Service::ModelHost).texts(lane.name(), Texts::Refused, submitted_texts);
            BatchError::Overloaded { capacity: full.capacity }
        })?;
        self.batcher.shared.work_arrived.notify_one();
        Ok(Pending { replies })
    }

    /// How many texts wait.
    pub fn waiting(&self) -> usize {
        self.batcher.shared.lock().schedule.waiting(self.key)
    }

    /// What the model has done.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for ModelQueue {
    fn drop(&mut self) {
        self.batcher.shared.lock().schedule.remove(self.key);
    }
}

struct Shared {
    state: Mutex<State>,
    work_arrived: Condvar,
}

struct State {
    schedule: Schedule<Work>,
    stopped: bool,
}

impl Shared {
    /// Lets the gauges of the queues be read.
    fn observe(self: &Arc<Self>) {
        let shared = Arc::downgrade(self);
        metrics::observe(Service::ModelHost, move |readings| {
            let shared = shared.upgrade()?;
            let now = Instant::now();
            let state = shared.lock();
            for lane in Lane::ALL {
                let label = [(key::LANE, lane.name())];
                let waiting = state.schedule.waiting_in(lane);
                readings.tell(&metric::TRIVIUM_MODEL_QUEUE_TEXTS, waiting as f64, &label);
                let ages = state.schedule.oldest_in(lane).map(|work| now.saturating_duration_since(work.submitted));
                let oldest = ages.max().unwrap_or_default();
                readings.tell(&metric::TRIVIUM_MODEL_QUEUE_AGE, oldest.as_secs_f64(), &label);
            }
            Some(())
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, and the queue is whole between calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a batch that ran.
fn count(lane: Lane, works: &[Work], batch: &TokenBatch, started: Instant, elapsed: Duration) {
    let instruments = metrics::of(Service::ModelHost);
    let tokens: usize = works.iter().map(|work| work.tokens.ids.len()).sum();
    let padding = (batch.rows() * batch.columns()).saturating_sub(tokens);
    instruments.ran(metrics::Batch { lane: lane.name(), texts: works.len(), tokens, padding, elapsed });
    for work in works {
        instruments.waited(lane.name(), started.duration_since(work.submitted));
    }
}

/// One text on its way through the queue.
struct Work {
    tokens: Tokens,
    projection: Option<Arc<Projection>>,
    submitted: Instant,
    lane: Lane,
    trace: Arc<RequestTrace>,
    model: Arc<dyn BatchModel>,
    counters: Arc<Counters>,
    reply: oneshot::Sender<Result<Encoded, BatchError>>,
}

impl Work {
    /// Ends the text's spans, then answers, so that they are over before their parent is.
    fn answer(self, result: Result<Encoded, BatchError>) {
        metrics::of(Service::ModelHost).texts(self.lane.name(), became(&result), 1);
        let counter = if result.is_ok() { &self.counters.texts } else { &self.counters.errors };
        counter.fetch_add(1, Ordering::Relaxed);
        drop(self.trace);
        // The caller may have left meanwhile, which is its right.
        let _ = self.reply.send(result);
    }
}

fn became(result: &Result<Encoded, BatchError>) -> Texts {
    match result {
        Ok(_) => Texts::Done,
        Err(BatchError::Expired) => Texts::Expired,
        Err(BatchError::Overloaded { .. }) => Texts::Refused,
        Err(BatchError::Engine(_) | BatchError::Stopped) => Texts::Failed,
    }
}

struct Worker {
    shared: Arc<Shared>,
    narrow: Threads,
    wide: Threads,
}

impl Worker {
    fn run(self) {
        while let Some(next) = self.next() {
            for entry in next.expired {
                entry.work.answer(Err(BatchError::Expired));
            }
            if let Some(job) = next.job {
                self.run_job(job);
            }
        }
    }

    /// Waits for work; `None` when the batcher stops.
    fn next(&self) -> Option<Next<Work>> {
        let mut state = self.shared.lock();
        loop {
            if state.stopped {
                return None;
            }
            let next = state.schedule.next(Instant::now(), |work| work.reply.is_closed());
            if next.job.is_some() || !next.expired.is_empty() {
                // One thread is woken for each request; it wakes another when it leaves work.
                if state.schedule.may_start() {
                    self.shared.work_arrived.notify_one();
                }
                return Some(next);
            }
            state = self.shared.work_arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run_job(&self, job: Job<Work>) {
        let Job { model: key, lane, threads, batch } = job;
        let works: Vec<Work> = batch.into_iter().map(|entry| entry.work).collect();
        let started = Instant::now();
        let batch = TokenBatch::of(works.iter().map(|work| &work.tokens));
        let computed = self.forward(&works, &batch, threads);
        let forward = started.elapsed();
        let mut state = self.shared.lock();
        // Before the answers: whoever sends one query after the other finds the machine idle.
        state.schedule.finished(lane, threads);
        if threads == 1 {
            state.schedule.observe(key, batch.rows() * batch.columns(), forward);
        }
        drop(state);
        count(lane, &works, &batch, started, forward);
        match computed {
            Ok(computed) => {
                for (work, Computed { vector, tokens }) in works.into_iter().zip(computed) {
                    let queued = started.duration_since(work.submitted);
                    work.answer(Ok(Encoded { vector, tokens, queued, forward }));
                }
            }
            Err(error) => {
                tracing::error!(%error, texts = works.len(), "batch failed");
                for work in works {
                    work.answer(Err(error.clone().into()));
                }
            }
        }
    }

    fn forward(&self, works: &[Work], batch: &TokenBatch, threads: usize) -> Result<Vec<Computed>, EngineError> {
        // A batch has at least one text, and all its texts are for one model.
        let Some(first) = works.first() else { return Ok(Vec::new()) };
        let members: Vec<&RequestTrace> = works.iter().map(|work| &*work.trace).collect();
        let _span = trace::start_batch(&members, batch.rows(), batch.columns());
        let threads = if threads == 1 { &self.narrow } else { &self.wide };
        // An engine that panics fails its batch; the thread and the service live on.
        let projections: Vec<_> = works.iter().map(|work| work.projection.clone()).collect();
        let run = || first.model.run_with_tokens(batch, &projections, threads);
        let computed = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(EngineError::Run("the engine panicked".to_owned())))?;
        match computed.len() == batch.rows() {
            true => Ok(computed),
            false => Err(EngineError::Run(format!("{} vectors for {} texts", computed.len(), batch.rows()))),
        }
    }
}
