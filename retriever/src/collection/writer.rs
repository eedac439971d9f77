//! The one writer of a collection.
//!
//! Requests that arrive while a commit runs wait in a bounded queue and go into the next commit together. Each commit
//! goes the same way: the vector table first, which makes it durable; then the lexical index, with the row ids that the
//! table gave; then both are shown to readers as one pair; then the requests are answered. Whatever goes wrong on the
//! way is put right by reading the table anew and catching up, so that no answer is given for what readers cannot see.

mod handle;
mod indexing;

pub(super) use self::handle::WriterHandle;
use self::handle::{Answer, ColumnRequest, PurgeRequest, Queues, Request};
use self::indexing::Indexing;
use super::catchup::{self, LEXICAL, check_count};
use super::derive::{self, LexicalChange};
use super::directory::{Directory, DocumentEntry};
use super::plan::{Change, GroupPlan, PreparedDocument, Tally, Verdict, plan};
use super::publish::{Published, Shared};
use super::snapshots::Snapshots;
use super::{Collection, CollectionError, CollectionOptions};
use crate::failpoint::Failpoint;
use crate::lexical::{LexicalIndex, LexicalOptions};
use crate::vector::{ChunkRow, CompactionBounds, ExactVectors, RowPlace, VectorTable};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use trivium_service_kit::Service;
use trivium_service_kit::telemetry::{count, metrics, names::attribute as key};

/// Commits that pass after a compaction or an index that failed, so that a lasting cause does not burden each of them.
const COMMITS_AFTER_FAILED_UPKEEP: u32 = 64;

/// What became of a write request.
#[derive(Debug)]
pub enum Written {
    /// It took effect, and readers see it.
    Published {
        /// The state that holds it.
        published: Arc<Published>,
        /// What it changed.
        tally: Tally,
    },
    /// Documents that it wanted kept changed meanwhile, and nothing took effect. Prepare those, and write again.
    Stale {
        /// All changes of the request.
        changes: Vec<Change>,
        /// The documents to prepare.
        document_ids: BTreeSet<String>,
    },
}

/// Why a write request was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The collection takes no more writes: it was deleted, or the process ends.
    #[error("the collection takes no more writes")]
    Closed,
    /// Another collection has taken its place, with the same documents and the vectors of another encoder.
    #[error("the collection was re-embedded")]
    Succeeded(Arc<Collection>),
    /// The write failed. It is not known to have happened; writing the same again is safe.
    #[error("the write failed: {0}")]
    Failed(Arc<CollectionError>),
}

/// What the writer keeps in step with the table.
pub(super) struct Derived {
    pub(super) lexical_folder: PathBuf,
    pub(super) index: LexicalIndex,
    pub(super) snapshots: Arc<Snapshots>,
}

/// Starts the writer of a collection.
pub(super) fn start(
    collection: String,
    options: &CollectionOptions,
    shared: Arc<Shared>,
    table: VectorTable,
    derived: Derived,
) -> WriterHandle {
    let Derived { lexical_folder, index, snapshots } = derived;
    let (send_requests, requests) = mpsc::channel(options.write_queue.max(1));
    let (send_purges, purges) = mpsc::channel(1);
    let (send_columns, columns) = mpsc::channel(1);
    let writer = Writer {
        collection,
        lexical_folder,
        lexical_options: options.lexical.clone(),
        exact_vectors_bytes: options.exact_vectors_bytes,
        commit_rows: options.commit_rows,
        compaction: options.compaction,
        compaction_pause: 0,
        indexing: Indexing::new(options.index_tail_rows),
        shared,
        snapshots,
        requests,
        purges,
        columns,
        table,
        index: Some(index),
    };
    let task = tokio::spawn(writer.run());
    let queues = Queues { requests: send_requests, purges: send_purges, columns: send_columns };
    WriterHandle::new(queues, task)
}

pub(super) struct Writer {
    collection: String,
    pub(super) lexical_folder: PathBuf,
    pub(super) lexical_options: LexicalOptions,
    pub(super) exact_vectors_bytes: u64,
    commit_rows: usize,
    compaction: CompactionBounds,
    /// Commits until the next compaction may be tried.
    compaction_pause: u32,
    indexing: Indexing,
    pub(super) shared: Arc<Shared>,
    pub(super) snapshots: Arc<Snapshots>,
    requests: mpsc::Receiver<Request>,
    purges: mpsc::Receiver<PurgeRequest>,
    columns: mpsc::Receiver<ColumnRequest>,
    /// The newest version that this writer knows.
    pub(super) table: VectorTable,
    /// Empty after a failure, until the next recovery.
    pub(super) index: Option<LexicalIndex>,
}

impl Writer {
    async fn run(mut self) {
        self.index_if_due();
        loop {
            tokio::select! {
                biased;
                Some(request) = self.purges.recv() => self.answer_purge(request).await,
                Some(request) = self.columns.recv() => self.answer_column(request).await,
                outcome = self.indexing.ended() => self.index_ended(outcome).await,
                first = self.requests.recv() => match first {
                    Some(first) => self.answer_writes(first).await,
                    None => break,
                },
            }
        }
        // Whoever waits for the writer's end may move or remove the folder next.
        self.stop_indexing().await;
        if let Some(index) = self.index.take()
            && let Err(error) = derive::close(index).await
        {
            tracing::warn!(collection = self.collection, error = &error as &dyn std::error::Error, "a merge failed");
        }
    }

    async fn answer_writes(&mut self, first: Request) {
        let started = Instant::now();
        let (changes, answers) = self.gather(first);
        let outcome = self.write(changes).await;
        metrics::of(Service::Retriever).committed(outcome.is_ok(), started.elapsed());
        answer(outcome, answers);
        self.compact_if_due().await;
        self.index_if_due();
    }

    async fn answer_purge(&mut self, request: PurgeRequest) {
        let outcome = self.purge(request.document_ids).await;
        if let Err(error) = &outcome {
            tracing::error!(collection = self.collection, error = error as &dyn std::error::Error, "purge failed");
        }
        // Whoever asked may have left meanwhile.
        let _ = request.answer.send(outcome.map_err(|error| WriteError::Failed(Arc::new(error))));
        self.index_if_due();
    }

    async fn answer_column(&mut self, request: ColumnRequest) {
        let outcome = self.give_tokens(request.column).await;
        if let Err(error) = &outcome {
            let error: &dyn std::error::Error = error;
            tracing::error!(collection = self.collection, error, "the table was given no token vectors");
        }
        let _ = request.answer.send(outcome.map_err(|error| WriteError::Failed(Arc::new(error))));
    }

    /// Takes what waits already, up to the limit of one commit.
    fn gather(&mut self, first: Request) -> (Vec<Vec<Change>>, Vec<Answer>) {
        let mut rows = rows_of(&first.changes);
        let mut changes = vec![first.changes];
        let mut answers = vec![first.answer];
        while rows < self.commit_rows {
            let Ok(next) = self.requests.try_recv() else { break };
            rows += rows_of(&next.changes);
            changes.push(next.changes);
            answers.push(next.answer);
        }
        (changes, answers)
    }

    pub(super) async fn write(
        &mut self,
        requests: Vec<Vec<Change>>,
    ) -> Result<(Arc<Published>, Vec<Verdict>), CollectionError> {
        if self.index.is_none() {
            self.recover().await?;
        }
        let mut group = self.shared.with_directory(|directory| plan(directory, requests));
        let verdicts = std::mem::take(&mut group.verdicts);
        if group.is_empty() {
            return Ok((self.shared.published(), verdicts));
        }
        let published = match self.commit(group).await {
            Ok(published) => published,
            Err(Failure { committed, error }) => {
                tracing::error!(
                    collection = self.collection,
                    committed,
                    error = &error as &dyn std::error::Error,
                    "commit failed"
                );
                self.index = None;
                let recovered = self.recover().await;
                match committed {
                    // The table holds the write, and now readers see it.
                    true => recovered?,
                    false => return Err(error),
                }
            }
        };
        Ok((published, verdicts))
    }

    async fn commit(&mut self, group: GroupPlan) -> Result<Arc<Published>, Failure> {
        let deleted = self.shared.with_directory(|directory| places_of(directory, &group.removed));
        let documents = documents_of(&group.written);
        let rows: Vec<ChunkRow> = group.written.into_iter().flat_map(|document| document.rows).collect();
        let committed = self.table.commit(&rows, &deleted).await.map_err(|error| Failure::before(error.into()))?;
        Failpoint::AfterTableCommit.reach();
        self.table = committed.table;
        let deleted: Vec<u64> = deleted.iter().map(|place| place.row_id).collect();
        let vectors = self.changed_vectors(deleted.clone(), &rows, &committed.places).await.map_err(Failure::after)?;
        let added = rows.iter().zip(&committed.places).map(|(row, place)| derive::from_new_row(row, *place)).collect();
        self.index_and_publish(LexicalChange { deleted, added }, vectors, |directory| {
            group.removed.iter().for_each(|document_id| directory.remove(document_id));
            insert_all(directory, documents, &committed.places);
        })
        .await
        .map_err(Failure::after)
    }

    /// The vectors in memory after a commit; `None` once they exceed their budget.
    async fn changed_vectors(
        &self,
        deleted: Vec<u64>,
        rows: &[ChunkRow],
        places: &[RowPlace],
    ) -> Result<Option<ExactVectors>, CollectionError> {
        let Some(mut vectors) = self.shared.published().vectors.clone() else { return Ok(None) };
        let values: Vec<f32> = rows.iter().flat_map(|row| row.vector.iter().copied()).collect();
        let ids = places.iter().map(|place| place.row_id).collect();
        // A large batch takes a while to code and to sketch.
        let change = move || {
            vectors.append(ids, values);
            vectors.delete(&deleted);
            vectors
        };
        let vectors = tokio::task::spawn_blocking(change).await?;
        let bytes = ExactVectors::bytes(vectors.live_rows(), self.table.layout().dimension);
        if bytes > self.exact_vectors_bytes {
            tracing::info!(collection = self.collection, bytes, "vectors exceed their budget and leave memory");
            return Ok(None);
        }
        Ok(Some(vectors))
    }

    /// Merges small fragments, a bounded number of rows. The writer does it itself, between two commits: a pass beside
    /// it would lose its work whenever a commit deletes a row that the pass moves.
    async fn compact_if_due(&mut self) {
        // After a failure the next write recovers first.
        if self.index.is_none() {
            return;
        }
        if self.compaction_pause > 0 {
            self.compaction_pause -= 1;
            return;
        }
        if let Err(error) = self.compact().await {
            let error: &dyn std::error::Error = &error;
            tracing::error!(collection = self.collection, error, "compaction failed");
            self.index = None;
            self.compaction_pause = COMMITS_AFTER_FAILED_UPKEEP;
        }
    }

    #[tracing::instrument(skip_all, fields(collection = self.collection, { key::OPENINFERENCE_SPAN_KIND } = "CHAIN"))]
    async fn compact(&mut self) -> Result<(), CollectionError> {
        let (started, before) = (Instant::now(), self.table.fragments());
        let Some(compacted) = self.table.compact(self.compaction, self.indexing.kept_fragments()).await? else {
            return Ok(());
        };
        self.table = compacted.table;
        // Both legs know rows by their ids, which stay: only the directory has to learn where the rows are now.
        let vectors = self.shared.published().vectors.clone();
        let moved = compacted.moved;
        self.index_and_publish(LexicalChange::default(), vectors, |directory| directory.move_rows(&moved)).await?;
        let (after, rows) = (self.table.fragments(), moved.len());
        metrics::of(Service::Retriever).compacted(rows as u64, started.elapsed());
        tracing::info!(
            fragments_before = count(before),
            fragments_after = count(after),
            rows = count(rows),
            "small fragments were merged"
        );
        Ok(())
    }

    pub(super) async fn index_and_publish(
        &mut self,
        change: LexicalChange,
        vectors: Option<ExactVectors>,
        edit: impl FnOnce(&mut Directory),
    ) -> Result<Arc<Published>, CollectionError> {
        let version = self.table.version();
        let vector_rows = self.table.count_rows().await?;
        let in_memory = vectors.as_ref().map_or(vector_rows, ExactVectors::live_rows);
        check_count("the memory", in_memory, vector_rows, version)?;
        // A recovery comes before every write without an index, so there is one.
        let missing = CollectionError::OutOfStep { vector_rows, what: LEXICAL, derived_rows: 0, version };
        let index = self.index.take().ok_or(missing)?;
        let payload = derive::payload(&self.table, index.analyzer_hash(), vector_rows);
        let index = derive::apply(index, change, payload).await?;
        Failpoint::AfterIndexCommit.reach();
        let (index, captured) = self.snapshots.capture(index, version).await?;
        let searcher = index.searcher();
        check_count(LEXICAL, searcher.num_docs(), vector_rows, version)?;
        self.index = Some(index);
        let published = self.shared.publish(|directory| {
            edit(directory);
            Published::new(self.table.clone(), searcher, vectors, directory)
        });
        self.snapshots.published(&published, captured).await;
        published.sketch_beside();
        Ok(published)
    }

    /// Reads the table's newest version, derives everything else from it again, and publishes all.
    pub(super) async fn recover(&mut self) -> Result<Arc<Published>, CollectionError> {
        let table = self.table.newest().await?;
        let keys = table.scan_keys().await?;
        let caught_up = catchup::catch_up(&table, &keys, &self.lexical_folder, &self.lexical_options).await?;
        caught_up.report.log(&self.collection);
        let vectors = table.load_exact(self.exact_vectors_bytes).await?;
        let (index, captured) = self.snapshots.capture(caught_up.index, table.version()).await?;
        let searcher = index.searcher();
        self.index = Some(index);
        self.table = table;
        let published = self.shared.publish(|directory| {
            *directory = Directory::from_keys(&keys);
            Published::new(self.table.clone(), searcher, vectors, directory)
        });
        self.snapshots.published(&published, captured).await;
        published.sketch_beside();
        Ok(published)
    }
}

/// A commit that went wrong.
struct Failure {
    /// Whether the table is known to hold the write.
    committed: bool,
    error: CollectionError,
}

impl Failure {
    fn before(error: CollectionError) -> Self {
        Self { committed: false, error }
    }

    fn after(error: CollectionError) -> Self {
        Self { committed: true, error }
    }
}

fn answer(outcome: Result<(Arc<Published>, Vec<Verdict>), CollectionError>, answers: Vec<Answer>) {
    // A request whose caller has left meanwhile is written all the same; its answer has nowhere to go.
    match outcome {
        Ok((published, verdicts)) => {
            for (verdict, answer) in verdicts.into_iter().zip(answers) {
                let written = match verdict {
                    Verdict::Applies(tally) => Written::Published { published: published.clone(), tally },
                    Verdict::Stale { changes, document_ids } => Written::Stale { changes, document_ids },
                };
                let _ = answer.sender.send(Ok(written));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for answer in answers {
                let _ = answer.sender.send(Err(WriteError::Failed(error.clone())));
            }
        }
    }
}

fn rows_of(changes: &[Change]) -> usize {
    let rows = |change: &Change| match change {
        Change::Put(document) | Change::Renew(document) => document.rows.len(),
        Change::Keep { .. } | Change::Delete { .. } => 0,
    };
    changes.iter().map(rows).sum()
}

fn places_of(directory: &Directory, document_ids: &[String]) -> Vec<RowPlace> {
    let entries = document_ids.iter().filter_map(|document_id| directory.get(document_id));
    entries.flat_map(|entry| entry.rows.iter().copied()).collect()
}

/// What the directory has to know of documents whose rows are given away.
struct NewDocument {
    document_id: String,
    hash: crate::hash::ContentHash,
    rows: usize,
}

fn documents_of(written: &[PreparedDocument]) -> Vec<NewDocument> {
    let document = |document: &PreparedDocument| NewDocument {
        document_id: document.document_id.clone(),
        hash: document.document_hash,
        rows: document.rows.len(),
    };
    written.iter().map(document).collect()
}

/// Adds documents whose rows lie in `places` one after another.
fn insert_all(directory: &mut Directory, documents: Vec<NewDocument>, places: &[RowPlace]) {
    let mut places = places.iter().copied();
    for document in documents {
        let rows = places.by_ref().take(document.rows).collect();
        directory.insert(document.document_id, DocumentEntry { hash: document.hash, rows });
    }
}
