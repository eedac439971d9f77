//! Writing: one commit that appends rows and deletes others.

use super::{ChunkRow, RowPlace, TableFuture, VectorError, VectorTable, encode, failed};
use crate::failpoint::Failpoint;
use arrow_array::RecordBatch;
use futures::{FutureExt, StreamExt, TryStreamExt};
use lance::dataset::rowids::load_row_id_sequence;
use lance::dataset::transaction::{Operation, Transaction};
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use lance_table::format::Fragment;
use std::collections::BTreeMap;

/// Rows of one Arrow batch. Arrow's text columns hold 2 GiB each, which this many rows stay far below.
const ROWS_PER_BATCH: usize = 1_024;
/// Deletion files that are written at the same time.
const DELETIONS_IN_FLIGHT: usize = 8;

/// The outcome of a commit.
#[derive(Debug)]
pub struct Committed {
    /// The version that the commit made.
    pub table: VectorTable,
    /// Where each appended row is, in the order in which they were given.
    pub places: Vec<RowPlace>,
}

impl VectorTable {
    /// Appends and deletes rows in one new version.
    ///
    /// Both happen or neither does. The cost depends on the rows that are written and on the fragments that hold
    /// the deleted ones; nothing is scanned and nothing is joined, so that it does not grow with the table. A merge
    /// by key, which Lance offers as well, reads the key of every row.
    ///
    /// # Errors
    /// Whatever Lance refuses. The commit may have happened all the same where its outcome could not be read back,
    /// so that a caller has to look at [`VectorTable::newest`] before it goes on.
    pub fn commit<'a>(&'a self, appended: &'a [ChunkRow], deleted: &'a [RowPlace]) -> TableFuture<'a, Committed> {
        async move {
            let new_fragments = self.write_fragments(appended).await?;
            let (updated_fragments, removed_fragment_ids) = self.write_deletions(deleted).await?;
            let operation = Operation::Update {
                removed_fragment_ids,
                updated_fragments,
                new_fragments,
                fields_modified: Vec::new(),
                compacted_sstables: Vec::new(),
                fields_for_preserving_frag_bitmap: Vec::new(),
                // "Rewrite rows" would tell Lance that the new fragments hold old rows, and an index over the old ones
                // would then claim to cover rows that it has never seen.
                update_mode: None,
                inserted_rows_filter: None,
                updated_fragment_offsets: None,
            };
            let transaction = Transaction::new(self.own_version(), operation, None);
            Failpoint::BeforeTableCommit.reach();
            let committed = CommitBuilder::new(self.dataset.clone())
                .with_skip_auto_cleanup(true)
                .execute(transaction)
                .await
                .map_err(failed("commit a change"))?;
            let table = self.at(committed).await?;
            let places = self.places_of_new_rows(&table, appended.len()).await?;
            Ok(Committed { table, places })
        }
        .boxed()
    }

    async fn write_fragments(&self, rows: &[ChunkRow]) -> Result<Vec<Fragment>, VectorError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let batches = rows.chunks(ROWS_PER_BATCH).map(|rows| encode::to_batch(&self.layout, &self.table_id, rows));
        let batches = batches.collect::<Result<Vec<RecordBatch>, _>>()?;
        let params = WriteParams { mode: WriteMode::Append, skip_auto_cleanup: true, ..WriteParams::default() };
        let insert = InsertBuilder::new(self.dataset.clone()).with_params(&params).execute_uncommitted(batches).await;
        match insert.map_err(failed("write rows"))?.operation {
            Operation::Append { fragments } => Ok(fragments),
            other => Err(VectorError::damaged(format!("writing rows gave the operation {other}"))),
        }
    }

    /// Fragments with their new deletion vectors, and the ids of those that hold no live row any more.
    async fn write_deletions(&self, deleted: &[RowPlace]) -> Result<(Vec<Fragment>, Vec<u64>), VectorError> {
        let mut offsets: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for place in deleted {
            offsets.entry(place.fragment).or_default().push(place.offset);
        }
        let changes: Vec<_> = futures::stream::iter(offsets)
            .map(|(fragment, offsets)| self.delete_in_fragment(fragment, offsets))
            .buffered(DELETIONS_IN_FLIGHT)
            .try_collect()
            .await?;
        let mut updated = Vec::new();
        let mut removed = Vec::new();
        for change in changes {
            match change {
                FragmentChange::Updated(fragment) => updated.push(*fragment),
                FragmentChange::Removed(id) => removed.push(id),
            }
        }
        Ok((updated, removed))
    }

    async fn delete_in_fragment(&self, fragment: u32, offsets: Vec<u32>) -> Result<FragmentChange, VectorError> {
        let missing = || VectorError::damaged(format!("fragment {fragment} of a row to delete is not there"));
        let file = self.dataset.get_fragment(fragment as usize).ok_or_else(missing)?;
        match file.extend_deletions(offsets).await.map_err(failed("delete rows"))? {
            Some(changed) => Ok(FragmentChange::Updated(Box::new(changed.metadata().clone()))),
            None => Ok(FragmentChange::Removed(u64::from(fragment))),
        }
    }

    /// Lance gives ids to fragments and rows while it commits; the new fragments are those above the old mark.
    async fn places_of_new_rows(&self, table: &VectorTable, expected: usize) -> Result<Vec<RowPlace>, VectorError> {
        let mark = self.dataset.manifest().max_fragment_id();
        let mut places = Vec::with_capacity(expected);
        let is_new = |fragment: &&Fragment| mark.is_none_or(|mark| fragment.id > mark);
        for fragment in table.dataset.fragments().iter().filter(is_new) {
            let row_ids =
                load_row_id_sequence(&table.dataset, fragment).await.map_err(failed("read the ids of new rows"))?;
            let number = fragment_number(fragment)?;
            places.extend((0..).zip(row_ids.iter()).map(|(offset, row_id)| RowPlace {
                row_id,
                fragment: number,
                offset,
            }));
        }
        if places.len() != expected {
            let what = format!("{expected} rows were written and {} have ids", places.len());
            return Err(VectorError::damaged(what));
        }
        Ok(places)
    }
}

enum FragmentChange {
    Updated(Box<Fragment>),
    Removed(u64),
}

fn fragment_number(fragment: &Fragment) -> Result<u32, VectorError> {
    let too_large = |_| VectorError::damaged(format!("fragment {} has no 32-bit number", fragment.id));
    u32::try_from(fragment.id).map_err(too_large)
}

#[cfg(test)]
mod tests {
    use super::super::{DocumentRow, TableCaches, TableLayout};
    use super::*;
    use crate::hash::ContentHash;
    use std::sync::Arc;

    fn document(document_id: &str) -> Arc<DocumentRow> {
        Arc::new(DocumentRow {
            document_id: document_id.into(),
            title: String::new(),
            uri: String::new(),
            content_type: "text/plain".into(),
            language: String::new(),
            declared: Vec::new(),
            metadata_json: "{}".into(),
            document_hash: ContentHash::from_u128(1),
        })
    }

    fn rows(document_id: &str, count: u32) -> Vec<ChunkRow> {
        let document = document(document_id);
        let row = |chunk_no| ChunkRow {
            document: document.clone(),
            chunk_id: format!("{document_id}#{chunk_no}"),
            chunk_no,
            char_start: chunk_no,
            char_end: chunk_no + 1,
            heading_path: vec!["a".into(), "b".into()],
            text: "x".into(),
            index_text: "x".into(),
            chunk_hash: ContentHash::from_u128(chunk_no.into()),
            vector: vec![1.0, chunk_no as f32],
            token_vectors: None,
        };
        (0..count).map(row).collect()
    }

    async fn table(folder: &std::path::Path) -> VectorTable {
        let layout = TableLayout { dimension: 2, fields: Vec::new(), tokens: None };
        VectorTable::create(&folder.join("t.lance"), layout, &TableCaches::new(1 << 20, 1 << 20)).await.unwrap()
    }

    #[tokio::test]
    async fn one_commit_appends_and_deletes() {
        let folder = tempfile::tempdir().unwrap();
        let empty = table(folder.path()).await;
        let first = empty.commit(&rows("a", 3), &[]).await.unwrap();
        let second = first.table.commit(&rows("b", 2), &first.places[..2]).await.unwrap();
        assert_eq!(second.table.version(), empty.version() + 2);
        assert_eq!((empty.count_rows().await.unwrap(), first.table.count_rows().await.unwrap()), (0, 3));
        assert_eq!(second.table.count_rows().await.unwrap(), 3);
        let mut ids: Vec<_> = second.table.scan_keys().await.unwrap().into_iter().map(|key| key.place).collect();
        ids.sort();
        let expected = [first.places[2], second.places[0], second.places[1]];
        assert_eq!(ids, expected);
    }

    #[tokio::test]
    async fn a_fragment_without_live_rows_leaves_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let first = table(folder.path()).await.commit(&rows("a", 3), &[]).await.unwrap();
        let second = first.table.commit(&[], &first.places).await.unwrap();
        assert_eq!((second.table.fragments(), second.table.count_rows().await.unwrap()), (0, 0));
        let third = second.table.commit(&rows("a", 1), &[]).await.unwrap();
        assert!(third.places[0].row_id > first.places[2].row_id, "row ids are never given out again");
    }

    #[tokio::test]
    async fn rows_survive_reopening_and_deletions_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let first = table(folder.path()).await.commit(&rows("a", 2_500), &[]).await.unwrap();
        let second = first.table.commit(&[], &first.places[..1_000]).await.unwrap();
        second.table.commit(&[], &first.places[1_000..2_000]).await.unwrap();
        let caches = TableCaches::new(1 << 20, 1 << 20);
        let reopened =
            VectorTable::open(&folder.path().join("t.lance"), (*first.table.layout).clone(), &caches).await.unwrap();
        assert_eq!(reopened.count_rows().await.unwrap(), 500);
        assert_eq!(reopened.table_id(), first.table.table_id());
        let keys = reopened.scan_keys().await.unwrap();
        let numbers: Vec<_> = keys.iter().map(|key| key.chunk_no).collect();
        assert_eq!(numbers, (2_000..2_500).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_vector_of_the_wrong_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut bad = rows("a", 1);
        bad[0].vector.push(0.0);
        let refused = table(folder.path()).await.commit(&bad, &[]).await;
        assert!(matches!(refused, Err(VectorError::Dimension { expected: 2, found: 3 })));
    }
}
