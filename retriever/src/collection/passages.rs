//! The chunks behind row ids, as answers give them.

use super::{CollectionError, Published};
use crate::vector::{ChunkRow, DocumentRow, StoredChunk};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trivium_service_kit::telemetry::count;

/// A chunk as the lexical index keeps it. The order of the fields is the format, which the index's name for the field
/// stands for: another order needs another name, so that older indexes are built anew.
#[derive(Serialize)]
struct Written<'a> {
    document: &'a DocumentRow,
    chunk_id: &'a str,
    chunk_no: u32,
    char_start: u32,
    char_end: u32,
    heading_path: &'a [String],
    text: &'a str,
}

#[derive(Deserialize)]
struct Read {
    document: DocumentRow,
    chunk_id: String,
    chunk_no: u32,
    char_start: u32,
    char_end: u32,
    heading_path: Vec<String>,
    text: String,
}

impl Published {
    /// The chunks with these ids, in that order. The ids must be live in this state; one that never was is left out.
    ///
    /// They are read from the lexical index, which keeps them in one piece. Where it cannot give one, the table is asked,
    /// which is slower and always right.
    ///
    /// # Errors
    /// Neither can be read.
    pub async fn passages(self: &Arc<Self>, row_ids: Vec<u64>) -> Result<Vec<StoredChunk>, CollectionError> {
        let published = self.clone();
        let wanted = row_ids.clone();
        let kept = tokio::task::spawn_blocking(move || published.kept_passages(&wanted)).await??;
        match kept.into_iter().collect::<Option<Vec<_>>>() {
            Some(passages) => Ok(passages),
            None => {
                tracing::warn!(version = count(self.version()), "passages are missing from the lexical index");
                Ok(self.table.take_chunks(&row_ids).await?)
            }
        }
    }

    /// The chunks with these ids as the lexical index keeps them, in that order; `None` for those that it cannot give.
    /// Reads files: call it off the async threads.
    pub(super) fn kept_passages(&self, row_ids: &[u64]) -> Result<Vec<Option<StoredChunk>>, CollectionError> {
        let passages = self.lexical.passages(row_ids)?.into_iter().zip(row_ids);
        Ok(passages.map(|(passage, row_id)| decode(*row_id, &passage?)).collect())
    }
}

/// A chunk that was read from the table, for the index to keep.
pub(super) fn encode_stored(chunk: &StoredChunk) -> Vec<u8> {
    encode(&Written {
        document: &chunk.document,
        chunk_id: &chunk.chunk_id,
        chunk_no: chunk.chunk_no,
        char_start: chunk.char_start,
        char_end: chunk.char_end,
        heading_path: &chunk.heading_path,
        text: &chunk.text,
    })
}

/// A chunk that was just written, for the index to keep.
pub(super) fn encode_new(row: &ChunkRow) -> Vec<u8> {
    encode(&Written {
        document: &row.document,
        chunk_id: &row.chunk_id,
        chunk_no: row.chunk_no,
        char_start: row.char_start,
        char_end: row.char_end,
        heading_path: &row.heading_path,
        text: &row.text,
    })
}

fn encode(passage: &Written<'_>) -> Vec<u8> {
    // Nothing in a passage is of a length that the format cannot say. Were it so, the index would keep nothing that can be
    // read, and the table would be asked.
    postcard::to_allocvec(passage).unwrap_or_default()
}

fn decode(row_id: u64, passage: &[u8]) -> Option<StoredChunk> {
    let Read { document, chunk_id, chunk_no, char_start, char_end, heading_path, text } =
        postcard::from_bytes(passage).ok()?;
    Some(StoredChunk { row_id, document, chunk_id, chunk_no, char_start, char_end, heading_path, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::ContentHash;
    use crate::metadata::MetadataValue;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = MetadataValue> {
        prop_oneof![
            ".*".prop_map(MetadataValue::String),
            any::<i64>().prop_map(MetadataValue::Integer),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(MetadataValue::Float),
            any::<bool>().prop_map(MetadataValue::Boolean),
            any::<i64>().prop_map(MetadataValue::Timestamp),
            prop::collection::vec(".*", 0..3).prop_map(MetadataValue::StringList),
        ]
    }

    prop_compose! {
        fn any_chunk()(
            texts in prop::array::uniform8(".*"),
            numbers in any::<(u64, u32, u32, u32, u128)>(),
            heading_path in prop::collection::vec(".*", 0..3),
            declared in prop::collection::vec(prop::option::of(any_value()), 0..4),
        ) -> StoredChunk {
            let [document_id, title, uri, content_type, language, metadata_json, chunk_id, text] = texts;
            let (row_id, chunk_no, char_start, char_end, hash) = numbers;
            let document_hash = ContentHash::from_u128(hash);
            let document =
                DocumentRow { document_id, title, uri, content_type, language, declared, metadata_json, document_hash };
            StoredChunk { row_id, document, chunk_id, chunk_no, char_start, char_end, heading_path, text }
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(chunk in any_chunk()) {
            prop_assert_eq!(decode(chunk.row_id, &encode_stored(&chunk)), Some(chunk));
        }

        #[test]
        fn bytes_of_any_kind_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(1, &bytes);
        }
    }
}
