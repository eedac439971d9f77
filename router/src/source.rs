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
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Policy, SourceError> {
        Policy::parse(text, &self.collections).map_err(|cause| self.wrong(cause))
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
    /// that is wrong is told of once, and changes nothing. What is read counts only
    /// when the next look finds the same: a file that is being written may be right
    /// as far as it goes, and mean something else.
    pub async fn follow(&self, engine: &Engine, policy: &ArcSwap<Policy>, mut labels: Labels) {
        let Some(file) = &self.file else { return };
        let mut looks = Looks::default();
        let mut told = String::new();
        loop {
            sleep(self.poll).await;
            let text = match looks.settled(read(file).await) {
                None => continue,
                Some(text) if text.as_ref().is_ok_and(|text| text == policy.load().text()) => {
                    told.clear();
                    continue;
                }
                Some(text) => text,
            };
            let parsed = text.and_then(|text| self.parse(&text));
            // Another model may have been promoted since the labels were read.
            if parsed.is_ok() {
                labels = labels.refreshed(engine).await;
            }
            let checked = parsed.and_then(|new| match labels.check(&new) {
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

/// What the last look at the file found.
#[derive(Debug, Default)]
struct Looks {
    last: Option<Result<String, String>>,
}

impl Looks {
    /// Takes the next look in, and gives it back when the one before found the same.
    fn settled(&mut self, look: Result<String, SourceError>) -> Option<Result<String, SourceError>> {
        let now = match &look {
            Ok(text) => Ok(text.clone()),
            Err(error) => Err(error.to_string()),
        };
        let before = self.last.replace(now);
        (before == self.last).then_some(look)
    }
}

async fn read(file: &Path) -> Result<String, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { file: file.to_owned(), cause };
    tokio::fs::read_to_string(file).await.map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(text: Option<&str>) -> Result<String, SourceError> {
        let gone = || SourceError::Unreadable {
            file: PathBuf::from("routes.toml"),
            cause: std::io::ErrorKind::NotFound.into(),
        };
        text.map(str::to_owned).ok_or_else(gone)
    }

    #[test]
    fn a_file_that_is_being_written_does_not_count() {
        let mut looks = Looks::default();
        let mut settled = |text| looks.settled(look(text)).map(Result::ok);
        let table = [
            (Some("old"), None),
            (Some("old"), Some(Some("old"))),
            // Cut to nothing, written in two halves, and done.
            (Some(""), None),
            (Some("version = 1\n[intents.a]\nroute = \"reply\""), None),
            (Some("new"), None),
            (Some("new"), Some(Some("new"))),
            (Some("new"), Some(Some("new"))),
            // Replaced: away for a moment, and there again.
            (None, None),
            (Some("newer"), None),
            (None, None),
            (None, Some(None)),
        ];
        for (number, (text, expected)) in table.into_iter().enumerate() {
            assert_eq!(settled(text), expected.map(|text: Option<&str>| text.map(str::to_owned)), "look {number}");
        }
    }

    proptest! {
        #[test]
        fn only_what_two_looks_in_a_row_found_counts(texts in prop::collection::vec(prop::option::of("[ab]{0,2}"), 0..30)) {
            let mut looks = Looks::default();
            let mut before: Option<Option<String>> = None;
            for text in texts {
                let settled = looks.settled(look(text.as_deref())).map(Result::ok);
                prop_assert_eq!(settled, (before.as_ref() == Some(&text)).then(|| text.clone()));
                before = Some(text);
            }
        }
    }
}
