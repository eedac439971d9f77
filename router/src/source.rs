//! Where the policy comes from, and how it is read anew while the router runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::sleep;

use crate::{
    execute::Engine,
    options::Options,
    policy::{BUILT_IN, Policy, PolicyError},
    readiness::Labels,
};

/// Why a policy could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("{}: {cause}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file is wrong.
    #[error("{file}: {cause}")]
    Wrong {
        /// The file, or what stands for the built-in policy.
        file: String,
        /// What is wrong, and where.
        cause: PolicyError,
    },
}

/// A policy file, or the built-in text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Option<PathBuf>,
    poll: Duration,
    collections: Vec<String>,
}

impl Source {
    /// The source that the options name.
    pub fn new(options: &Options) -> Self {
        Self {
            file: options.routes_file.clone(),
            poll: Duration::from_millis(options.routes_poll_ms),
            collections: options.collections.clone(),
        }
    }

    /// Reads and checks the policy.
    pub async fn read(&self) -> Result<Policy, SourceError> {
        let text = match &self.file {
            None => BUILT_IN.to_owned(),
            Some(file) => read(file).await?,
        };
        Policy::parse(&text, &self.collections).map_err(|cause| self.wrong(cause))
    }

    /// A policy error with the file it is in.
    pub fn wrong(&self, cause: PolicyError) -> SourceError {
        let file = match &self.file {
            Some(file) => file.display().to_string(),
            None => "the built-in policy".to_owned(),
        };
        SourceError::Wrong { file, cause }
    }

    /// Follows the file for as long as this is polled: a policy that is right and
    /// fits the labels of the model that serves takes the place of `policy`; one
    /// that is wrong is told of once, and changes nothing.
    pub async fn follow(&self, engine: &Engine, policy: &ArcSwap<Policy>, mut labels: Labels) {
        if self.file.is_none() {
            return;
        }
        let mut told = String::new();
        loop {
            sleep(self.poll).await;
            let read = self.read().await;
            if read.as_ref().is_ok_and(|new| *new == **policy.load()) {
                told.clear();
                continue;
            }
            // Another model may have been promoted since the labels were read.
            if read.is_ok() {
                labels = labels.refreshed(engine).await;
            }
            let checked = read.and_then(|new| match labels.check(&new) {
                Ok(()) => Ok(new),
                Err(cause) => Err(self.wrong(cause)),
            });
            match checked {
                Ok(new) => {
                    told.clear();
                    tracing::info!(version = new.version(), "a new policy serves");
                    policy.store(Arc::new(new));
                }
                Err(error) if error.to_string() != told => {
                    tracing::error!(%error, "the changed policy is refused; the one before it goes on");
                    told = error.to_string();
                }
                Err(_) => {}
            }
        }
    }
}

async fn read(file: &Path) -> Result<String, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { file: file.to_owned(), cause };
    tokio::fs::read_to_string(file).await.map_err(unreadable)
}
