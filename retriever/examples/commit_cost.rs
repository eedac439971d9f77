//! What a commit costs in collections of several sizes, both legs and publication included.
//!
//! Vectors are random and given, so that nothing is embedded: only the write path is measured. Each write replaces ten
//! documents of one chunk, which is ten new rows and ten deletions, spread over the whole collection. Collections of
//! all sizes are filled by the same number of commits, since a deletion costs one small file for each fragment that it
//! touches, however large that is. The folder is made where `TMPDIR` says, whose disk decides what the syncs cost.
//!
//! `cargo run --release --workspace --example commit_cost -- [DOCUMENTS...]`, 1,000, 10,000 and 100,000 if none is named.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trivium_ranking::random::SplitMix64;
use trivium_retriever::Options;
use trivium_retriever::collection::{Catalog, Change, Collection, CollectionSpec, EmbedderRef, PreparedDocument};
use trivium_retriever::hash::ContentHash;
use trivium_retriever::vector::{ChunkRow, DocumentRow};

const DIMENSION: usize = 384;
const DOCUMENTS_PER_WRITE: usize = 10;
const WRITES: usize = 100;
/// Commits that fill the collection.
const FILLING_COMMITS: usize = 10;
const WORDS: [&str; 12] = [
    "snapshot", "index", "vector", "commit", "router", "passage", "leg", "fusion", "shard", "query", "token", "segment",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    for size in sizes {
        measure(size).await?;
    }
    Ok(())
}

async fn measure(size: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::open(folder.path(), Options::default().collections()).await?;
    let embedder = EmbedderRef { name: "random".into(), version: "1".into() };
    let collection = catalog.create(CollectionSpec::new("docs", embedder, DIMENSION, Vec::new()), false).await?;
    let mut random = SplitMix64::new(size as u64);
    let started = Instant::now();
    let portion = size.div_ceil(FILLING_COMMITS).max(1);
    for start in (0..size).step_by(portion) {
        let numbers = start..(start + portion).min(size);
        collection.write(numbers.map(|number| document(number, 0, &mut random)).collect()).await?;
    }
    let filled = started.elapsed();
    let mut times = replace_some(&collection, size, &mut random).await?;
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{size} chunks: filled in {:.1} s; {WRITES} writes of {DOCUMENTS_PER_WRITE} replaced documents: p50 {:.1} ms, p90 {:.1} ms, max {:.1} ms",
        filled.as_secs_f64(),
        milliseconds(times[times.len() / 2]),
        milliseconds(times[times.len() * 9 / 10]),
        milliseconds(times[times.len() - 1]),
    );
    catalog.close().await;
    Ok(())
}

async fn replace_some(
    collection: &Collection,
    size: usize,
    random: &mut SplitMix64,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(WRITES);
    for write in 0..WRITES {
        let spread = |number: usize| (write + number * size / DOCUMENTS_PER_WRITE) % size;
        let changes =
            (0..DOCUMENTS_PER_WRITE).map(|number| document(spread(number), write as u128 + 1, random)).collect();
        let started = Instant::now();
        collection.write(changes).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// A document of one chunk of about a hundred words.
fn document(number: usize, revision: u128, random: &mut SplitMix64) -> Change {
    let document_id = format!("document-{number}");
    let document_hash = ContentHash::from_u128(number as u128 | (revision << 64));
    let text =
        (0..100).map(|_| format!("{}{} ", WORDS[random.below(WORDS.len())], random.below(500))).collect::<String>();
    let document = Arc::new(DocumentRow {
        document_id: document_id.clone(),
        title: format!("Document {number}"),
        uri: String::new(),
        content_type: "text/plain".into(),
        language: String::new(),
        declared: Vec::new(),
        metadata_json: "{}".into(),
        document_hash,
    });
    let row = ChunkRow {
        document,
        chunk_id: format!("{document_id}#0"),
        chunk_no: 0,
        char_start: 0,
        char_end: text.len() as u32,
        heading_path: Vec::new(),
        index_text: text.clone(),
        text,
        chunk_hash: document_hash,
        vector: unit_vector(random),
        token_vectors: None,
    };
    Change::Put(PreparedDocument { document_id, document_hash, rows: vec![row] })
}

fn unit_vector(random: &mut SplitMix64) -> Vec<f32> {
    let values: Vec<f32> = (0..DIMENSION).map(|_| (random.draw() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}
