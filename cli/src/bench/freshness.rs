//! How soon a write shows, and what writing does to searches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use trivium_proto::retriever::v1::{Leg, SearchRequest, UpsertDocumentsRequest};
use trivium_service_kit::{Error, Reason};

use super::{
    generate::{Generator, own_word},
    latency::Latencies,
    open_loop::open_loop,
};
use crate::clients::Retriever;

/// Documents in one batch of those that are there before the measurement.
const FILL_BATCH: u64 = 512;
/// Batches of those under way.
const FILL_AHEAD: usize = 2;
/// Hits of each search.
const K: u32 = 10;
/// One write in so many is looked for as soon as it is acknowledged.
const LOOKED_FOR: usize = 10;

/// What comes in, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Documents a second, each a request of its own.
    pub writes_per_second: f64,
    /// Searches a second.
    pub searches_per_second: f64,
    /// How long each part lasts.
    pub lasting: Duration,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// Calls a second that came in.
    pub per_second: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest call.
    pub max_ms: f64,
    /// Calls that were measured.
    pub calls: usize,
}

/// A collection of generated documents that the measurement writes to and searches.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Where it is.
    pub retriever: Retriever,
    /// Its name.
    pub collection: String,
    /// Makes its documents.
    pub generator: Generator,
    /// How many documents it has been given so far.
    pub documents: Arc<AtomicU64>,
}

impl Scratch {
    /// Puts `chunks` documents in, each of one chunk. `done` is told of each batch.
    ///
    /// # Errors
    /// When the retriever refuses them or fails.
    pub async fn fill(&self, chunks: u64, done: impl Fn(u64)) -> anyhow::Result<()> {
        let (batches, receiver) = mpsc::channel(FILL_AHEAD);
        let mut acknowledged = self.retriever.upsert(receiver).await?;
        let send = async {
            let mut first = 0;
            while first < chunks {
                let numbers = first..chunks.min(first + FILL_BATCH);
                first = numbers.end;
                let sent = batches.send(self.batch(numbers)).await;
                if sent.is_err() {
                    break;
                }
            }
            drop(batches);
        };
        let receive = async {
            while let Some(answer) = acknowledged.next().await {
                done(u64::from(answer?.upserted));
            }
            Ok::<_, Error>(())
        };
        let ((), received) = tokio::join!(send, receive);
        received.context("the collection cannot be filled")?;
        self.documents.store(chunks, Ordering::Relaxed);
        Ok(())
    }

    /// Searches alone, then searches beside writes.
    ///
    /// # Errors
    /// The first call that fails, and a document that a search does not find once it is acknowledged.
    pub async fn measure(&self, load: Load) -> Result<Vec<Row>, Error> {
        let search = |number| self.clone().search(number as u64);
        let write = |number| self.clone().write(number);
        let quiet = open_loop(load.searches_per_second, load.lasting, search).await?;
        let (searches, writes) = tokio::try_join!(
            open_loop(load.searches_per_second, load.lasting, search),
            open_loop(load.writes_per_second, load.lasting, write),
        )?;
        Ok(vec![
            Row::of("search_quiet", load.searches_per_second, &quiet),
            Row::of("search_under_writes", load.searches_per_second, &searches),
            Row::of("write_to_visible", load.writes_per_second, &writes),
        ])
    }

    async fn search(self, number: u64) -> Result<(), Error> {
        let (query, vector) = self.generator.query(number);
        self.retriever.search(SearchRequest { vectors: vec![vector], ..self.request(query) }).await.map(drop)
    }

    /// Writes one new document, and waits for its acknowledgement, which comes when searches see it.
    async fn write(self, number: usize) -> Result<(), Error> {
        let document = self.documents.fetch_add(1, Ordering::Relaxed);
        let (sender, batches) = mpsc::channel(1);
        let closed = |_| Error::new(Reason::Internal, "the stream of one batch was closed before it began");
        sender.send(self.batch(document..document + 1)).await.map_err(closed)?;
        drop(sender);
        let mut acknowledged = self.retriever.upsert(batches).await?;
        let missing = || Error::new(Reason::Internal, "the retriever closed the stream without an acknowledgement");
        acknowledged.next().await.ok_or_else(missing)??;
        if number.is_multiple_of(LOOKED_FOR) { self.look_for(document).await } else { Ok(()) }
    }

    async fn look_for(&self, document: u64) -> Result<(), Error> {
        let request = SearchRequest { legs: vec![Leg::Lexical.into()], ..self.request(own_word(document)) };
        let found = self.retriever.search(request).await?;
        let id = format!("generated-{document}");
        match found.hits.iter().any(|hit| hit.document_id == id) {
            true => Ok(()),
            false => Err(Error::new(Reason::Internal, format!("{id} was acknowledged and is not found"))),
        }
    }

    fn batch(&self, numbers: std::ops::Range<u64>) -> UpsertDocumentsRequest {
        UpsertDocumentsRequest {
            collection: self.collection.clone(),
            batch_id: format!("from-{}", numbers.start),
            documents: numbers.map(|number| self.generator.document(number)).collect(),
        }
    }

    fn request(&self, query: String) -> SearchRequest {
        SearchRequest { collection: self.collection.clone(), query, k: Some(K), ..SearchRequest::default() }
    }
}

impl Row {
    fn of(name: &'static str, per_second: f64, latencies: &Latencies) -> Self {
        Self {
            name,
            per_second,
            p50_ms: latencies.percentile_ms(0.5),
            p95_ms: latencies.percentile_ms(0.95),
            p99_ms: latencies.percentile_ms(0.99),
            max_ms: latencies.percentile_ms(1.0),
            calls: latencies.len(),
        }
    }
}
