//! Reading rows: all of them, or those with given ids.

use super::decode::{self, stored_chunks};
use super::schema::TableLayout;
use super::{
    ChunkRow, ExactVectors, RowKey, RowPlace, StoredChunk, TableFuture, VectorError, VectorTable, failed, schema,
};
use crate::hash::ContentHash;
use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use lance::dataset::ProjectionRequest;
use lance_core::{ROW_ADDR, ROW_ID};
use lance_table::format::Fragment;
use std::collections::HashMap;
use std::sync::Arc;

/// Columns of a [`RowKey`].
const KEY_COLUMNS: [&str; 4] = [schema::DOCUMENT_ID, schema::CHUNK_NO, schema::DOCUMENT_HASH, schema::CHUNK_HASH];

/// What the lexical index needs of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexRow {
    /// The chunk.
    pub chunk: StoredChunk,
    /// Hash of the chunk.
    pub chunk_hash: ContentHash,
    /// The words to index.
    pub index_text: String,
}

impl VectorTable {
    /// The keys of all live rows, read in one pass over a few narrow columns.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan_keys(&self) -> TableFuture<'_, Vec<RowKey>> {
        self.scan_keys_of(None)
    }

    /// The keys of the live rows of some fragments; of all without any.
    pub(super) fn scan_keys_of(&self, fragments: Option<Vec<Fragment>>) -> TableFuture<'_, Vec<RowKey>> {
        async move {
            let mut scanner = self.dataset.scan();
            if let Some(fragments) = fragments {
                scanner.with_fragments(fragments);
            }
            scanner.project(&KEY_COLUMNS).map_err(failed("be scanned"))?.with_row_id().with_row_address();
            let mut batches = scanner.try_into_stream().await.map_err(failed("be scanned"))?;
            let mut keys = Vec::new();
            while let Some(batch) = batches.try_next().await.map_err(failed("be scanned"))? {
                append_keys(&batch, &mut keys)?;
            }
            Ok(keys)
        }
        .boxed()
    }

    /// The vectors of all live rows, held in memory; `None` when they would take more than `budget_bytes`.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn load_exact(&self, budget_bytes: u64) -> TableFuture<'_, Option<ExactVectors>> {
        async move {
            let dimension = self.layout.dimension;
            if ExactVectors::bytes(self.count_rows().await?, dimension) > budget_bytes {
                return Ok(None);
            }
            let mut scanner = self.dataset.scan();
            scanner.project(&[schema::VECTOR]).map_err(failed("be scanned"))?.with_row_id();
            let mut batches = scanner.try_into_stream().await.map_err(failed("be scanned"))?;
            let mut rows = Vec::new();
            while let Some(batch) = batches.try_next().await.map_err(failed("be scanned"))? {
                rows.push((decode::big_number(&batch, ROW_ID)?.values().to_vec(), decode::vectors(&batch, dimension)?));
            }
            Ok(Some(ExactVectors::from_batches(dimension, &rows)))
        }
        .boxed()
    }

    /// What the lexical index needs of all live rows, batch by batch.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan_index_rows(&self) -> TableFuture<'_, BoxStream<'static, Result<Vec<IndexRow>, VectorError>>> {
        async move {
            let mut scanner = self.dataset.scan();
            scanner.project(&self.layout.index_columns()).map_err(failed("be scanned"))?.with_row_id();
            let batches = scanner.try_into_stream().await.map_err(failed("be scanned"))?;
            let layout = self.layout.clone();
            Ok(batches.map(move |batch| index_rows(&layout, &batch.map_err(failed("be scanned"))?)).boxed())
        }
        .boxed()
    }

    /// What the lexical index needs of the rows with these ids, which must be live in this version.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn take_index_rows<'a>(&'a self, row_ids: &'a [u64]) -> TableFuture<'a, Vec<IndexRow>> {
        async move {
            let columns = self.layout.index_columns().into_iter();
            index_rows(&self.layout, &self.take(row_ids, columns).await?)
        }
        .boxed()
    }

    /// Whole rows with these ids, in that order, without token vectors. The ids must be live in this version.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn take_rows<'a>(&'a self, row_ids: &'a [u64]) -> TableFuture<'a, Vec<ChunkRow>> {
        async move {
            let columns = self.layout.index_columns().into_iter().chain(std::iter::once(schema::VECTOR.to_owned()));
            let batch = self.take(row_ids, columns).await?;
            let vectors = decode::vectors(&batch, self.layout.dimension)?;
            let vectors = vectors.chunks_exact(self.layout.dimension.max(1));
            let rows = index_rows(&self.layout, &batch)?.into_iter().zip(vectors);
            let mut by_id: HashMap<u64, ChunkRow> =
                rows.map(|(row, vector)| (row.chunk.row_id, whole_row(row, vector.to_vec()))).collect();
            Ok(row_ids.iter().filter_map(|row_id| by_id.remove(row_id)).collect())
        }
        .boxed()
    }

    /// The rows with these ids, in that order. The ids must be live in this version; one that never was is left out.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn take_chunks<'a>(&'a self, row_ids: &'a [u64]) -> TableFuture<'a, Vec<StoredChunk>> {
        async move {
            let batch = self.take(row_ids, self.layout.stored_columns().into_iter()).await?;
            let chunks = stored_chunks(&self.layout, &batch)?;
            let mut by_id: HashMap<u64, StoredChunk> = chunks.into_iter().map(|chunk| (chunk.row_id, chunk)).collect();
            Ok(row_ids.iter().filter_map(|row_id| by_id.remove(row_id)).collect())
        }
        .boxed()
    }

    /// The vectors of the rows with these ids, which must be live in this version.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn take_vectors<'a>(&'a self, row_ids: &'a [u64]) -> TableFuture<'a, HashMap<u64, Vec<f32>>> {
        async move {
            let batch = self.take(row_ids, std::iter::once(schema::VECTOR.to_owned())).await?;
            let ids = decode::big_number(&batch, ROW_ID)?;
            let vectors = decode::vectors(&batch, self.layout.dimension)?;
            let vectors = vectors.chunks_exact(self.layout.dimension.max(1)).map(<[f32]>::to_vec);
            Ok(ids.values().iter().copied().zip(vectors).collect())
        }
        .boxed()
    }

    pub(super) async fn take(
        &self,
        row_ids: &[u64],
        columns: impl Iterator<Item = String>,
    ) -> Result<RecordBatch, VectorError> {
        let columns = columns.chain(std::iter::once(ROW_ID.to_owned()));
        let projection = ProjectionRequest::from_columns(columns, self.dataset.schema());
        let rows = self.dataset.take_builder(row_ids, projection).map_err(failed("read rows by their ids"))?;
        // Callers take the ids from this version's own directory or from the lexical index in step with it, so none is
        // of a deleted row, and the deletion files of all fragments need not be read.
        rows.with_ignore_deletions(true).execute().await.map_err(failed("read rows by their ids"))
    }
}

pub(super) fn append_keys(batch: &RecordBatch, keys: &mut Vec<RowKey>) -> Result<(), VectorError> {
    let row_ids = decode::big_number(batch, ROW_ID)?;
    let addresses = decode::big_number(batch, ROW_ADDR)?;
    let documents = decode::text(batch, schema::DOCUMENT_ID)?;
    let numbers = decode::number(batch, schema::CHUNK_NO)?;
    let document_hashes = decode::text(batch, schema::DOCUMENT_HASH)?;
    let chunk_hashes = decode::text(batch, schema::CHUNK_HASH)?;
    for row in 0..batch.num_rows() {
        keys.push(RowKey {
            place: place(row_ids.value(row), addresses.value(row)),
            document_id: documents.value(row).to_owned(),
            chunk_no: numbers.value(row),
            document_hash: decode::hash(document_hashes, row)?,
            chunk_hash: decode::hash(chunk_hashes, row)?,
        });
    }
    Ok(())
}

/// A Lance row address holds the fragment in its upper half and the offset in its lower half.
fn place(row_id: u64, address: u64) -> RowPlace {
    RowPlace { row_id, fragment: (address >> 32) as u32, offset: address as u32 }
}

fn whole_row(row: IndexRow, vector: Vec<f32>) -> ChunkRow {
    let IndexRow { chunk, chunk_hash, index_text } = row;
    ChunkRow {
        document: Arc::new(chunk.document),
        chunk_id: chunk.chunk_id,
        chunk_no: chunk.chunk_no,
        char_start: chunk.char_start,
        char_end: chunk.char_end,
        heading_path: chunk.heading_path,
        text: chunk.text,
        index_text,
        chunk_hash,
        vector,
        token_vectors: None,
    }
}

fn index_rows(layout: &TableLayout, batch: &RecordBatch) -> Result<Vec<IndexRow>, VectorError> {
    let texts = decode::text(batch, schema::INDEX_TEXT)?;
    let hashes = decode::text(batch, schema::CHUNK_HASH)?;
    let rows = stored_chunks(layout, batch)?.into_iter().enumerate().map(|(row, chunk)| {
        let (chunk_hash, index_text) = (decode::hash(hashes, row)?, texts.value(row).to_owned());
        Ok(IndexRow { chunk, chunk_hash, index_text })
    });
    rows.collect()
}
