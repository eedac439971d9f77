//! Erasing documents from all that a collection keeps.
//!
//! A deletion hides a row; its bytes stay in the fragment, in earlier versions, in the index of the vectors and in segments of
//! the lexical index. For a purge the writer, between two commits, drops the index of the vectors, writes the fragments anew,
//! builds the lexical index anew, and removes every earlier version and every kept state: which of them held a document can
//! be told of rows, but not of the words that an index has merged.

use super::catchup::{LEXICAL, check_count};
use super::directory::Directory;
use super::plan::Verdict;
use super::publish::Published;
use super::snapshots::Snapshots;
use super::writer::Writer;
use super::{Change, CollectionError, derive, files};
use std::sync::Arc;
use std::time::Duration;

/// How long searches that began before the purge may go on reading before their files go.
const READERS_PATIENCE: Duration = Duration::from_secs(30);

/// What a purge did, and what it cost.
#[derive(Debug, Clone)]
pub struct Purged {
    /// The state without the documents.
    pub published: Arc<Published>,
    /// Documents that the published state held.
    pub deleted: u32,
    /// Versions that were removed, ascending.
    pub removed_versions: Vec<u64>,
    /// Tags that were lost with them, in alphabetical order.
    pub removed_tags: Vec<String>,
    /// Bytes of the files that were removed.
    pub removed_bytes: u64,
}

impl Writer {
    /// Erases documents. When it fails on the way it may be repeated, and then finishes what is left.
    pub(super) async fn purge(&mut self, document_ids: Vec<String>) -> Result<Purged, CollectionError> {
        // What is being built holds the vectors of the documents.
        self.stop_indexing().await;
        let deleted = self.delete(document_ids).await?;
        let snapshots = self.snapshots.clone();
        let _cleaning = snapshots.pause_cleaning().await;
        let lexical_bytes = self.bytes_of_indexes(&snapshots).await?;
        let outcome = self.rewrite(&snapshots).await;
        if outcome.is_err() {
            // The next write, or the next purge, reads everything anew.
            self.index = None;
        }
        let (published, removed_tags) = outcome?;
        snapshots.await_readers(&published, READERS_PATIENCE).await;
        let mut removed_versions = self.table.versions().await?;
        removed_versions.retain(|version| *version != self.table.version());
        let table_bytes = self.table.remove_all_others().await?;
        Ok(Purged {
            published,
            deleted,
            removed_versions,
            removed_tags,
            removed_bytes: lexical_bytes.saturating_add(table_bytes),
        })
    }

    async fn delete(&mut self, document_ids: Vec<String>) -> Result<u32, CollectionError> {
        let changes = document_ids.into_iter().map(|document_id| Change::Delete { document_id }).collect();
        let (_, verdicts) = self.write(vec![changes]).await?;
        Ok(verdicts.iter().map(|verdict| if let Verdict::Applies(tally) = verdict { tally.deleted } else { 0 }).sum())
    }

    /// Makes the table and everything derived from it anew, drops what was kept, and publishes; gives the lost tags.
    async fn rewrite(&mut self, snapshots: &Snapshots) -> Result<(Arc<Published>, Vec<String>), CollectionError> {
        // An index keeps the vectors of deleted rows; it is built anew in the background.
        if let Some(table) = self.table.without_index().await? {
            self.table = table;
        }
        if let Some(table) = self.table.without_deleted_rows().await? {
            self.table = table;
        }
        let (table, version) = (self.table.clone(), self.table.version());
        if let Some(index) = self.index.take() {
            derive::close(index).await?;
        }
        let index = derive::rebuild(&table, &self.lexical_folder, &self.lexical_options).await?;
        let keys = table.scan_keys().await?;
        // Vectors in memory keep those of deleted rows for a while, so they are read anew as well.
        let vectors = table.load_exact(self.exact_vectors_bytes).await?;
        let removed_tags = snapshots.clear(version).await?;
        let (index, captured) = snapshots.capture(index, version).await?;
        let searcher = index.searcher();
        check_count(LEXICAL, searcher.num_docs(), keys.len() as u64, version)?;
        self.index = Some(index);
        let published = self.shared.publish(|directory| {
            *directory = Directory::from_keys(&keys);
            Published::new(table, searcher, vectors, directory)
        });
        snapshots.published(&published, captured).await;
        Ok((published, removed_tags))
    }

    /// Bytes of the lexical index and of the kept states, all of which go; a file with several names counts once.
    async fn bytes_of_indexes(&self, snapshots: &Snapshots) -> Result<u64, CollectionError> {
        let folders = [self.lexical_folder.clone(), snapshots.path().to_owned()];
        tokio::task::spawn_blocking(move || files::bytes(&folders)).await?
    }
}
