//! The stream of batches.
//!
//! Two steps work on two batches at a time: while one batch is committed, the next is chunked and embedded. Between
//! them waits one batch at most, and a client that sends faster than that is held back by the stream's own flow control.

use super::convert::{incoming_document, snapshot};
use crate::document::{IncomingDocument, check_batch};
use crate::ingest::{Ingest, PreparedBatch};
use crate::service::Retriever;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;
use trivium_proto::retriever::v1::{UpsertDocumentsRequest, UpsertDocumentsResponse};
use trivium_service_kit::{Deadline, Error, Reason, validate};

/// Most documents of one batch.
const MAX_DOCUMENTS: usize = 1_024;
/// Longest name of a batch, in bytes.
const MAX_BATCH_ID_BYTES: usize = 128;
/// Acknowledgements that wait for a slow client.
const ANSWERS: usize = 4;

type Answer = Result<UpsertDocumentsResponse, Status>;

/// Takes batches until the client ends the stream or one of them is refused. What was acknowledged before stays.
pub(super) fn run(
    retriever: Retriever,
    batches: impl Stream<Item = Result<UpsertDocumentsRequest, Status>> + Send + Unpin + 'static,
    deadline: Option<Deadline>,
) -> impl Stream<Item = Answer> + Send + 'static {
    let (answers, answered) = mpsc::channel(ANSWERS);
    let work = async move {
        let (ready, prepared) = mpsc::channel(1);
        tokio::join!(prepare_all(&retriever, batches, deadline, ready), write_all(prepared, answers));
    };
    let task = AbortOnDrop(tokio::spawn(tracing::Instrument::in_current_span(work)));
    tokio_stream::wrappers::ReceiverStream::new(answered).map(move |answer| {
        // The stream owns its task, so that a client who leaves stops the embedding of what it sent. A commit that has
        // begun belongs to the collection's writer, and is finished.
        let _ = &task;
        answer
    })
}

/// One batch between the two steps, or the refusal that ends the stream.
type Prepared = Result<ReadyBatch, Status>;

struct ReadyBatch {
    batch_id: String,
    deadline: Deadline,
    ingest: Ingest,
    batch: PreparedBatch,
}

async fn prepare_all(
    retriever: &Retriever,
    mut batches: impl Stream<Item = Result<UpsertDocumentsRequest, Status>> + Unpin,
    deadline: Option<Deadline>,
    ready: mpsc::Sender<Prepared>,
) {
    let mut preparation = Preparation { retriever, deadline, ingest: None };
    while let Some(batch) = batches.next().await {
        let prepared = match batch {
            Ok(request) => preparation.prepare(request).await,
            Err(status) => Err(status),
        };
        let refused = prepared.is_err();
        if ready.send(prepared).await.is_err() || refused {
            return;
        }
    }
}

async fn write_all(mut prepared: mpsc::Receiver<Prepared>, answers: mpsc::Sender<Answer>) {
    while let Some(batch) = prepared.recv().await {
        let answer = match batch {
            Ok(ready) => write(ready).await,
            Err(status) => Err(status),
        };
        let refused = answer.is_err();
        if answers.send(answer).await.is_err() || refused {
            return;
        }
    }
}

async fn write(ready: ReadyBatch) -> Answer {
    let ReadyBatch { batch_id, deadline, ingest, batch } = ready;
    let written =
        deadline.limit("the commit of a batch", ingest.write(batch, deadline)).await.and_then(|written| written);
    let outcome = written.map_err(|error| in_batch(&batch_id, error))?;
    Ok(UpsertDocumentsResponse {
        snapshot: Some(snapshot(&ingest.collection.spec().name, &outcome.published)),
        upserted: outcome.tally.upserted,
        unchanged: outcome.tally.unchanged,
        chunks: outcome.tally.chunks,
        batch_id,
    })
}

struct Preparation<'a> {
    retriever: &'a Retriever,
    /// The stream's own, if its caller set one.
    deadline: Option<Deadline>,
    /// Set by the first batch, which names the collection.
    ingest: Option<Ingest>,
}

impl Preparation<'_> {
    async fn prepare(&mut self, request: UpsertDocumentsRequest) -> Prepared {
        let batch_id = checked_batch_id(request.batch_id)?;
        let named = |error| in_batch(&batch_id, error);
        let deadline = self.deadline.unwrap_or_else(|| Deadline::after(self.retriever.limits().batch_budget));
        let ingest = self.ingest(&request.collection, deadline).await.map_err(named)?;
        let incoming = incoming_documents(request.documents).map_err(named)?;
        let limit = self.retriever.limits().document_bytes;
        let documents = check_batch(incoming, ingest.collection.spec(), limit).map_err(named)?;
        let batch = ingest.prepare(documents, deadline).await.map_err(named)?;
        Ok(ReadyBatch { deadline, ingest, batch, batch_id })
    }

    async fn ingest(&mut self, collection: &str, deadline: Deadline) -> Result<Ingest, Error> {
        if let Some(ingest) = &self.ingest {
            let first = &ingest.collection.spec().name;
            if first != collection {
                let message = format!("collection is {collection:?}; the stream's first batch named {first:?}");
                return Err(Error::new(Reason::FieldInvalid, message).with_field("collection"));
            }
            // One that was given another encoder has become another collection.
            if !ingest.collection.is_closed() {
                return Ok(ingest.clone());
            }
        }
        let ingest = self.retriever.ingest(collection, deadline).await?;
        self.ingest = Some(ingest.clone());
        Ok(ingest)
    }
}

fn checked_batch_id(batch_id: String) -> Result<String, Error> {
    if batch_id.len() <= MAX_BATCH_ID_BYTES && !batch_id.chars().any(char::is_control) {
        return Ok(batch_id);
    }
    let message = format!(
        "batch_id has {} bytes; it must be at most {MAX_BATCH_ID_BYTES} bytes without control characters",
        batch_id.len()
    );
    Err(Error::new(Reason::FieldInvalid, message).with_field("batch_id"))
}

fn incoming_documents(documents: Vec<trivium_proto::retriever::v1::Document>) -> Result<Vec<IncomingDocument>, Error> {
    let count = u32::try_from(documents.len()).unwrap_or(u32::MAX);
    validate::in_range("documents", count, 1..=MAX_DOCUMENTS as u32)?;
    documents
        .into_iter()
        .enumerate()
        .map(|(place, document)| incoming_document(&format!("documents[{place}]"), document))
        .collect()
}

/// Says which batch an error is about, and keeps everything else of it.
fn in_batch(batch_id: &str, error: Error) -> Error {
    let mut named = Error::new(error.reason(), format!("batch {batch_id:?}: {}", error.message()));
    if let Some(field) = error.field() {
        named = named.with_field(field);
    }
    match error.retry_after() {
        Some(delay) => named.with_retry_after(delay),
        None => named,
    }
}

/// Ends a task when it is dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
