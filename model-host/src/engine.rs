//! The engine that runs an encoder's graph.

mod rten;

use crate::tokenize::Tokens;

pub use self::rten::{RtenEngine, Threads};

/// Runs forward passes of one graph. Several threads may use it at the same time.
pub trait Engine: Send + Sync {
    /// Runs one batch and gives the last hidden state of every token.
    ///
    /// # Errors
    /// When the graph fails, or gives something else than hidden states.
    fn forward(&self, batch: &TokenBatch) -> Result<HiddenStates, EngineError>;
}

/// Why a graph could not be loaded or run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The graph is not ONNX, or uses what the engine lacks.
    #[error("the graph cannot be loaded: {0}")]
    Load(String),
    /// The graph lacks an input or output that every encoder has.
    #[error("the graph has no value named {0}")]
    MissingValue(&'static str),
    /// The engine failed on a batch.
    #[error("the forward pass failed: {0}")]
    Run(String),
    /// The graph's output has not the shape that it should have.
    #[error("the forward pass gave shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// What was asked for: batch, sequence and width, or batch and width.
        expected: Vec<usize>,
        /// What came back.
        found: Vec<usize>,
    },
    /// The output holds a NaN or an infinity, so that the weights are damaged.
    #[error("the forward pass gave a number that is not finite")]
    NotFinite,
}

/// Tokens of several texts, padded to the longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<i32>,
    mask: Vec<i32>,
    types: Vec<i32>,
    lengths: Vec<usize>,
    columns: usize,
}

impl TokenBatch {
    /// Pads `texts` on the right.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        Self::padded(texts.into_iter().map(|ids| (ids, 0)).collect())
    }

    /// Pads tokenized texts on the right. Of a pair, the second text has type 1.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a Tokens>) -> Self {
        Self::padded(texts.into_iter().map(|tokens| (&tokens.ids[..], tokens.second_tokens)).collect())
    }

    /// Each text comes with the number of tokens at its end that belong to its second part.
    fn padded(texts: Vec<(&[u32], usize)>) -> Self {
        let columns = texts.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let mut batch = Self {
            ids: Vec::with_capacity(texts.len() * columns),
            mask: Vec::with_capacity(texts.len() * columns),
            types: Vec::with_capacity(texts.len() * columns),
            lengths: texts.iter().map(|(ids, _)| ids.len()).collect(),
            columns,
        };
        for (ids, second_tokens) in texts {
            batch.types.resize(batch.types.len() + ids.len().saturating_sub(second_tokens), 0);
            batch.types.resize(batch.ids.len() + ids.len(), 1);
            // Ids come from a vocabulary, which is far smaller than what an i32 holds; one
            // that is not would be refused by the graph's own bounds check.
            let known = ids.iter().map(|&id| i32::try_from(id).unwrap_or(i32::MAX));
            batch.ids.extend(known);
            batch.mask.extend(ids.iter().map(|_| 1));
            // The mask hides padding, so that any id of the vocabulary will do.
            batch.ids.resize(batch.ids.len() + columns - ids.len(), 0);
            batch.mask.resize(batch.ids.len(), 0);
            batch.types.resize(batch.ids.len(), 0);
        }
        batch
    }

    /// Each text as a batch of its own, without padding.
    pub fn singles(&self) -> impl Iterator<Item = Self> {
        self.lengths.iter().enumerate().map(|(row, &length)| {
            let place = row * self.columns..row * self.columns + length;
            let of = |values: &[i32]| values.get(place.clone()).unwrap_or_default().to_vec();
            Self {
                ids: of(&self.ids),
                mask: of(&self.mask),
                types: of(&self.types),
                lengths: vec![length],
                columns: length,
            }
        })
    }

    /// Token ids, `[rows, columns]`, row-major.
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Token ids of one text, padding left out; none for a text that is not there.
    pub fn row(&self, row: usize) -> &[i32] {
        let length = self.lengths.get(row).copied().unwrap_or_default();
        self.ids.get(row * self.columns..row * self.columns + length).unwrap_or_default()
    }

    /// 1 for a token, 0 for padding, `[rows, columns]`.
    pub fn mask(&self) -> &[i32] {
        &self.mask
    }

    /// 1 for the tokens of a pair's second text, 0 for all others, `[rows, columns]`.
    pub fn types(&self) -> &[i32] {
        &self.types
    }

    /// Tokens of each text, padding left out.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Number of texts.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of the longest text.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// The last hidden state of every token of a batch, padding included.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenStates {
    /// `[rows, columns, width]`, row-major.
    pub data: Vec<f32>,
    /// Tokens of each row, padding included.
    pub columns: usize,
    /// Width of one state.
    pub width: usize,
}

impl HiddenStates {
    /// The states of one text, `[columns, width]`.
    pub fn row(&self, row: usize) -> &[f32] {
        let size = self.columns * self.width;
        self.data.get(row * size..(row + 1) * size).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_padded_to_the_longest() {
        let batch = TokenBatch::new([&[7, 8, 9][..], &[5][..]]);
        assert_eq!(batch.ids(), [7, 8, 9, 5, 0, 0]);
        assert_eq!(batch.mask(), [1, 1, 1, 1, 0, 0]);
        assert_eq!(batch.types(), [0; 6]);
        assert_eq!(batch.lengths(), [3, 1]);
        assert_eq!((batch.rows(), batch.columns()), (2, 3));
        assert_eq!([batch.row(0), batch.row(1), batch.row(2)], [&[7, 8, 9][..], &[5], &[]]);
    }

    #[test]
    fn the_second_text_of_a_pair_has_a_type_of_its_own() {
        let pair = |ids: &[u32], second_tokens| Tokens { ids: ids.to_vec(), second_tokens, truncated: false };
        let batch = TokenBatch::of([&pair(&[7, 8, 9, 6], 2), &pair(&[5, 4], 1)]);
        assert_eq!(batch.types(), [0, 0, 1, 1, 0, 1, 0, 0]);
        assert_eq!(batch.mask(), [1, 1, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn a_batch_comes_apart_into_its_texts() {
        let texts = [&[7, 8, 9][..], &[5][..]];
        let singles: Vec<TokenBatch> = TokenBatch::new(texts).singles().collect();
        assert_eq!(singles, texts.map(|text| TokenBatch::new([text])));
    }

    #[test]
    fn no_texts_make_an_empty_batch() {
        let batch = TokenBatch::new([]);
        assert_eq!((batch.rows(), batch.columns()), (0, 0));
        assert_eq!(batch.singles().count(), 0);
    }
}
