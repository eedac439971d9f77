//! Passages that the index keeps for answers.
//!
//! Reading a row of the table by its id opens a column for each of its values, which costs more than both legs of a search
//! together. The index keeps each passage as one piece beside its terms, in the same files and so in the same state.

use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{DocAddress, DocSet, TERMINATED, TantivyDocument, Term};

use super::{LexicalError, LexicalSearcher};

impl LexicalSearcher {
    /// The passages of the rows with these ids, in that order; `None` for a row that the index does not hold.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn passages(&self, row_ids: &[u64]) -> Result<Vec<Option<Vec<u8>>>, LexicalError> {
        row_ids.iter().map(|row_id| self.passage(*row_id)).collect()
    }

    fn passage(&self, row_id: u64) -> Result<Option<Vec<u8>>, LexicalError> {
        let Some(address) = self.address(row_id)? else { return Ok(None) };
        let document: TantivyDocument = self.engine().doc(address)?;
        let passage = document.get_first(self.passage_field());
        Ok(passage.and_then(|value| value.as_bytes().map(<[u8]>::to_vec)))
    }

    /// Where a live row is. Row ids ascend, so that most segments are passed over by the range of theirs.
    pub(super) fn address(&self, row_id: u64) -> Result<Option<DocAddress>, LexicalError> {
        let term = Term::from_field_u64(self.row_id_field(), row_id);
        let segments = self.engine().segment_readers().iter().zip(self.row_id_columns()).zip(0..);
        for ((segment, row_ids), ordinal) in segments {
            if !(row_ids.min_value()..=row_ids.max_value()).contains(&row_id) {
                continue;
            }
            let postings = segment.inverted_index(self.row_id_field())?.read_postings(&term, IndexRecordOption::Basic);
            let Some(mut postings) = postings.map_err(tantivy::TantivyError::from)? else { continue };
            while postings.doc() != TERMINATED {
                if segment.alive_bitset().is_none_or(|alive| alive.is_alive(postings.doc())) {
                    return Ok(Some(DocAddress::new(ordinal, postings.doc())));
                }
                postings.advance();
            }
        }
        Ok(None)
    }
}
