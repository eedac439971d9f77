//! Reading whole rows, vectors included, to compare everything that was derived from them.

use super::scan::append_keys;
use super::{RowKey, TableFuture, VectorError, VectorTable, decode, failed, schema};
use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

/// Columns of a [`CheckRow`].
const CHECK_COLUMNS: [&str; 9] = [
    schema::DOCUMENT_ID,
    schema::CHUNK_NO,
    schema::DOCUMENT_HASH,
    schema::CHUNK_HASH,
    schema::CHUNK_ID,
    schema::CHAR_START,
    schema::CHAR_END,
    schema::TEXT,
    schema::VECTOR,
];
/// Rows that are read at once. Each carries its vector, so that they are kept few.
const CHECK_ROWS: usize = 1_024;

/// All that the check of a collection needs of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRow {
    /// What the directory and the lexical index know of the row.
    pub key: RowKey,
    /// The chunk's id.
    pub chunk_id: String,
    /// Its first code point in the document's text.
    pub char_start: u32,
    /// One past its last code point.
    pub char_end: u32,
    /// Code points of its text.
    pub text_chars: u64,
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
            let dimension = self.layout.dimension;
            let mut scanner = self.dataset.scan();
            scanner.project(&CHECK_COLUMNS).map_err(failed("be scanned"))?.with_row_id().with_row_address();
            scanner.batch_size(CHECK_ROWS);
            let batches = scanner.try_into_stream().await.map_err(failed("be scanned"))?;
            Ok(batches.map(move |batch| check_rows(&batch.map_err(failed("be scanned"))?, dimension)).boxed())
        }
        .boxed()
    }
}

fn check_rows(batch: &RecordBatch, dimension: usize) -> Result<Vec<CheckRow>, VectorError> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let mut keys = Vec::with_capacity(batch.num_rows());
    append_keys(batch, &mut keys)?;
    let chunk_ids = decode::text(batch, schema::CHUNK_ID)?;
    let starts = decode::number(batch, schema::CHAR_START)?;
    let ends = decode::number(batch, schema::CHAR_END)?;
    let texts = decode::text(batch, schema::TEXT)?;
    let vectors = decode::vectors(batch, dimension)?;
    let rows = keys.into_iter().zip(vectors.chunks_exact(dimension.max(1))).enumerate();
    let rows = rows.map(|(row, (key, vector))| CheckRow {
        key,
        chunk_id: chunk_ids.value(row).to_owned(),
        char_start: starts.value(row),
        char_end: ends.value(row),
        text_chars: texts.value(row).chars().count() as u64,
        vector: vector.to_vec(),
    });
    Ok(rows.collect())
}
