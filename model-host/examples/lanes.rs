//! Prints what a query waits while bulk embedding runs, for several splits of the cores.
//!
//! `cargo run --release --workspace --example lanes`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trivium_model_host::batcher::{BatchError, Batcher, ModelQueue, Pending, Submission};
use trivium_model_host::bundle::{BundleError, Registry, default_models_dir};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::tokenize::Tokens;
use trivium_model_host::{Caller, Cores, Lane, Limits, RequestTrace};

const QUERY_TOKENS: usize = 12;
const PASSAGE_TOKENS: usize = 128;
const QUERIES: usize = 100;
const LIMITS: Limits = Limits { batch_tokens: 256, query_texts: 512, bulk_texts: 4096 };

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(default_models_dir());
    let model = registry.production(&"minilm".parse().map_err(BundleError::from)?)?;
    let encoder = Arc::new(Encoder::load(&registry.open(&model)?, 1)?);
    println!("batches  threads   quiet p50   p99 ms   bulk p50   p99 ms   bulk texts/s");
    for (batches, lone_query_threads) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let batcher = Batcher::start(Cores { batches, lone_query_threads })?;
        let batcher = Arc::new(batcher.register(encoder.clone(), LIMITS));
        let quiet = queries(&batcher).await?;
        let bulk = Bulk::start(Arc::clone(&batcher));
        let started = Instant::now();
        let loaded = queries(&batcher).await?;
        let texts = bulk.stop().await?;
        println!(
            "{batches:>7}  {lone_query_threads:>7}   {:>9.2}  {:>7.2}  {:>9.2}  {:>7.2}   {:>12.1}",
            quiet.0,
            quiet.1,
            loaded.0,
            loaded.1,
            texts as f64 / started.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}

/// Sends queries one after the other; gives their median and 99th percentile in milliseconds.
async fn queries(batcher: &ModelQueue) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(QUERIES);
    for _ in 0..QUERIES {
        let start = Instant::now();
        submit(batcher, vec![text(QUERY_TOKENS)], Lane::Query)?.wait().await?;
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    Ok((milliseconds(times[QUERIES / 2]), milliseconds(times[QUERIES - 1])))
}

/// Keeps the bulk lane full.
struct Bulk {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    senders: Vec<tokio::task::JoinHandle<Result<(), BatchError>>>,
}

impl Bulk {
    fn start(batcher: Arc<ModelQueue>) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let senders = (0..4).map(|_| {
            let (batcher, stop, done) = (Arc::clone(&batcher), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let texts = vec![text(PASSAGE_TOKENS); 4];
                    submit(&batcher, texts, Lane::Bulk)?.wait().await?;
                    done.fetch_add(4, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self { senders: senders.collect(), stop, done }
    }

    async fn stop(self) -> Result<usize, Box<dyn std::error::Error>> {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.await??;
        }
        Ok(self.done.load(Ordering::Relaxed))
    }
}

fn submit(queue: &ModelQueue, texts: Vec<Tokens>, lane: Lane) -> Result<Pending, BatchError> {
    let (caller, trace) = (Caller::default(), RequestTrace::none());
    queue.submit(Submission { texts, lane, deadline: None, caller, may_widen: true, projection: None, trace })
}

fn text(tokens: usize) -> Tokens {
    Tokens { ids: (0..tokens as u32).map(|i| 2000 + i).collect(), second_tokens: 0, truncated: false }
}
