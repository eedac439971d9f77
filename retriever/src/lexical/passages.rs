//! Passages that the index keeps for answers.
//!
//! Reading a row of the table by its id opens a column for each of its values, which costs more than both legs of a search
//! together. The index keeps each passage as one piece beside its terms, in the same files and so in the same state.

use tantivy::TantivyDocument;
use tantivy::schema::Value;

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
        let Some(address) = self.address(row_id) else { return Ok(None) };
        let document: TantivyDocument = self.engine().doc(address)?;
        let passage = document.get_first(self.passage_field());
        Ok(passage.and_then(|value| value.as_bytes().map(<[u8]>::to_vec)))
    }
}
