//! Dropping every kept state at once, for a purge.

use super::super::CollectionError;
use super::super::publish::Published;
use super::Snapshots;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;

/// How often is looked whether readers have gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Snapshots {
    /// Keeps the background from removing versions for as long as the guard lives.
    pub(in super::super) async fn pause_cleaning(&self) -> MutexGuard<'_, ()> {
        self.cleaning.lock().await
    }

    /// Where kept states are.
    pub(in super::super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Drops all kept states, and the tags of all but `version`; gives those tags.
    pub(in super::super) async fn clear(&self, version: u64) -> Result<Vec<String>, CollectionError> {
        let _changing = self.changing.lock().await;
        let (lost, versions): (BTreeMap<String, u64>, _) = {
            let mut state = self.state();
            let (stay, lost) = std::mem::take(&mut state.tags).into_iter().partition(|(_, tagged)| *tagged == version);
            state.tags = stay;
            state.open.clear();
            state.live = None;
            let mut versions = std::mem::take(&mut state.dropped);
            versions.extend(std::mem::take(&mut state.kept).into_keys());
            (lost, versions)
        };
        // First the names, so that none is left that means nothing.
        self.write_tags(None).await?;
        let folder = self.folder.clone();
        let remove = move || {
            versions.into_iter().try_for_each(|version| folder.remove(version))?;
            folder.remove_unfinished()
        };
        tokio::task::spawn_blocking(remove).await??;
        Ok(lost.into_keys().collect())
    }

    /// Waits until nobody reads an earlier pair than the published one, but no longer than `patience`.
    pub(in super::super) async fn await_readers(&self, published: &Arc<Published>, patience: Duration) {
        let gone = async {
            while self.state().is_read_besides(published) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(patience, gone).await.is_err() {
            tracing::warn!(collection = self.collection, "files go that a long search may be reading");
        }
    }
}

impl super::State {
    fn is_read_besides(&self, published: &Arc<Published>) -> bool {
        self.held.iter().filter_map(|(_, pair)| pair.upgrade()).any(|pair| !Arc::ptr_eq(&pair, published))
    }
}
