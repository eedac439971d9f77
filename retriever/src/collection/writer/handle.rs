//! The way to a collection's writer: bounded queues, and the answers that come back.

use super::super::plan::Change;
use super::super::purge::Purged;
use super::super::waiting::{Place, Waiting};
use super::{WriteError, Written};
use crate::vector::TokenColumn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Where the outcome of a request goes. The request waits until this is gone.
pub(super) struct Answer {
    pub(super) sender: oneshot::Sender<Result<Written, WriteError>>,
    _place: Place,
}

/// A purge that was asked for, and where its outcome goes.
pub(super) struct PurgeRequest {
    pub(super) document_ids: Vec<String>,
    pub(super) answer: oneshot::Sender<Result<Purged, WriteError>>,
    _place: Place,
}

/// Token vectors that a table is to have, and where the outcome goes.
pub(super) struct ColumnRequest {
    pub(super) column: TokenColumn,
    pub(super) answer: oneshot::Sender<Result<(), WriteError>>,
}

/// A write that was asked for, and where its outcome goes.
pub(super) struct Request {
    pub(super) changes: Vec<Change>,
    pub(super) answer: Answer,
}

/// The way to a collection's writer.
#[derive(Debug)]
pub(in crate::collection) struct WriterHandle {
    /// Empty once the collection is closed.
    queue: Mutex<Option<Queues>>,
    waiting: Arc<Waiting>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// All ends that requests are put into.
#[derive(Debug, Clone)]
pub(super) struct Queues {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) purges: mpsc::Sender<PurgeRequest>,
    pub(super) columns: mpsc::Sender<ColumnRequest>,
}

impl WriterHandle {
    pub(super) fn new(queues: Queues, task: JoinHandle<()>) -> Self {
        Self { queue: Mutex::new(Some(queues)), waiting: Arc::default(), task: tokio::sync::Mutex::new(Some(task)) }
    }

    /// Hands a purge to the writer, which finishes it even if nobody waits for its outcome any more.
    pub(in crate::collection) async fn purge(&self, document_ids: Vec<String>) -> Result<Purged, WriteError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(WriteError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = PurgeRequest { document_ids, answer, _place: self.enter() };
        queue.purges.send(request).await.map_err(|_| WriteError::Closed)?;
        drop(queue);
        answered.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Has the table given token vectors, where it has none.
    pub(in crate::collection) async fn give_tokens(&self, column: TokenColumn) -> Result<(), WriteError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(WriteError::Closed)?;
        let (answer, answered) = oneshot::channel();
        queue.columns.send(ColumnRequest { column, answer }).await.map_err(|_| WriteError::Closed)?;
        drop(queue);
        answered.await.unwrap_or(Err(WriteError::Closed))
    }

    pub(in crate::collection) async fn write(&self, changes: Vec<Change>) -> Result<Written, WriteError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(WriteError::Closed)?;
        let (sender, answered) = oneshot::channel();
        let answer = Answer { sender, _place: self.enter() };
        queue.requests.send(Request { changes, answer }).await.map_err(|_| WriteError::Closed)?;
        // The clone would keep the writer alive until the answer, which the writer gives before it ends.
        drop(queue);
        answered.await.unwrap_or(Err(WriteError::Closed))
    }

    fn enter(&self) -> Place {
        self.waiting.enter(Instant::now())
    }

    /// How many requests wait for their publication, and how long the oldest has waited.
    pub(in crate::collection) fn waiting(&self, now: Instant) -> (usize, Duration) {
        self.waiting.now(now)
    }

    pub(in crate::collection) fn is_closed(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(in crate::collection) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "writer of a collection was cut short");
        }
    }
}
