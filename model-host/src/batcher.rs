//! The worker threads that run batches, and the bounded queue in front of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::batch::{Entry, Formed, Lane, Limits, Queue, Serves};
use crate::bundle::EncoderSpec;
use crate::engine::{Engine, EngineError, TokenBatch};
use crate::pooling::pool;
use crate::tokenize::Tokens;
use crate::trace::{self, RequestTrace};

/// Runs an encoder's forward passes on threads of its own. Dropping it stops the threads;
/// texts that still wait then fail with [`BatchError::Stopped`].
pub struct Batcher {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<()>>,
}

/// A text's vector, and how long it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The pooled vector.
    pub vector: Vec<f32>,
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
    pub async fn wait(self) -> Result<Vec<Encoded>, BatchError> {
        let mut encoded = Vec::with_capacity(self.replies.len());
        for reply in self.replies {
            encoded.push(reply.await.unwrap_or(Err(BatchError::Stopped))?);
        }
        Ok(encoded)
    }
}

impl Batcher {
    /// Starts one thread for each of `engines`. With more than one, the first is kept for
    /// queries, so that none ever waits for a batch of bulk work to end.
    pub fn start(engines: Vec<Box<dyn Engine>>, spec: &EncoderSpec, limits: Limits) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { queue: Queue::new(limits), stopped: false }),
            work_arrived: Condvar::new(),
        });
        let mut batcher = Self { shared, workers: Vec::new() };
        let several = engines.len() > 1;
        for (index, engine) in engines.into_iter().enumerate() {
            let worker = Worker {
                shared: Arc::clone(&batcher.shared),
                engine,
                spec: spec.clone(),
                serves: if several && index == 0 { Serves::Queries } else { Serves::Everything },
            };
            let name = format!("encoder-{index}");
            let thread = thread::Builder::new().name(name).spawn(|| worker.run())?;
            batcher.workers.push(thread);
        }
        Ok(batcher)
    }

    /// Queues the texts of one request: all of them, or none.
    pub fn submit(
        &self,
        texts: Vec<Tokens>,
        lane: Lane,
        deadline: Option<Instant>,
        trace: RequestTrace,
    ) -> Result<Pending, BatchError> {
        let trace = Arc::new(trace);
        let submitted = Instant::now();
        let (entries, replies) = texts
            .into_iter()
            .map(|tokens| {
                let (reply, receiver) = oneshot::channel();
                let work = Work { ids: tokens.ids, submitted, trace: Arc::clone(&trace), reply };
                let entry = Entry { tokens: work.ids.len(), deadline, work };
                (entry, receiver)
            })
            .unzip();
        let pushed = self.shared.lock().queue.push(lane, entries);
        pushed.map_err(|full| BatchError::Overloaded { capacity: full.capacity })?;
        self.shared.work_arrived.notify_all();
        Ok(Pending { replies })
    }

    /// How many texts wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
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
        self.shared.lock().queue.clear();
    }
}

struct Shared {
    state: Mutex<State>,
    work_arrived: Condvar,
}

struct State {
    queue: Queue<Work>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, and the queue is whole between calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One text on its way through the queue.
struct Work {
    ids: Vec<u32>,
    submitted: Instant,
    trace: Arc<RequestTrace>,
    reply: oneshot::Sender<Result<Encoded, BatchError>>,
}

struct Worker {
    shared: Arc<Shared>,
    engine: Box<dyn Engine>,
    spec: EncoderSpec,
    serves: Serves,
}

impl Worker {
    fn run(self) {
        while let Some(formed) = self.next() {
            for entry in formed.expired {
                answer(entry.work, Err(BatchError::Expired));
            }
            if !formed.batch.is_empty() {
                self.run_batch(formed.batch.into_iter().map(|e| e.work).collect());
            }
        }
    }

    /// Waits for work; `None` when the batcher stops.
    fn next(&self) -> Option<Formed<Work>> {
        let mut state = self.shared.lock();
        loop {
            if state.stopped {
                return None;
            }
            let abandoned = |work: &Work| work.reply.is_closed();
            let formed = state.queue.form(Instant::now(), self.serves, abandoned);
            if !formed.batch.is_empty() || !formed.expired.is_empty() {
                return Some(formed);
            }
            state = self.shared.work_arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run_batch(&self, works: Vec<Work>) {
        let started = Instant::now();
        let batch = TokenBatch::new(works.iter().map(|work| work.ids.as_slice()));
        let members: Vec<&RequestTrace> = works.iter().map(|work| &*work.trace).collect();
        let span = trace::start_batch(&members, batch.rows(), batch.columns());
        // An engine that panics fails its batch; the thread and the service live on.
        let vectors = catch_unwind(AssertUnwindSafe(|| self.forward(&batch)))
            .unwrap_or_else(|_| Err(EngineError::Run("the engine panicked".to_owned())));
        let forward = started.elapsed();
        drop(span);
        match vectors {
            Ok(vectors) => {
                for (work, vector) in works.into_iter().zip(vectors) {
                    let queued = started.duration_since(work.submitted);
                    let encoded = Encoded { vector, queued, forward };
                    answer(work, Ok(encoded));
                }
            }
            Err(error) => {
                tracing::error!(%error, texts = works.len(), "batch failed");
                for work in works {
                    answer(work, Err(error.clone().into()));
                }
            }
        }
    }

    fn forward(&self, batch: &TokenBatch) -> Result<Vec<Vec<f32>>, EngineError> {
        let hidden = self.engine.forward(batch)?;
        Ok(pool(&hidden, batch.lengths(), &self.spec))
    }
}

/// Ends the text's spans, then answers, so that they are over before their parent is.
fn answer(work: Work, result: Result<Encoded, BatchError>) {
    drop(work.trace);
    // The caller may have left meanwhile, which is its right.
    let _ = work.reply.send(result);
}
