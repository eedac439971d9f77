//! Reading whole rows, vectors included, to compare everything that was derived from them.

use super::scan::append_keys;
use super::{RowKey, StoredChunk, TableFuture, TableLayout, VectorError, VectorTable, decode, failed};
use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

/// Rows that are read at once. Each carries its vector, so that they are kept few.
const CHECK_ROWS: usize = 1_024;

/// All that the check of a collection needs of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRow {
    /// What the directory and the lexical index know of the row.
    pub key: RowKey,
    /// The chunk itself.
    pub chunk: StoredChunk,
    /// Its embedding.
    pub vector: Vec<f32>,
}

impl VectorTable {
    /// All live rows, batch by batch, with what a check compares.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan_check_rows(&self) -> TableFuture<'_, BoxStream<'static, Result<Vec<CheckRow>, VectorError>>> {
        async move {
            let layout = self.layout.clone();
            let mut scanner = self.dataset.scan();
            scanner.project(&layout.check_columns()).map_err(failed("be scanned"))?.with_row_id().with_row_address();
            scanner.batch_size(CHECK_ROWS);
            let batches = scanner.try_into_stream().await.map_err(failed("be scanned"))?;
            Ok(batches.map(move |batch| check_rows(&batch.map_err(failed("be scanned"))?, &layout)).boxed())
        }
        .boxed()
    }
}

fn check_rows(batch: &RecordBatch, layout: &TableLayout) -> Result<Vec<CheckRow>, VectorError> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let mut keys = Vec::with_capacity(batch.num_rows());
    append_keys(batch, &mut keys)?;
    let chunks = decode::stored_chunks(layout, batch)?;
    let vectors = decode::vectors(batch, layout.dimension)?;
    let rows = keys.into_iter().zip(chunks).zip(vectors.chunks_exact(layout.dimension.max(1)));
    Ok(rows.map(|((key, chunk), vector)| CheckRow { key, chunk, vector: vector.to_vec() }).collect())
}
