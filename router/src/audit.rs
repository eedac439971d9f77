//! The audit log: what was decided, from what, and what came of it.
//!
//! Every query that is taken leaves one record. Records go through a bounded
//! queue to one task, so that no answer waits for a disk: a record that finds
//! the queue full is lost, counted, and told of in the log itself. The log is a
//! folder of append-only files; [`segment`] has their form.

mod compare;
mod draft;
mod folder;
mod options;
mod reader;
mod replay;
mod request;
mod segment;
mod tenants;
mod witness;
mod writer;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use futures::Stream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use trivium_proto::router::v1::{AuditFeedback, AuditRecord, Feedback, audit_entry::Entry};
use trivium_service_kit::{ConfigError, Deadline, Error, Reason, Service, telemetry::metrics};

pub use self::options::AuditOptions;
pub(crate) use self::{
    draft::{Call, Draft, Watched},
    reader::Exported,
    replay::replay,
    request::{feedback, past_request},
    tenants::Audits,
    witness::{Past, Witness},
};
use self::{
    folder::Folder,
    writer::{Command, Writer},
};
use crate::policy::Policy;

/// Readings of the whole log that go on at once. Each holds one file in memory.
const READERS: usize = 2;

/// Exported records that may wait for a slow caller.
const WAITING_EXPORTS: usize = 64;

/// The log, or nothing where none is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit(Option<Arc<Log>>);

#[derive(Debug)]
struct Log {
    folder: Folder,
    commands: mpsc::Sender<Command>,
    lost: Arc<AtomicU64>,
    readers: Arc<Semaphore>,
    default_collections: Vec<String>,
}

impl Audit {
    /// Opens the log that is configured, and starts its writer. Records say which collections
    /// were searched where the policy named none.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(options: &AuditOptions, default_collections: &[String]) -> Result<Self, ConfigError> {
        let Some(path) = options.folder() else { return Ok(Self(None)) };
        let folder = Folder::open(path)
            .map_err(|error| ConfigError::new("audit.dir", path.display().to_string(), error.to_string()))?;
        let (commands, received) = mpsc::channel(options.queue_records);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(folder.clone(), options, Arc::clone(&lost));
        tokio::spawn(writer::run(writer, received));
        let readers = Arc::new(Semaphore::new(READERS));
        let default_collections = default_collections.to_vec();
        Ok(Self(Some(Arc::new(Log { folder, commands, lost, readers, default_collections }))))
    }

    /// Whether records are kept.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What was searched where the policy names nothing.
    fn default_collections(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |log| &log.default_collections)
    }

    /// Hands a record to the writer. Never waits.
    fn record(&self, record: AuditRecord, policy: Arc<Policy>) {
        let Some(log) = &self.0 else { return };
        let entry = Box::new(Entry::Record(record));
        if log.commands.try_send(Command::Write { entry, policy: Some(policy), written: None }).is_err() {
            metrics::of(Service::Router).unrecorded(1);
            let before = log.lost.fetch_add(1, Ordering::Relaxed);
            if before == 0 {
                tracing::warn!(
                    "the audit log is behind: records are lost until it catches up, and it will say how many"
                );
            }
        }
    }

    /// Keeps feedback on a request that is on record. Gives the moment once it is on the disk.
    ///
    /// # Errors
    /// `AUDIT_RECORD_NOT_FOUND`, `AUDIT_DISABLED`, `STORAGE_FAILED`.
    pub async fn submit(
        &self,
        request_id: &str,
        mut feedback: Feedback,
        deadline: Deadline,
    ) -> Result<Feedback, Error> {
        let record = self.find(request_id, deadline).await?;
        name_collections(&mut feedback, &record)?;
        feedback.recorded_at = Some(SystemTime::now().into());
        let said = AuditFeedback { request_id: request_id.to_owned(), feedback: Some(feedback.clone()) };
        let (written, is_written) = oneshot::channel();
        let command = Command::Write { entry: Box::new(Entry::Feedback(said)), policy: None, written: Some(written) };
        self.tell(command, is_written, deadline).await.and_then(|is_written| match is_written {
            true => Ok(feedback),
            false => Err(Error::new(Reason::StorageFailed, "the feedback could not be written")),
        })
    }

    /// The last record of a request, with the feedback on it.
    ///
    /// # Errors
    /// `AUDIT_RECORD_NOT_FOUND`, `AUDIT_DISABLED`, `STORAGE_FAILED`.
    pub async fn find(&self, request_id: &str, deadline: Deadline) -> Result<AuditRecord, Error> {
        let id = request_id.to_owned();
        let found = self.read(deadline, move |folder| reader::find(folder, &id)).await?;
        found.ok_or_else(|| {
            let why = format!("no record of the request {request_id:?} is kept");
            Error::new(Reason::AuditRecordNotFound, why).with_field("request_id")
        })
    }

    /// Every record, oldest first.
    ///
    /// # Errors
    /// `AUDIT_DISABLED`; and in the stream `STORAGE_FAILED`.
    pub async fn export(
        &self,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Exported, Error>> + Send + Unpin + use<>, Error> {
        let (items, received) = mpsc::channel(WAITING_EXPORTS);
        self.flush(deadline).await?;
        let log = self.log()?;
        let folder = log.folder.clone();
        let permit = Arc::clone(&log.readers).acquire_owned();
        let permit = deadline.limit("waiting for the audit log", permit).await?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // The caller who leaves drops the receiver, which ends the reading.
            let read = reader::export(&folder, |item| items.blocking_send(Ok(item)).is_ok());
            if let Err(error) = read {
                let _ = items.blocking_send(Err(unreadable(&error)));
            }
        });
        Ok(ReceiverStream::new(received))
    }

    /// The text of a policy of the past; `None` when it is not kept.
    ///
    /// # Errors
    /// `AUDIT_DISABLED`, `STORAGE_FAILED`.
    pub async fn policy(&self, version: &str, deadline: Deadline) -> Result<Option<String>, Error> {
        let version = version.to_owned();
        self.read(deadline, move |folder| folder.policy(&version)).await
    }

    /// Puts every record on the disk. What is recorded afterwards is lost.
    pub async fn close(&self) {
        let Some(log) = &self.0 else { return };
        let (closed, is_closed) = oneshot::channel();
        if log.commands.send(Command::Close(closed)).await.is_ok() {
            // A writer that has ended by itself has said so in the log of the process.
            let _ = is_closed.await;
        }
        let lost = log.lost.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(records = lost, "records of the audit log were lost");
        }
    }

    fn log(&self) -> Result<&Arc<Log>, Error> {
        let off = || Error::new(Reason::AuditDisabled, "this router keeps no audit log");
        self.0.as_ref().ok_or_else(off)
    }

    /// Makes what was recorded so far readable.
    async fn flush(&self, deadline: Deadline) -> Result<(), Error> {
        let (flushed, is_flushed) = oneshot::channel();
        self.tell(Command::Flush(flushed), is_flushed, deadline).await
    }

    /// Reads the folder on a thread that may block, after everything before was written.
    async fn read<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.flush(deadline).await?;
        let log = self.log()?;
        let folder = log.folder.clone();
        let permit = deadline.limit("waiting for the audit log", Arc::clone(&log.readers).acquire_owned()).await?;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&folder)
        });
        let read = deadline.limit("reading the audit log", reading).await?;
        let read = read.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        read.map_err(|error| unreadable(&error))
    }

    /// Gives the writer a command, and waits for its answer.
    async fn tell<T>(&self, command: Command, answer: oneshot::Receiver<T>, deadline: Deadline) -> Result<T, Error> {
        let gone = || Error::new(Reason::ShuttingDown, "the audit log is closed");
        let log = self.log()?;
        let told = async {
            log.commands.send(command).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        };
        deadline.limit("waiting for the audit log", told).await?
    }
}

/// A document without a collection is of the one that was searched.
fn name_collections(feedback: &mut Feedback, record: &AuditRecord) -> Result<(), Error> {
    let searched: Vec<&str> =
        record.searches.iter().filter_map(|search| Some(search.snapshot.as_ref()?.collection.as_str())).collect();
    for document in feedback.right_documents.iter_mut().filter(|document| document.collection.is_empty()) {
        let [collection] = searched.as_slice() else {
            let why = format!("the answer searched {} collections; name the one of each document", searched.len());
            return Err(Error::new(Reason::FieldMissing, why).with_field("feedback.right_documents.collection"));
        };
        document.collection = (*collection).to_owned();
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> Error {
    tracing::error!(%error, "the audit log cannot be read");
    Error::new(Reason::StorageFailed, "the audit log cannot be read")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;

    use super::*;

    fn policy() -> Arc<Policy> {
        Arc::new(Policy::parse("version = 1", &["docs".to_owned()]).expect("the least policy"))
    }

    fn record(number: usize) -> AuditRecord {
        AuditRecord { request_id: number.to_string(), ..AuditRecord::default() }
    }

    async fn exported(audit: &Audit) -> Vec<Exported> {
        let deadline = Deadline::after(Duration::from_secs(60));
        audit.export(deadline).await.expect("readable").map(|item| item.expect("readable")).collect().await
    }

    /// The runtime has one thread, so nothing is written while this test does not wait.
    #[tokio::test]
    async fn what_finds_no_room_is_counted_in_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = AuditOptions { dir: Some(folder.path().into()), queue_records: 3, ..AuditOptions::default() };
        let audit = Audit::open(&options, &[]).expect("opened");
        for number in 0..10 {
            audit.record(record(number), policy());
        }
        let found = exported(&audit).await;
        let lost: u64 = found.iter().map(|item| if let Exported::Gap(gap) = item { gap.lost_records } else { 0 }).sum();
        let kept = found.iter().filter(|item| matches!(item, Exported::Record(_))).count();
        assert_eq!((kept, lost), (3, 7));
        audit.record(record(10), policy());
        assert_eq!(exported(&audit).await.len(), found.len() + 1, "a gap is told of once");
    }

    #[tokio::test]
    async fn a_folder_that_goes_away_costs_records_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit");
        let options = AuditOptions { dir: Some(path.clone()), ..AuditOptions::default() };
        let audit = Audit::open(&options, &[]).expect("opened");
        std::fs::remove_dir_all(&path).expect("removed");
        std::fs::write(&path, "in the way").expect("written");
        audit.record(record(1), policy());
        let deadline = Deadline::after(Duration::from_secs(60));
        let error = audit.find("1", deadline).await.expect_err("it cannot be read");
        assert_eq!(error.reason(), Reason::StorageFailed);
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir_all(path.join("policies")).expect("made");
        audit.record(record(2), policy());
        let found = exported(&audit).await;
        assert!(matches!(&found[..], [Exported::Gap(gap), Exported::Record(_)] if gap.lost_records == 1), "{found:?}");
        audit.close().await;
        let reopened = Audit::open(&options, &[]).expect("opened");
        assert_eq!(exported(&reopened).await, found);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "in the way").expect("written");
        let options = AuditOptions { dir: Some(path), ..AuditOptions::default() };
        assert_eq!(Audit::open(&options, &[]).expect_err("refused").key, "audit.dir");
    }
}
