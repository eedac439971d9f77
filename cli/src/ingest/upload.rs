//! Streams documents to the retriever, a few batches ahead of its acknowledgements.
//!
//! The retriever ends a stream at the first batch that it refuses; everything it
//! acknowledged before stays. The refused batch is then sent again document by
//! document, so that only what is at fault is left out.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use trivium_proto::retriever::v1::{UpsertDocumentsRequest, UpsertDocumentsResponse};
use trivium_service_kit::{Error, Reason};

use super::{
    Item, Note, Prepared, Skipped,
    batch::{Batch, Batcher},
};
use crate::clients::Retriever;

/// Batches that may be under way without an acknowledgement.
const WINDOW: usize = 4;

/// Streams that may fail one after the other, without an acknowledgement in between.
const MAX_FAILURES: u32 = 5;

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What came of an upload.
#[derive(Debug, Default)]
pub struct Tally {
    /// Documents that were new or different.
    pub ingested: u64,
    /// Documents that were there already, the same.
    pub unchanged: u64,
    /// Chunks that were written.
    pub chunks: u64,
    /// The newest version that was acknowledged.
    pub version: Option<u64>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// What was odd.
    pub notes: Vec<Note>,
}

/// An upload that did not come to its end. What was acknowledged stays ingested.
#[derive(Debug, thiserror::Error)]
#[error("the upload stopped after {} documents were acknowledged", .tally.ingested + .tally.unchanged)]
pub struct Interrupted {
    /// What had been done.
    pub tally: Box<Tally>,
    /// Why it stopped.
    pub source: Error,
}

/// Sends everything that comes out of `items` to `collection`. `advance` is told
/// the bytes of input that are dealt with, as they are.
///
/// # Errors
/// When the retriever cannot be reached or fails for another reason than the
/// documents.
pub async fn upload(
    retriever: &Retriever,
    collection: &str,
    items: mpsc::Receiver<Item>,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<Tally, Interrupted> {
    let mut upload = Upload::new(collection, items, advance);
    match upload.run(retriever).await {
        Ok(()) => Ok(upload.tally),
        Err(source) => Err(Interrupted { tally: Box::new(upload.tally), source }),
    }
}

/// Whether the documents themselves were refused.
fn is_about_documents(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::FieldInvalid
            | Reason::FieldOutOfRange
            | Reason::FieldMissing
            | Reason::DuplicateId
            | Reason::DocumentTooLarge
            | Reason::MessageTooLarge
            | Reason::MessageMalformed
    )
}

/// Whether it is worth trying again.
fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::Overloaded | Reason::ShuttingDown | Reason::ModelHostUnavailable)
}

fn pause(error: &Error, failures: u32) -> Duration {
    error.retry_after().unwrap_or(FIRST_PAUSE * 2_u32.pow(failures.min(6) - 1))
}

struct Upload<'a> {
    collection: &'a str,
    items: mpsc::Receiver<Item>,
    advance: &'a (dyn Fn(u64) + Sync),
    /// Where each id was seen first.
    origins: HashMap<String, String>,
    batcher: Batcher,
    /// Batches that go before new ones: they were sent before, or split.
    again: VecDeque<Batch>,
    /// Batches on the current stream, oldest first.
    sent: VecDeque<Batch>,
    acknowledged: u64,
    tally: Tally,
}

impl<'a> Upload<'a> {
    fn new(collection: &'a str, items: mpsc::Receiver<Item>, advance: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self {
            collection,
            items,
            advance,
            origins: HashMap::new(),
            batcher: Batcher::default(),
            again: VecDeque::new(),
            sent: VecDeque::new(),
            acknowledged: 0,
            tally: Tally::default(),
        }
    }

    /// Opens streams until everything is dealt with.
    async fn run(&mut self, retriever: &Retriever) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            let before = self.acknowledged;
            let Err(error) = self.stream(retriever).await else { return Ok(()) };
            if self.acknowledged > before {
                failures = 0;
            }
            if is_about_documents(error.reason()) {
                self.isolate(&error)?;
                continue;
            }
            failures += 1;
            if !is_passing(error.reason()) || failures >= MAX_FAILURES {
                return Err(error);
            }
            tokio::time::sleep(pause(&error, failures)).await;
        }
    }

    /// Opens one stream and sends all there is, until the end or the first error.
    async fn stream(&mut self, retriever: &Retriever) -> Result<(), Error> {
        // The first batch goes in before the stream opens, for servers that
        // answer only when they have something to answer.
        let Some(first) = self.next_batch().await else { return Ok(()) };
        let (sender, receiver) = mpsc::channel(WINDOW);
        self.send(&sender, first).await;
        let outcome = async {
            let mut answers = retriever.upsert(receiver).await?;
            self.exchange(sender, &mut answers).await
        }
        .await;
        // What was sent and not acknowledged is sent again, in its old order.
        while let Some(batch) = self.sent.pop_back() {
            self.again.push_front(batch);
        }
        outcome
    }

    async fn exchange(
        &mut self,
        sender: mpsc::Sender<UpsertDocumentsRequest>,
        answers: &mut (impl Stream<Item = Result<UpsertDocumentsResponse, Error>> + Unpin),
    ) -> Result<(), Error> {
        let mut more = true;
        while more || !self.sent.is_empty() {
            let wants_more = more && self.sent.len() < WINDOW;
            tokio::select! {
                batch = self.next_batch(), if wants_more => match batch {
                    Some(batch) => self.send(&sender, batch).await,
                    None => more = false,
                },
                answer = answers.next(), if !wants_more || !self.sent.is_empty() => match answer {
                    Some(answer) => self.acknowledge(answer?),
                    None => return Err(Error::new(Reason::Internal, "the retriever ended the stream early")),
                },
            }
        }
        drop(sender);
        match answers.next().await {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The next batch, and `None` at the end. Nothing is lost when this is given
    /// up half way: what was collected stays in the batcher.
    async fn next_batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.again.pop_front() {
            return Some(batch);
        }
        while let Some(item) = self.items.recv().await {
            let full = match item {
                Item::Skipped { skipped, bytes } => {
                    self.skip(skipped, bytes);
                    None
                }
                Item::Document(prepared) => self.take(*prepared),
            };
            if full.is_some() {
                return full;
            }
        }
        self.batcher.flush()
    }

    /// Takes a document, unless another of this run has its id.
    fn take(&mut self, prepared: Prepared) -> Option<Batch> {
        let id = &prepared.document.id;
        if let Some(first) = self.origins.get(id) {
            let reason = format!("its id {id:?} was taken by {first}");
            self.skip(Skipped { path: prepared.origin, reason }, prepared.bytes);
            return None;
        }
        self.origins.insert(id.clone(), prepared.origin.clone());
        if let Some(note) = &prepared.note {
            self.tally.notes.push(Note { path: prepared.origin.clone(), note: note.clone() });
        }
        self.batcher.push(prepared)
    }

    fn skip(&mut self, skipped: Skipped, bytes: u64) {
        self.tally.skipped.push(skipped);
        (self.advance)(bytes);
    }

    async fn send(&mut self, sender: &mpsc::Sender<UpsertDocumentsRequest>, batch: Batch) {
        let number = self.acknowledged + self.sent.len() as u64;
        let request = UpsertDocumentsRequest {
            collection: self.collection.to_owned(),
            batch_id: number.to_string(),
            documents: batch.to_documents(),
        };
        self.sent.push_back(batch);
        // The channel holds a whole window, so this never waits. It fails when
        // the stream is over; the answers then say why.
        let _ = sender.send(request).await;
    }

    /// Answers come in the order of the batches.
    fn acknowledge(&mut self, answer: UpsertDocumentsResponse) {
        let Some(batch) = self.sent.pop_front() else { return };
        self.acknowledged += 1;
        self.tally.ingested += u64::from(answer.upserted);
        self.tally.unchanged += u64::from(answer.unchanged);
        self.tally.chunks += u64::from(answer.chunks);
        let version = answer.snapshot.map(|snapshot| snapshot.version);
        self.tally.version = self.tally.version.max(version);
        (self.advance)(batch.input_bytes());
    }

    /// Takes the refused batch apart, or leaves out its only document.
    fn isolate(&mut self, error: &Error) -> Result<(), Error> {
        let Some(refused) = self.again.pop_front() else { return Err(error.clone()) };
        match refused.split() {
            Ok(only) => {
                let reason = format!("the retriever refused it: {}", error.message());
                self.skip(Skipped { path: only.origin, reason }, only.bytes);
            }
            Err(mut singles) => {
                singles.append(&mut self.again);
                self.again = singles;
            }
        }
        Ok(())
    }
}
