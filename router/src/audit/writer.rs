//! The one task that writes the log.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use trivium_proto::router::v1::{AuditGap, audit_entry::Entry};
use trivium_service_kit::{Service, telemetry::metrics};

use super::{
    folder::{Folder, Retention},
    options::AuditOptions,
    segment::{HEADER, frame},
};
use crate::policy::Policy;

/// Commands that are taken from the queue at once.
const BATCH: usize = 256;

/// How often a log that nothing is written to looks for files that are too old.
const IDLE: Duration = Duration::from_secs(60);

/// Policies that are remembered to be on the disk already.
const REMEMBERED_POLICIES: usize = 64;

/// What the writer is asked to do.
pub(super) enum Command {
    /// Write an entry. The sender, if there is one, hears once it is on the disk, or that it is not.
    Write {
        /// The entry.
        entry: Box<Entry>,
        /// The policy that the entry names.
        policy: Option<Arc<Policy>>,
        /// Who waits for it.
        written: Option<oneshot::Sender<bool>>,
    },
    /// Make everything before this visible to readers.
    Flush(oneshot::Sender<()>),
    /// Put everything before this on the disk, and end.
    Close(oneshot::Sender<()>),
}

/// Runs until it is told to close, or nobody can tell it anything any more.
pub(super) async fn run(mut writer: Writer, mut commands: mpsc::Receiver<Command>) {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        // A receiver that is closed gives nothing at once; an idle one gives nothing for a while.
        let count = timeout(IDLE, commands.recv_many(&mut batch, BATCH)).await;
        let is_gone = count == Ok(0);
        let worked = tokio::task::spawn_blocking(move || {
            let closing = writer.work(batch);
            (writer, closing)
        });
        let Ok((returned, closing)) = worked.await else {
            tracing::error!("the writer of the audit log failed; nothing more is recorded");
            return;
        };
        writer = returned;
        if is_gone || closing {
            return;
        }
    }
}

/// The state of the writing.
pub(super) struct Writer {
    folder: Folder,
    retention: Retention,
    segment_bytes: u64,
    segment_age: Duration,
    current: Option<Current>,
    /// Versions of policies whose texts are kept.
    policies: HashSet<String>,
    /// Records that were not written, and that the log does not tell of yet.
    lost: Arc<AtomicU64>,
    is_failing: bool,
}

/// The file that is written to.
struct Current {
    file: File,
    bytes: u64,
    begun: Instant,
}

impl Writer {
    pub fn new(folder: Folder, options: &AuditOptions, lost: Arc<AtomicU64>) -> Self {
        Self {
            folder,
            retention: Retention { segments: options.keep_segments, age: options.keep_age() },
            segment_bytes: options.segment_bytes,
            segment_age: options.segment_age(),
            current: None,
            policies: HashSet::new(),
            lost,
            is_failing: false,
        }
    }

    /// Does what a batch asks for. Gives whether that is the end.
    fn work(&mut self, batch: Vec<Command>) -> bool {
        if batch.is_empty() {
            // Nothing was written for a while, and files grow old all the same.
            self.tidy();
        }
        let (mut entries, mut policies) = (Vec::new(), Vec::new());
        let (mut waiting, mut flushed, mut closing) = (Vec::new(), Vec::new(), None);
        for command in batch {
            match command {
                Command::Write { entry, policy, written } => {
                    entries.push(*entry);
                    policies.extend(policy);
                    waiting.extend(written);
                }
                Command::Flush(ack) => flushed.push(ack),
                Command::Close(ack) => closing = Some(ack),
            }
        }
        let must_sync = !waiting.is_empty() || closing.is_some();
        let outcome = self.write(entries, &policies, must_sync);
        let is_written = self.noted(outcome);
        // Whoever does not wait any more has no use for the news.
        for waits in waiting {
            let _ = waits.send(is_written);
        }
        let is_last = closing.is_some();
        for waits in flushed.into_iter().chain(closing) {
            let _ = waits.send(());
        }
        is_last
    }

    fn write(&mut self, entries: Vec<Entry>, policies: &[Arc<Policy>], must_sync: bool) -> io::Result<()> {
        let records = entries.len() as u64;
        let outcome = self.rotate().and_then(|()| self.keep_policies(policies)).and_then(|()| self.append(entries));
        if outcome.is_err() {
            self.lost.fetch_add(records, Ordering::Relaxed);
            metrics::of(Service::Router).unrecorded(records);
            // What was written of it may be torn: the log goes on in a new file.
            self.current = None;
        }
        outcome?;
        match &self.current {
            Some(current) if must_sync => current.file.sync_data(),
            _ => Ok(()),
        }
    }

    fn append(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if entries.is_empty() && lost == 0 {
            return Ok(());
        }
        let gap = (lost > 0)
            .then(|| Entry::Gap(AuditGap { recorded_at: Some(SystemTime::now().into()), lost_records: lost }));
        let bytes: Vec<u8> = gap.into_iter().chain(entries).flat_map(frame).collect();
        let written = self.current()?.append(&bytes);
        if written.is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        written
    }

    /// The file to write to, begun when there is none.
    fn current(&mut self) -> io::Result<&mut Current> {
        let current = match self.current.take() {
            Some(current) => current,
            None => {
                let file = self.folder.create()?;
                self.tidy();
                Current { file, bytes: HEADER.len() as u64, begun: Instant::now() }
            }
        };
        Ok(self.current.insert(current))
    }

    /// Closes a file that is large or old enough.
    fn rotate(&mut self) -> io::Result<()> {
        let is_done =
            |current: &Current| current.bytes >= self.segment_bytes || current.begun.elapsed() >= self.segment_age;
        if let Some(done) = self.current.take_if(|current| is_done(current)) {
            done.file.sync_data()?;
        }
        Ok(())
    }

    /// Removes the files that are not kept. That it cannot is no reason not to record.
    fn tidy(&self) {
        match self.folder.retain(self.retention, SystemTime::now()) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "old files of the audit log were removed"),
            Err(error) => tracing::warn!(%error, "old files of the audit log cannot be removed"),
        }
    }

    /// A record never names a policy whose text is not there.
    fn keep_policies(&mut self, policies: &[Arc<Policy>]) -> io::Result<()> {
        for policy in policies {
            if !self.policies.contains(policy.version()) {
                self.folder.keep_policy(policy.version(), policy.text())?;
                if self.policies.len() >= REMEMBERED_POLICIES {
                    self.policies.clear();
                }
                self.policies.insert(policy.version().to_owned());
            }
        }
        Ok(())
    }

    /// Says once that writing fails, and once that it works again. Gives whether it worked.
    fn noted(&mut self, outcome: io::Result<()>) -> bool {
        match outcome {
            Err(error) if !self.is_failing => {
                tracing::error!(%error, "the audit log cannot be written; calls go on unrecorded, and are counted");
                self.is_failing = true;
            }
            Ok(()) if self.is_failing => {
                tracing::warn!("the audit log can be written again");
                self.is_failing = false;
            }
            _ => {}
        }
        !self.is_failing
    }
}

impl Current {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
