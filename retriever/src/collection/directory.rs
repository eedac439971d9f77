//! The document directory: which documents a collection holds, and where their rows are.
//!
//! It is read from the table once, when the collection is opened, and then follows every commit. It answers without a
//! scan whether a document is there, whether it is the same, and which rows go when it is replaced.

use crate::hash::ContentHash;
use crate::vector::{RowKey, RowPlace};
use std::collections::HashMap;

/// What the directory knows of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentEntry {
    /// Hash of the document.
    pub hash: ContentHash,
    /// Its rows, in the order of its chunks.
    pub rows: Box<[RowPlace]>,
}

/// All documents of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Directory {
    documents: HashMap<String, DocumentEntry>,
    chunks: u64,
}

impl Directory {
    /// Makes the directory of a table from its row keys.
    pub(super) fn from_keys(keys: &[RowKey]) -> Self {
        let mut sorted: Vec<&RowKey> = keys.iter().collect();
        sorted.sort_by(|a, b| (&a.document_id, a.chunk_no).cmp(&(&b.document_id, b.chunk_no)));
        let mut directory = Self::default();
        for rows in sorted.chunk_by(|a, b| a.document_id == b.document_id) {
            let places = rows.iter().map(|key| key.place).collect();
            directory.insert(rows[0].document_id.clone(), DocumentEntry { hash: rows[0].document_hash, rows: places });
        }
        directory
    }

    /// The entry of a document.
    pub(super) fn get(&self, document_id: &str) -> Option<&DocumentEntry> {
        self.documents.get(document_id)
    }

    /// All entries, by document, in no particular order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &DocumentEntry)> {
        self.documents.iter().map(|(document_id, entry)| (document_id.as_str(), entry))
    }

    /// Adds a document, in place of the one of that id.
    pub(super) fn insert(&mut self, document_id: String, entry: DocumentEntry) {
        self.chunks += entry.rows.len() as u64;
        if let Some(replaced) = self.documents.insert(document_id, entry) {
            self.chunks -= replaced.rows.len() as u64;
        }
    }

    /// Notes the new places of rows that were moved. A row that is not there is left out.
    pub(super) fn move_rows(&mut self, moved: &[RowKey]) {
        for key in moved {
            let row = self
                .documents
                .get_mut(&key.document_id)
                .and_then(|entry| entry.rows.iter_mut().find(|place| place.row_id == key.place.row_id));
            if let Some(place) = row {
                *place = key.place;
            }
        }
    }

    /// Removes a document, if it is there.
    pub(super) fn remove(&mut self, document_id: &str) {
        if let Some(removed) = self.documents.remove(document_id) {
            self.chunks -= removed.rows.len() as u64;
        }
    }

    /// Documents.
    pub(super) fn documents(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Chunks of all documents.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(document_id: &str, chunk_no: u32, row_id: u64) -> RowKey {
        RowKey {
            place: RowPlace { row_id, fragment: 0, offset: row_id as u32 },
            document_id: document_id.into(),
            chunk_no,
            document_hash: ContentHash::from_u128(7),
            chunk_hash: ContentHash::from_u128(row_id.into()),
        }
    }

    #[test]
    fn rows_are_kept_in_the_order_of_chunks() {
        let directory = Directory::from_keys(&[key("b", 0, 5), key("a", 1, 9), key("a", 0, 7)]);
        let rows: Vec<_> = directory.get("a").unwrap().rows.iter().map(|place| place.row_id).collect();
        assert_eq!(rows, [7, 9]);
        assert_eq!((directory.documents(), directory.chunks()), (2, 3));
    }

    #[test]
    fn moved_rows_keep_their_ids_and_their_order() {
        let mut directory = Directory::from_keys(&[key("a", 0, 1), key("a", 1, 2), key("b", 0, 3)]);
        let at = |row_id, offset| RowPlace { row_id, fragment: 9, offset };
        let moved = [(2, "a"), (3, "b"), (7, "a"), (8, "never there")];
        let moved = moved.map(|(row_id, document_id)| RowKey { place: at(row_id, 5), ..key(document_id, 0, row_id) });
        directory.move_rows(&moved);
        assert_eq!(*directory.get("a").unwrap().rows, [key("a", 0, 1).place, at(2, 5)]);
        assert_eq!(*directory.get("b").unwrap().rows, [at(3, 5)]);
        assert_eq!((directory.documents(), directory.chunks()), (2, 3));
    }

    #[test]
    fn counts_follow_every_change() {
        let mut directory = Directory::from_keys(&[key("a", 0, 1), key("a", 1, 2), key("b", 0, 3)]);
        let entry = DocumentEntry { hash: ContentHash::from_u128(8), rows: Box::new([key("a", 0, 4).place]) };
        directory.insert("a".into(), entry);
        assert_eq!((directory.documents(), directory.chunks()), (2, 2));
        directory.remove("b");
        directory.remove("never there");
        assert_eq!((directory.documents(), directory.chunks()), (1, 1));
    }
}
