//! The first chunk of the document that a chunk belongs to.

use std::collections::HashMap;

use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, TERMINATED, Term};

use super::{LexicalError, LexicalSearcher};
use crate::filter::BuiltIn;

impl LexicalSearcher {
    /// The rows of the first chunks of the documents that these rows belong to, in their order. A row that the index does
    /// not hold is its own.
    ///
    /// All chunks of a document are written in one commit and in their order, and row ids ascend; so the first chunk is
    /// the live row of the document with the least id, in whatever state this reads.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn beginnings(&self, row_ids: &[u64]) -> Result<Vec<u64>, LexicalError> {
        let mut known: HashMap<String, u64> = HashMap::new();
        let beginning = |row_id: &u64| {
            let Some(document_id) = self.document_id(*row_id)? else { return Ok(*row_id) };
            if let Some(first) = known.get(&document_id) {
                return Ok(*first);
            }
            let first = self.first_row(&document_id)?.unwrap_or(*row_id);
            known.insert(document_id, first);
            Ok(first)
        };
        row_ids.iter().map(beginning).collect()
    }

    fn document_id(&self, row_id: u64) -> Result<Option<String>, LexicalError> {
        let Some(at) = self.address(row_id)? else { return Ok(None) };
        let Some(Some(column)) = self.document_id_columns().get(at.segment_ord as usize) else { return Ok(None) };
        let Some(ordinal) = column.term_ords(at.doc_id).next() else { return Ok(None) };
        let mut document_id = String::new();
        let found = column.ord_to_str(ordinal, &mut document_id).map_err(tantivy::TantivyError::from)?;
        Ok(found.then_some(document_id))
    }

    fn first_row(&self, document_id: &str) -> Result<Option<u64>, LexicalError> {
        let field = self.built_in_field(BuiltIn::DocumentId);
        let term = Term::from_field_text(field, document_id);
        let mut first = None;
        for (segment, row_ids) in self.engine().segment_readers().iter().zip(self.row_id_columns()) {
            if first.is_some_and(|first| row_ids.min_value() >= first) {
                continue;
            }
            let postings = segment.inverted_index(field)?.read_postings(&term, IndexRecordOption::Basic);
            let Some(mut postings) = postings.map_err(tantivy::TantivyError::from)? else { continue };
            while postings.doc() != TERMINATED {
                if segment.alive_bitset().is_none_or(|alive| alive.is_alive(postings.doc())) {
                    first = [first, row_ids.first(postings.doc())].into_iter().flatten().min();
                }
                postings.advance();
            }
        }
        Ok(first)
    }
}
