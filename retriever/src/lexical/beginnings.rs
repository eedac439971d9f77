//! The first chunk of the document that a chunk belongs to.

use std::collections::HashMap;

use tantivy::DocAddress;

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
        // In one segment, equal documents have equal ordinals, and no id has to be read.
        if left.segment_ord == right.segment_ord {
            let ordinal = self.document_ordinal(left);
            return Ok(ordinal.is_some() && ordinal == self.document_ordinal(right));
        }
        let document_id = self.document_id(left)?;
        Ok(document_id.is_some() && document_id == self.document_id(right)?)
    }

    fn document_ordinal(&self, at: DocAddress) -> Option<u64> {
        let column = self.document_id_columns().get(at.segment_ord as usize)?.as_ref()?;
        column.term_ords(at.doc_id).next()
    }

    fn document_id(&self, at: DocAddress) -> Result<Option<String>, LexicalError> {
        let Some(Some(column)) = self.document_id_columns().get(at.segment_ord as usize) else { return Ok(None) };
        let Some(ordinal) = column.term_ords(at.doc_id).next() else { return Ok(None) };
        let mut document_id = String::new();
        let found = column.ord_to_str(ordinal, &mut document_id).map_err(tantivy::TantivyError::from)?;
        Ok(found.then_some(document_id))
    }
}
