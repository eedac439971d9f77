//! Prints what gRPC, queue and batcher add to a bare forward pass of the intent model, and
//! what bulk embedding does to queries: all in one run, so that the ratios mean something.
//!
//! `cargo run --release --workspace --example serving [MODELS_DIR [INTENTS]]`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use trivium_model_host::batcher::BatchModel;
use trivium_model_host::bundle::{INT8_GRAPH_FILE, PrecisionChoice, Registry, default_models_dir};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::engine::{Threads, TokenBatch};
use trivium_model_host::intent::IntentModel;
use trivium_model_host::{Options, start};
use trivium_proto::model::v1::model_service_client::ModelServiceClient;
use trivium_proto::model::v1::{AnalyzeRequest, EmbedPriority, EmbedRequest};
use trivium_service_kit::ServerOptions;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Client = ModelServiceClient<Channel>;

const WARM_UP: usize = 30;
const RUNS: usize = 300;
const CLIENTS: usize = 32;
const CALLS_OF_MANY: usize = 2000;
const PASSAGE_TOKENS: usize = 128;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let models_dir = args.next().map_or_else(default_models_dir, PathBuf::from);
    let intents = args.next().unwrap_or_else(|| "intents".to_owned());
    let registry = Registry::new(&models_dir);
    let model = IntentModel::load(&registry.open(&registry.production(&intents.parse()?)?)?)?;
    let bundle = registry.open(model.encoder())?;
    println!("{}, encoder of {}", model.model(), model.encoder());
    for precision in [PrecisionChoice::Fp32, PrecisionChoice::Int8] {
        if precision == PrecisionChoice::Int8 && !bundle.has(INT8_GRAPH_FILE) {
            println!("\nno int8: the bundle has no such graph");
            continue;
        }
        let options = Options {
            server: ServerOptions::at(0),
            models_dir: Some(models_dir.clone()),
            intents: intents.clone(),
            intents_precision: precision,
            analysis_cache_entries: 0,
            ..Options::default()
        };
        let threads = Threads::new(options.cores().lone_query_threads);
        let encoder = Encoder::load_with(&bundle, precision, 1)?;
        println!("\n{}", encoder.precision().name());
        measure(options, &encoder, &threads).await?;
    }
    Ok(())
}

async fn measure(options: Options, encoder: &Encoder, threads: &Threads) -> Outcome<()> {
    let shutdown = CancellationToken::new();
    let handle = start(options, shutdown.clone()).await?;
    let client = connect(handle.addr().port()).await?;
    println!("  tokens   bare p50   Analyze p50   more   (ms, one client)");
    for tokens in [12, 32] {
        let (bare, analyzed) = beside_each_other(&client, encoder, threads, tokens).await?;
        let (bare, analyzed) = (quantile(bare, 0.5), quantile(analyzed, 0.5));
        println!("  {tokens:>6}   {bare:>8.2}   {analyzed:>11.2}   {:>4.2}", analyzed - bare);
    }
    for tokens in [12, 32] {
        let per_second = many(handle.addr().port(), tokens).await?;
        println!("  {CLIENTS} clients, {tokens} tokens: {per_second:.0} calls/s");
    }
    // Quiet before and after, so that a machine that slows down meanwhile shows.
    let before = queries(&client).await?;
    let bulk = Bulk::start(handle.addr().port()).await?;
    let loaded = queries(&client).await?;
    let passages_per_second = bulk.stop().await?;
    let after = queries(&client).await?;
    let quiet: Vec<Duration> = before.into_iter().chain(after).collect();
    let row = |name: &str, times: Vec<Duration>| {
        let (p50, p99) = (quantile(times.clone(), 0.5), quantile(times, 0.99));
        println!("  {name:<28} p50 {p50:>6.2}   p99 {p99:>6.2} ms");
        (p50, p99)
    };
    let quiet = row("12 tokens, quiet", quiet);
    let loaded = row("12 tokens, under bulk work", loaded);
    println!(
        "  bulk {passages_per_second:.1} passages/s; p50 {:.2}x, p99 {:.2}x",
        loaded.0 / quiet.0,
        loaded.1 / quiet.1
    );
    shutdown.cancel();
    handle.stopped().await;
    Ok(())
}

async fn connect(port: u16) -> Outcome<Client> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
    Ok(ModelServiceClient::new(endpoint.connect().await?))
}

/// A text of that many tokens, the special ones included.
fn text(tokens: usize) -> String {
    vec!["the"; tokens - 2].join(" ")
}

fn analyze(tokens: usize) -> AnalyzeRequest {
    AnalyzeRequest { text: text(tokens), intent: true, fresh: true, ..AnalyzeRequest::default() }
}

/// One bare pass and one call in turns, so that both meet the same machine.
async fn beside_each_other(
    client: &Client,
    encoder: &Encoder,
    threads: &Threads,
    tokens: usize,
) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let mut client = client.clone();
    let ids = encoder.tokenizer().encode(&text(tokens))?;
    assert_eq!(ids.ids.len(), tokens, "the text has another length than it should");
    let batch = TokenBatch::of([&ids]);
    let (mut bare, mut analyzed) = (Vec::with_capacity(RUNS), Vec::with_capacity(RUNS));
    for run in 0..WARM_UP + RUNS {
        let started = Instant::now();
        encoder.run(&batch, threads)?;
        let pass = started.elapsed();
        let started = Instant::now();
        client.analyze(analyze(tokens)).await?;
        if run >= WARM_UP {
            bare.push(pass);
            analyzed.push(started.elapsed());
        }
    }
    Ok((bare, analyzed))
}

/// Calls per second of clients that each call as soon as they are answered.
async fn many(port: u16, tokens: usize) -> Outcome<f64> {
    let left = Arc::new(AtomicUsize::new(CALLS_OF_MANY));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push((connect(port).await?, Arc::clone(&left)));
    }
    let started = Instant::now();
    let calls = clients.into_iter().map(|(mut client, left)| {
        tokio::spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                client.analyze(analyze(tokens)).await?;
            }
            Outcome::Ok(())
        })
    });
    for call in futures::future::join_all(calls).await {
        call??;
    }
    Ok(CALLS_OF_MANY as f64 / started.elapsed().as_secs_f64())
}

/// The times of queries that come one after the other, with pauses.
async fn queries(client: &Client) -> Outcome<Vec<Duration>> {
    let mut client = client.clone();
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let started = Instant::now();
        client.analyze(analyze(12)).await?;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(times)
}

/// Embeds passages at full speed.
struct Bulk {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    started: Instant,
    senders: Vec<tokio::task::JoinHandle<Outcome<()>>>,
}

impl Bulk {
    async fn start(port: u16) -> Outcome<Self> {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut senders = Vec::new();
        for _ in 0..2 {
            let (mut client, stop, done) = (connect(port).await?, Arc::clone(&stop), Arc::clone(&done));
            senders.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let texts = vec![text(PASSAGE_TOKENS); 32];
                    let priority = EmbedPriority::Bulk.into();
                    client.embed(EmbedRequest { texts, priority, ..EmbedRequest::default() }).await?;
                    done.fetch_add(32, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(Self { stop, done, started: Instant::now(), senders })
    }

    /// Passages per second.
    async fn stop(self) -> Outcome<f64> {
        let (done, time) = (self.done.load(Ordering::Relaxed), self.started.elapsed());
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.await??;
        }
        Ok(done as f64 / time.as_secs_f64())
    }
}

/// In milliseconds.
fn quantile(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort();
    let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
}
