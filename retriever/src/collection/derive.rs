//! Making the lexical index from the vector table, as a whole or by a change set.

use super::{CollectionError, files, passages};
use crate::failpoint::Failpoint;
use crate::filter::Properties;
use crate::lexical::{LexicalDocument, LexicalIndex, LexicalOptions, Payload};
use crate::metadata::MetadataField;
use crate::vector::{ChunkRow, DocumentRow, IndexRow, RowPlace, VectorTable};
use futures::TryStreamExt;
use std::path::Path;

/// Format of the payload. An index with another one is built anew.
pub(super) const PAYLOAD_FORMAT: u32 = 1;
/// Rows that a rebuild hands to the index in one commit.
const REBUILD_ROWS: usize = 20_000;

/// What the index of a table's present version says of itself.
pub(super) fn payload(table: &VectorTable, analyzer_hash: &str, live_rows: u64) -> Payload {
    Payload {
        format: PAYLOAD_FORMAT,
        table_id: table.table_id().to_owned(),
        branch: table.branch().to_owned(),
        // The table's own: when it takes another one's place, the index that was made beside it still fits.
        version: table.own_version(),
        manifest_timestamp: table.committed_at_ns(),
        analyzer_hash: analyzer_hash.to_owned(),
        live_rows,
    }
}

/// A row that was read from the table, as the index takes it.
pub(super) fn from_index_row(row: IndexRow) -> LexicalDocument {
    LexicalDocument {
        row_id: row.chunk.row_id,
        chunk_hash: row.chunk_hash,
        passage: passages::encode_stored(&row.chunk),
        properties: properties(&row.chunk.document),
        title: row.chunk.document.title,
        body: row.index_text,
    }
}

/// A row that was just written, as the index takes it.
pub(super) fn from_new_row(row: &ChunkRow, place: RowPlace) -> LexicalDocument {
    LexicalDocument {
        row_id: place.row_id,
        chunk_hash: row.chunk_hash,
        title: row.document.title.clone(),
        body: row.index_text.clone(),
        properties: properties(&row.document),
        passage: passages::encode_new(row),
    }
}

fn properties(document: &DocumentRow) -> Properties {
    Properties {
        document_id: document.document_id.clone(),
        uri: document.uri.clone(),
        language: document.language.clone(),
        declared: document.declared.clone(),
    }
}

/// Rows to take out of the index and rows to put in.
#[derive(Debug, Default)]
pub(super) struct LexicalChange {
    pub(super) deleted: Vec<u64>,
    pub(super) added: Vec<LexicalDocument>,
}

/// Applies a change off the async threads, and gives the index back.
pub(super) async fn apply(
    mut index: LexicalIndex,
    change: LexicalChange,
    payload: Payload,
) -> Result<LexicalIndex, CollectionError> {
    let apply = move || {
        index.apply(&change.deleted, change.added, &payload)?;
        Ok(index)
    };
    tokio::task::spawn_blocking(apply).await?
}

/// Opens the index of a collection with these declared fields off the async threads.
pub(super) async fn open(
    folder: &Path,
    fields: &[MetadataField],
    options: &LexicalOptions,
) -> Result<LexicalIndex, CollectionError> {
    let (folder, fields, options) = (folder.to_owned(), fields.to_owned(), options.clone());
    Ok(tokio::task::spawn_blocking(move || LexicalIndex::open_or_create(&folder, &fields, &options)).await??)
}

/// Closes an index off the async threads; its merges are finished, and nothing touches its folder afterwards.
pub(super) async fn close(index: LexicalIndex) -> Result<(), CollectionError> {
    Ok(tokio::task::spawn_blocking(move || index.close()).await??)
}

/// Builds the index of a table from nothing, beside its folder, and puts it in the folder's place when it is whole.
///
/// # Errors
/// The table cannot be read or the new folder cannot be written. The old folder is untouched then.
pub(super) async fn rebuild(
    table: &VectorTable,
    folder: &Path,
    options: &LexicalOptions,
) -> Result<LexicalIndex, CollectionError> {
    let parent = folder.parent().unwrap_or(folder);
    let fresh = files::unfinished(parent, "lexical");
    let index = fill(table, &fresh, options).await?;
    // Tantivy opens files by path, so the index is closed before its folder is renamed.
    close(index).await?;
    Failpoint::InRebuild.reach();
    let replaced = files::unfinished(parent, "lexical-replaced");
    if folder.exists() {
        files::rename_durably(folder, &replaced)?;
    }
    Failpoint::InRebuildSwap.reach();
    files::rename_durably(&fresh, folder)?;
    files::remove_folder(&replaced)?;
    open(folder, &table.layout().fields, options).await
}

/// Removes what an earlier process left of a rebuild that it did not finish.
pub(super) fn remove_leftovers(collection_folder: &Path) -> Result<(), CollectionError> {
    let (_, unfinished) = files::folders(collection_folder)?;
    unfinished.iter().try_for_each(|path| files::remove_folder(path))
}

async fn fill(table: &VectorTable, fresh: &Path, options: &LexicalOptions) -> Result<LexicalIndex, CollectionError> {
    files::make_folder(fresh)?;
    let live_rows = table.count_rows().await?;
    let mut index = open(fresh, &table.layout().fields, options).await?;
    let payload = payload(table, index.analyzer_hash(), live_rows);
    let mut waiting = LexicalChange::default();
    let mut batches = std::pin::pin!(table.scan_index_rows().await?);
    while let Some(rows) = batches.try_next().await? {
        waiting.added.extend(rows.into_iter().map(from_index_row));
        if waiting.added.len() >= REBUILD_ROWS {
            index = apply(index, std::mem::take(&mut waiting), payload.clone()).await?;
        }
    }
    // The last commit is made even when nothing is left, so that an empty index carries its payload as well.
    apply(index, waiting, payload).await
}
