//! Writing documents again as they are, with the token vectors that they lack.

use super::{Ingest, write_error};
use crate::collection::{Change, PreparedDocument};
use crate::search::read_error;
use crate::vector::ChunkRow;
use std::collections::HashMap;
use trivium_service_kit::{Deadline, Error};

impl Ingest {
    /// Gives documents token vectors. One that somebody changes meanwhile is left alone: it has them by then.
    ///
    /// # Errors
    /// Whatever embedding gives, `COLLECTION_DAMAGED` when the rows cannot be read, and as [`Ingest::write`].
    pub async fn renew(&self, document_ids: &[String], deadline: Deadline) -> Result<(), Error> {
        let located = self.collection.locate(document_ids);
        let row_ids: Vec<u64> =
            located.entries.iter().flatten().flat_map(|entry| entry.rows.iter().map(|place| place.row_id)).collect();
        let rows = located.published.table.take_rows(&row_ids).await;
        let mut rows = rows.map_err(|error| read_error(&self.collection, &error.into()))?;
        let embedded = self.embed(rows.iter().map(|row| row.index_text.clone()).collect(), deadline).await?;
        // Their vectors stay: they are drawn to their documents already, and some came along with theirs.
        rows.iter_mut().zip(embedded).for_each(|(row, (_, token_vectors))| row.token_vectors = token_vectors);
        let changes = by_document(rows).into_iter().map(Change::Renew).collect();
        self.collection.write(changes).await.map_err(|error| write_error(&self.collection, &error))?;
        Ok(())
    }
}

fn by_document(rows: Vec<ChunkRow>) -> Vec<PreparedDocument> {
    let mut documents: HashMap<String, PreparedDocument> = HashMap::new();
    for row in rows {
        let (document_id, document_hash) = (row.document.document_id.clone(), row.document.document_hash);
        let document = || PreparedDocument { document_id: document_id.clone(), document_hash, rows: Vec::new() };
        documents.entry(document_id.clone()).or_insert_with(document).rows.push(row);
    }
    let mut documents: Vec<PreparedDocument> = documents.into_values().collect();
    documents.iter_mut().for_each(|document| document.rows.sort_by_key(|row| row.chunk_no));
    documents
}
