//! Prints how long bare forward passes of the base encoder take on this machine.
//!
//! `cargo run --release --workspace --example forward_latency`

use std::time::{Duration, Instant};

use trivium_model_host::batcher::BatchModel;
use trivium_model_host::bundle::{BundleError, Registry, default_models_dir};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::engine::{Threads, TokenBatch};

const SHAPES: [(usize, usize); 5] = [(1, 12), (1, 32), (1, 128), (8, 12), (8, 32)];
const WARM_UP: usize = 20;
const RUNS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(default_models_dir());
    let model = registry.production(&"minilm".parse().map_err(BundleError::from)?)?;
    let encoder = Encoder::load(&registry.open(&model)?, 1)?;
    println!("texts x tokens  threads   p50 ms   p99 ms");
    for (texts, tokens) in SHAPES {
        for threads in [1, 2] {
            let times = measure(&encoder, texts, tokens, &Threads::new(threads))?;
            println!(
                "{texts:>5} x {tokens:<6}  {threads:>7}  {:>7.2}  {:>7.2}",
                milliseconds(times[RUNS / 2]),
                milliseconds(times[RUNS * 99 / 100]),
            );
        }
    }
    Ok(())
}

/// The times of [`RUNS`] passes, sorted.
fn measure(
    encoder: &Encoder,
    texts: usize,
    tokens: usize,
    threads: &Threads,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let ids: Vec<u32> = (0..tokens as u32).map(|i| 2000 + i).collect();
    let batch = TokenBatch::new(std::iter::repeat_n(&ids[..], texts));
    let mut times = Vec::with_capacity(RUNS);
    for run in 0..WARM_UP + RUNS {
        let start = Instant::now();
        encoder.run(&batch, threads)?;
        if run >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    times.sort();
    Ok(times)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
