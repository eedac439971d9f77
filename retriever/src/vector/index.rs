//! An inverted file over the vectors of a table, for collections that are searched through it.
//!
//! The index is a part of the version that it is committed with: Lance keeps it beside the rows, an earlier version has the
//! index that it had, and rows that no index covers are compared one by one. It consists of segments, each of which covers
//! some fragments whole. A segment is built on a pinned version beside everything else (`build.rs`); only its name has to be
//! committed. What is due is decided by the numbers of rows alone (`plan.rs`).
//!
//! A segment holds eight-bit codes of the vectors, in lists; a search looks at the lists near the query and compares the
//! vectors of the best rows themselves.

mod build;
mod plan;

use super::{TableFuture, VectorError, VectorTable, failed};
use futures::FutureExt;
use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::transaction::{Operation, Transaction};
use lance::index::DatasetIndexExt;
use lance_table::format::IndexMetadata;

pub use build::{BuiltIndex, IndexBuild};
pub(super) use plan::PROBES;

/// What Lance calls the index.
const NAME: &str = "vectors";
/// Candidates whose vectors are compared, for each row that is asked for: the codes are off by little.
pub(super) const REFINE: u32 = 2;

/// What is to be done to an index: a segment for the rows that none covers, and for those of the newest segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexWork {
    /// Segments that give way to the new one.
    pub absorbed: usize,
}

/// The index of one version.
#[derive(Debug, Clone, Default)]
pub(super) struct IndexState {
    /// The oldest first.
    segments: Vec<IndexMetadata>,
}

impl IndexState {
    /// Reads which index a version has.
    pub(super) async fn read(dataset: &Dataset) -> Result<Self, VectorError> {
        let all = dataset.load_indices().await.map_err(failed("list its indexes"))?;
        Ok(Self { segments: all.iter().filter(|segment| segment.name == NAME).cloned().collect() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The place of the segment that covers a fragment. Fragments that differ in it must not be merged, for a segment covers
    /// a fragment whole or not at all.
    pub(super) fn segment_of(&self, fragment: u64) -> Option<usize> {
        let fragment = u32::try_from(fragment).ok()?;
        let covers = |segment: &IndexMetadata| {
            segment.fragment_bitmap.as_ref().is_some_and(|covered| covered.contains(fragment))
        };
        self.segments.iter().position(covers)
    }

    /// Segments that stay when so many give way.
    fn kept(&self, absorbed: usize) -> usize {
        self.segments.len().saturating_sub(absorbed)
    }

    fn newest(&self, count: usize) -> &[IndexMetadata] {
        &self.segments[self.kept(count)..]
    }
}

impl VectorTable {
    /// Rows that no index covers, each of which a search by meaning compares.
    pub fn unindexed_rows(&self) -> u64 {
        self.rows_by_segment().1
    }

    /// Segments of the index; 0 without one.
    pub fn index_segments(&self) -> usize {
        self.index.segments.len()
    }

    /// What the index needs, if `tail_rows` rows may be left to a comparison one by one.
    pub fn index_work(&self, tail_rows: u64) -> Option<IndexWork> {
        let (segments, unindexed) = self.rows_by_segment();
        plan::due(&segments, unindexed, tail_rows).map(|absorbed| IndexWork { absorbed })
    }

    /// Makes a segment a part of the next version. No fragment that it covers may have been merged since it was begun.
    ///
    /// # Errors
    /// What it takes the place of is not there any more, or whatever Lance refuses. As with [`VectorTable::commit`], the version may
    /// have been made all the same.
    pub fn commit_index(&self, built: BuiltIndex) -> TableFuture<'_, Self> {
        async move {
            let BuiltIndex { segment, replaces, .. } = built;
            let goes = |old: &&IndexMetadata| replaces.contains(&old.uuid);
            let removed: Vec<IndexMetadata> = self.index.segments.iter().filter(goes).cloned().collect();
            if removed.len() != replaces.len() {
                return Err(VectorError::damaged("its index was changed while it was extended"));
            }
            self.change_indexes(vec![segment], removed).await
        }
        .boxed()
    }

    /// The next version without an index; `None` when there is none.
    ///
    /// # Errors
    /// As [`VectorTable::commit_index`].
    pub fn without_index(&self) -> TableFuture<'_, Option<Self>> {
        async move {
            match self.index.is_empty() {
                true => Ok(None),
                false => self.change_indexes(Vec::new(), self.index.segments.clone()).await.map(Some),
            }
        }
        .boxed()
    }

    async fn change_indexes(
        &self,
        new_indices: Vec<IndexMetadata>,
        removed_indices: Vec<IndexMetadata>,
    ) -> Result<Self, VectorError> {
        let operation = Operation::CreateIndex { new_indices, removed_indices };
        let transaction = Transaction::new(self.own_version(), operation, None);
        let committed = CommitBuilder::new(self.dataset.clone())
            .with_skip_auto_cleanup(true)
            .execute(transaction)
            .await
            .map_err(failed("commit an index"))?;
        self.at(committed).await
    }

    /// Live rows that each segment covers, the oldest first, and those that none does.
    fn rows_by_segment(&self) -> (Vec<u64>, u64) {
        let mut segments = vec![0; self.index.segments.len()];
        let mut unindexed = 0;
        for fragment in self.dataset.fragments().iter() {
            let rows = fragment.num_rows().unwrap_or_default() as u64;
            match self.index.segment_of(fragment.id) {
                Some(segment) => segments[segment] += rows,
                None => unindexed += rows,
            }
        }
        (segments, unindexed)
    }
}
