//! How much memory a process has while it is measured.

use std::time::Duration;

use serde::Serialize;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The resident memory of a process over some time, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// At the beginning.
    pub first_bytes: u64,
    /// After a fifth of the time, when what is made once has been made.
    pub settled_bytes: u64,
    /// At the end.
    pub last_bytes: u64,
    /// The most there was.
    pub most_bytes: u64,
}

/// Looks at a process once a second until it is asked for what it saw.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>, std::sync::Arc<std::sync::Mutex<Vec<u64>>>);

impl Watch {
    /// Begins to look at the process of that number.
    ///
    /// # Errors
    /// When there is none, or the system does not tell.
    pub fn start(pid: u32) -> anyhow::Result<Self> {
        let first = resident_bytes(pid)?;
        let seen = std::sync::Arc::new(std::sync::Mutex::new(vec![first]));
        let samples = std::sync::Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let Ok(bytes) = resident_bytes(pid) else { return };
                samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(bytes);
            }
        });
        Ok(Self(watching, seen))
    }

    /// What it saw.
    pub fn stop(self) -> Memory {
        self.0.abort();
        summary(&self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn summary(seen: &[u64]) -> Memory {
    let at = |place: usize| seen.get(place).copied().unwrap_or_default();
    Memory {
        first_bytes: at(0),
        settled_bytes: at(seen.len() / 5),
        last_bytes: at(seen.len().saturating_sub(1)),
        most_bytes: seen.iter().copied().max().unwrap_or_default(),
    }
}

/// Linux tells it in `/proc`, in kibibytes.
fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| anyhow::anyhow!("process {pid} does not tell its memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_process_has_some_memory_and_no_process_has_none() {
        let memory = Watch::start(std::process::id()).expect("it runs").stop();
        assert!(memory.first_bytes > 1 << 20, "{memory:?}");
        assert!(Watch::start(u32::MAX).is_err());
    }

    #[test]
    fn the_summary_names_beginning_end_and_peak() {
        let seen = [10, 50, 60, 90, 70];
        let memory = summary(&seen);
        let found = (memory.first_bytes, memory.settled_bytes, memory.last_bytes, memory.most_bytes);
        assert_eq!(found, (10, 50, 70, 90));
    }
}
