//! The first chunk of the document that a chunk belongs to.

use std::collections::HashMap;

use tantivy::columnar::StrColumn;
use tantivy::{DocAddress, TantivyError};

use super::{LexicalError, LexicalSearcher};

impl LexicalSearcher {
    /// The rows of the first chunks of the documents that these rows belong to, in their order. A row that the index does
    /// not hold is its own.
    ///
    /// All chunks of a document are written one after another in one commit, and rows are numbered as they are written; so
    /// the first chunk is where the live rows of the document that lead up to this one begin, in whatever state this
    /// reads.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn beginnings(&self, row_ids: &[u64]) -> Result<Vec<u64>, LexicalError> {
        let mut ascending = row_ids.to_vec();
        ascending.sort_unstable();
        let mut known: HashMap<u64, u64> = HashMap::with_capacity(row_ids.len());
        for row_id in ascending {
            let first = self.beginning(row_id, &known)?;
            known.insert(row_id, first);
        }
        Ok(row_ids.iter().map(|row_id| known[row_id]).collect())
    }

    /// Goes back from a row to the first of its document, or to one whose first is known.
    fn beginning(&self, row_id: u64, known: &HashMap<u64, u64>) -> Result<u64, LexicalError> {
        let (mut first, Some(mut at)) = (row_id, self.address(row_id)) else { return Ok(row_id) };
        while let Some(before) = first.checked_sub(1)
            && let Some(at_before) = self.address(before)
            && self.same_document(at, at_before)?
        {
            if let Some(first) = known.get(&before) {
                return Ok(*first);
            }
            (first, at) = (before, at_before);
        }
        Ok(first)
    }

    fn same_document(&self, left: DocAddress, right: DocAddress) -> Result<bool, LexicalError> {
        let (Some((of_left, left_ordinal)), Some((of_right, right_ordinal))) =
            (self.document(left), self.document(right))
        else {
            return Ok(false);
        };
        // In one segment, equal documents have equal ordinals, and no id has to be read.
        if left.segment_ord == right.segment_ord {
            return Ok(left_ordinal == right_ordinal);
        }
        let of_left = document_id(of_left, left_ordinal)?;
        Ok(of_left.is_some() && of_left == document_id(of_right, right_ordinal)?)
    }

    /// The documents of a chunk's segment, and the ordinal of its own among them.
    fn document(&self, at: DocAddress) -> Option<(&StrColumn, u64)> {
        let column = self.document_id_columns().get(at.segment_ord as usize)?.as_ref()?;
        Some((column, column.term_ords(at.doc_id).next()?))
    }
}

fn document_id(documents: &StrColumn, ordinal: u64) -> Result<Option<String>, LexicalError> {
    let mut document_id = String::new();
    let found = documents.ord_to_str(ordinal, &mut document_id).map_err(TantivyError::from)?;
    Ok(found.then_some(document_id))
}
