//! What a filter costs in each engine, by how many of the rows it keeps.
//!
//! Vectors are random and given, and every document is one chunk of a few words, so that the engines alone are measured.
//! The collection is filled by several commits, which leaves the lexical index in several segments.
//!
//! `cargo run --release --workspace --example filter_cost -- [DOCUMENTS]`, 100,000 if no number is given.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use trivium_retriever::Options;
use trivium_retriever::collection::{Catalog, Change, CollectionSpec, EmbedderRef, PreparedDocument, Published};
use trivium_retriever::filter::Filter;
use trivium_retriever::hash::ContentHash;
use trivium_retriever::metadata::{MetadataField, MetadataType, MetadataValue};
use trivium_retriever::vector::{ChunkRow, DocumentRow, ExactVectors};

const DIMENSION: usize = 384;
const FILLING_COMMITS: usize = 10;
const ROUNDS: usize = 50;
const K: usize = 100;
const FILTERS: [&str; 7] = [
    "bucket = 7",
    "bucket < 10",
    "bucket < 50",
    "bucket >= 1",
    "lang = \"en\" AND bucket < 50 AND NOT tags HAS \"t3\"",
    "lang IN (\"en\", \"de\") OR at >= \"2026-01-01\"",
    "NOT bucket = 7",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let size = std::env::args().nth(1).map_or(Ok(100_000), |size| size.parse::<usize>())?;
    let folder = tempfile::tempdir()?;
    let options = Options { exact_vectors_bytes: u64::MAX, ..Options::default() };
    let catalog = Catalog::open(folder.path(), options.collections()).await?;
    let embedder = EmbedderRef { name: "random".into(), version: "1".into() };
    let collection = catalog.create(CollectionSpec::new("docs", embedder, DIMENSION, fields()), false).await?;
    let portion = size.div_ceil(FILLING_COMMITS).max(1);
    for start in (0..size).step_by(portion) {
        collection.write((start..(start + portion).min(size)).map(document).collect()).await?;
    }
    let published = collection.published();
    println!("{size} chunks; median of {ROUNDS}, milliseconds");
    println!("{:>8} {:>8} {:>8} {:>8} {:>8}  filter", "rows", "set", "memory", "lexical", "table");
    measure(&published, None).await?;
    for text in FILTERS {
        measure(&published, Some(text)).await?;
    }
    catalog.close().await;
    Ok(())
}

async fn measure(published: &Published, text: Option<&str>) -> Result<(), Box<dyn Error>> {
    let filter = text.map(|text| Filter::parse(text, &fields())).transpose()?;
    let vectors: &ExactVectors = published.vectors.as_ref().ok_or("the vectors are not in memory")?;
    let query = unit_vector(u64::MAX);
    let rows = filter.as_ref().map(|filter| published.lexical.matching(filter)).transpose()?;
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let started = Instant::now();
        if let Some(filter) = &filter {
            published.lexical.matching(filter)?;
        }
        times[0].push(started.elapsed());
        let started = Instant::now();
        vectors.nearest(&query, K, rows.as_ref());
        times[1].push(started.elapsed());
        let started = Instant::now();
        published.lexical.search("word1 word2 word3", K, filter.as_ref())?;
        times[2].push(started.elapsed());
    }
    for _ in 0..ROUNDS / 10 {
        let started = Instant::now();
        published.table.nearest(&query, K, filter.as_ref()).await?;
        times[3].push(started.elapsed());
    }
    let [set, memory, lexical, table] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1_000.0
    });
    let kept = rows.map_or(published.chunks as usize, |rows| rows.as_slice().len());
    println!("{kept:>8} {set:>8.2} {memory:>8.2} {lexical:>8.2} {table:>8.2}  {}", text.unwrap_or("none"));
    Ok(())
}

fn fields() -> Vec<MetadataField> {
    let field = |name: &str, kind| MetadataField { name: name.into(), kind };
    vec![
        field("bucket", MetadataType::Integer),
        field("lang", MetadataType::String),
        field("at", MetadataType::Timestamp),
        field("tags", MetadataType::StringList),
    ]
}

/// Documents whose metadata are spread evenly over the collection.
fn document(number: usize) -> Change {
    const MICROS_PER_HOUR: i64 = 3_600_000_000;
    const START_OF_2020: i64 = 1_577_836_800_000_000;
    let mixed = mix(number as u64);
    let document_id = format!("document-{number}");
    let document_hash = ContentHash::from_u128(number as u128);
    let text = (0..20).map(|place| format!("word{} ", mix(mixed.wrapping_add(place)) % 2_000)).collect::<String>();
    let document = Arc::new(DocumentRow {
        document_id: document_id.clone(),
        title: format!("Document {number}"),
        uri: String::new(),
        content_type: "text/plain".into(),
        language: String::new(),
        declared: vec![
            Some(MetadataValue::Integer((mixed % 100) as i64)),
            Some(MetadataValue::String(["en", "de", "fr", "es"][(mixed / 100 % 4) as usize].into())),
            Some(MetadataValue::Timestamp(START_OF_2020 + number as i64 * MICROS_PER_HOUR)),
            Some(MetadataValue::StringList(vec![format!("t{}", mixed / 400 % 10), format!("u{}", mixed / 4_000 % 10)])),
        ],
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
        vector: unit_vector(number as u64),
        token_vectors: None,
    };
    Change::Put(PreparedDocument { document_id, document_hash, rows: vec![row] })
}

/// Pseudo-random numbers, each from its own place in the sequence (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014), so that every run writes the same.
fn mix(place: u64) -> u64 {
    let mixed = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn unit_vector(seed: u64) -> Vec<f32> {
    let start = mix(seed);
    let values: Vec<f32> = (0..DIMENSION as u64)
        .map(|place| (mix(start.wrapping_add(place)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0)
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}
