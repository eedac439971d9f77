//! Work that the retriever does on a collection by itself: one task for each, tried again where waiting may help.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use trivium_service_kit::{Error, Reason};

/// How long to wait after the model host was away; it doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The tasks of one kind that run, by the collection's folder, one of a collection at most.
#[derive(Default)]
pub(super) struct Tasks(Mutex<HashMap<String, AbortOnDropHandle<()>>>);

impl Tasks {
    /// Runs a task for a collection. One that runs is put aside: it may have looked for the last time a moment ago.
    pub(super) fn run(&self, folder: String, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running();
        running.retain(|_, task| !task.is_finished());
        running.insert(folder, AbortOnDropHandle::new(tokio::spawn(task)));
    }

    /// Ends that of one collection.
    pub(super) fn stop(&self, folder: &str) {
        self.running().remove(folder);
    }

    /// Ends all of them. What is not done yet is done after the next start.
    pub(super) fn stop_all(&self) {
        self.running().clear();
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, AbortOnDropHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits between the attempts at something that depends on other services.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// Waits, longer each time, and says whether to try again after what went wrong for this reason.
    pub(super) async fn after(&mut self, reason: Reason) -> bool {
        if !will_pass(reason) {
            return false;
        }
        tokio::time::sleep(self.0).await;
        self.0 = LONGEST_PAUSE.min(self.0 * 2);
        true
    }
}

/// Tells the log that a task on a collection stands still.
pub(super) fn stands_still(collection: &str, what: &str, error: &Error) {
    let reason = error.reason().as_str();
    tracing::warn!(collection, what, reason, %error, "work in the background stands still");
}

/// Whether what went wrong may go right when it is tried again.
fn will_pass(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ModelHostUnavailable
            | Reason::Overloaded
            | Reason::DeadlineExceeded
            | Reason::ShuttingDown
            | Reason::Cancelled
    )
}
