//! Removing the files of states that are not kept, beside the writer and the searches.

use super::super::CollectionError;
use super::super::publish::Shared;
use super::{Snapshots, State};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The task that removes what is not kept, one collection's files at a time.
#[derive(Debug)]
pub(in super::super) struct Tidier {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Tidier {
    pub(in super::super) fn start(snapshots: Arc<Snapshots>, shared: Arc<Shared>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(snapshots, shared, stop.clone()));
        Self { stop, task: Mutex::new(Some(task)) }
    }

    /// Ends the task once it has finished what it is at.
    pub(in super::super) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "removal of old files was cut short");
        }
    }
}

impl Drop for Tidier {
    fn drop(&mut self) {
        // Nobody waits for the task then, and it ends by itself.
        self.stop.cancel();
    }
}

async fn run(snapshots: Arc<Snapshots>, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = snapshots.untidy.notified() => {}
        }
        if let Err(error) = snapshots.tidy(&shared).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(collection = snapshots.collection, error, "old files cannot be removed");
        }
    }
}

impl Snapshots {
    async fn tidy(&self, shared: &Shared) -> Result<(), CollectionError> {
        let _cleaning = self.cleaning.lock().await;
        // Only now: whoever holds the lock may be waiting for all readers of earlier pairs.
        let published = shared.published();
        self.remove_dropped().await?;
        {
            let mut state = self.state();
            if state.commits < self.options.cleanup_commits {
                return Ok(());
            }
            state.commits = 0;
        }
        let versions = published.table.versions().await?;
        let unneeded = {
            // A state that is being opened is not held yet, and may be let go of meanwhile.
            let _changing = self.changing.lock().await;
            self.state().unneeded(&versions, published.version())
        };
        if unneeded.is_empty() {
            return Ok(());
        }
        let removed = published.table.remove_versions(unneeded).await?;
        let (versions, bytes) = (removed.versions, removed.bytes);
        tracing::info!(collection = self.collection, versions, bytes, "versions that are not kept were removed");
        Ok(())
    }

    /// Removes the folders of states that were dropped.
    async fn remove_dropped(&self) -> Result<(), CollectionError> {
        let _changing = self.changing.lock().await;
        let dropped = {
            let mut state = self.state();
            let State { open, kept, dropped, .. } = &mut *state;
            open.retain(|pair| kept.contains_key(&pair.version()));
            std::mem::take(dropped)
        };
        if dropped.is_empty() {
            return Ok(());
        }
        let folder = self.folder.clone();
        let remove = move || dropped.into_iter().try_for_each(|version| folder.remove(version));
        tokio::task::spawn_blocking(remove).await?
    }
}

impl State {
    /// Versions of the table that nobody reads and nobody can ask for. Those from the published one on are the writer's.
    fn unneeded(&mut self, versions: &[u64], published: u64) -> Vec<u64> {
        self.held.retain(|(_, pair)| pair.strong_count() > 0);
        let held = |version: u64| self.held.iter().any(|(held, _)| *held == version);
        let unneeded = |version: &&u64| **version < published && !self.kept.contains_key(version) && !held(**version);
        versions.iter().filter(unneeded).copied().collect()
    }
}
