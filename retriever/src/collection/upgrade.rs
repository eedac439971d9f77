//! Token vectors for a collection that has none: the column, and the file that says that rows are being given theirs.
//!
//! The file comes before the first row and goes after the last, so that a process that ends in between goes on when it
//! starts again. The rows themselves are written as all others are, document by document.

use super::derive::LexicalChange;
use super::writer::Writer;
use super::{Collection, CollectionError, WriteError, files};
use crate::vector::TokenColumn;
use std::path::Path;
use std::sync::Arc;
use trivium_service_kit::Error;

/// The file in a collection's folder. It is empty.
const FILE: &str = "token-upgrade";

/// How far the adding of token vectors has come.
#[derive(Debug, Clone, Default)]
pub struct TokenUpgrade {
    /// Documents that were still without when they were counted last; 0 before that.
    pub documents_left: u64,
    /// Why it stands still.
    pub problem: Option<Error>,
}

/// Whether rows of the collection in `folder` are being given token vectors.
pub(super) fn is_under_way(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// Forgets that they are, for they are other rows now.
pub(super) fn forget(folder: &Path) -> Result<(), CollectionError> {
    files::remove_file_durably(&folder.join(FILE))
}

impl Collection {
    /// How far the adding of token vectors has come; `None` when none is under way.
    pub fn token_upgrade(&self) -> Option<Arc<TokenUpgrade>> {
        self.token_upgrade.load_full()
    }

    /// Notes how far it has come.
    pub fn note_token_upgrade(&self, upgrade: TokenUpgrade) {
        self.token_upgrade.store(Some(Arc::new(upgrade)));
    }

    /// Gives the table token vectors, where it has none yet, and notes durably that its rows are to be given theirs.
    ///
    /// # Errors
    /// As [`Collection::write`]. It may then be tried again.
    pub async fn begin_token_upgrade(&self, column: TokenColumn) -> Result<(), WriteError> {
        let path = self.folder.join(FILE);
        on_disk(move || files::write_durably(&path, "")).await?;
        self.note_token_upgrade(TokenUpgrade::default());
        self.writer.give_tokens(column).await
    }

    /// Notes durably that every row has its token vectors.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub async fn end_token_upgrade(&self) -> Result<(), WriteError> {
        let path = self.folder.join(FILE);
        on_disk(move || files::remove_file_durably(&path)).await?;
        self.token_upgrade.store(None);
        Ok(())
    }
}

async fn on_disk(work: impl FnOnce() -> Result<(), CollectionError> + Send + 'static) -> Result<(), WriteError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(CollectionError::from).and_then(|done| done);
    done.map_err(|error| WriteError::Failed(Arc::new(error)))
}

impl Writer {
    /// Publishes a version with a column of token vectors, unless there is one.
    pub(super) async fn give_tokens(&mut self, column: TokenColumn) -> Result<(), CollectionError> {
        if self.index.is_none() {
            self.recover().await?;
        }
        if self.table.layout().tokens.is_some() {
            return Ok(());
        }
        let outcome = self.add_column(&column).await;
        if outcome.is_err() {
            // The next write reads everything anew.
            self.index = None;
        }
        outcome
    }

    async fn add_column(&mut self, column: &TokenColumn) -> Result<(), CollectionError> {
        self.table = self.table.with_token_column(column).await?;
        let vectors = self.shared.published().vectors.clone();
        self.index_and_publish(LexicalChange::default(), vectors, |_| ()).await.map(drop)
    }
}
