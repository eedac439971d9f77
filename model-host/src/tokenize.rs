//! Text to tokens, as the encoder was trained to read them.

use tokenizers::{PostProcessor, TruncationParams};

/// A tokenizer cut to one encoder's limit.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    max_tokens: usize,
    special_tokens: usize,
    special_ids: Vec<u32>,
}

/// One tokenized text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special tokens included; at most the encoder's limit.
    pub ids: Vec<u32>,
    /// How many of them, at the end, belong to the second text of a pair.
    pub second_tokens: usize,
    /// Whether the text was longer than the limit.
    pub truncated: bool,
}

/// Why a tokenizer cannot be used, or a text not be tokenized.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// `tokenizer.json` is not what the tokenizer library reads.
    #[error("tokenizer.json cannot be read: {0}")]
    Malformed(String),
    /// The special tokens alone fill the encoder's limit.
    #[error("the tokenizer adds {special_tokens} special tokens, which leaves no room in {max_tokens}")]
    NoRoom {
        /// Tokens that every text gets.
        special_tokens: usize,
        /// The encoder's limit.
        max_tokens: usize,
    },
    /// The tokenizer library refused the text.
    #[error("the text cannot be tokenized: {0}")]
    Text(String),
}

impl Tokenizer {
    /// Reads `tokenizer.json`. The file may carry truncation and padding of its own
    /// (MiniLM's pads everything to 128 tokens); the encoder's limit replaces the one, and
    /// the batch does the other.
    pub fn from_json(json: &[u8], max_tokens: usize) -> Result<Self, TokenizeError> {
        let malformed = |error: tokenizers::Error| TokenizeError::Malformed(error.to_string());
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(malformed)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(malformed)?;
        let special_tokens = inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if special_tokens >= max_tokens {
            return Err(TokenizeError::NoRoom { special_tokens, max_tokens });
        }
        // Taken before the limit is set: whoever counts tokens wants to count all of them.
        let json = inner.to_string(false).map_err(malformed)?.into_bytes();
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(malformed)?;
        // What a text without words becomes is special tokens alone.
        let special_ids = inner.encode_fast("", true).map_err(malformed)?.get_ids().to_vec();
        Ok(Self { inner, json, max_tokens, special_tokens, special_ids })
    }

    /// Tokenizes one text, with special tokens, cut to the limit.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizeError> {
        let encoding = self.inner.encode_fast(text, true).map_err(|error| TokenizeError::Text(error.to_string()))?;
        Ok(tokens(&encoding))
    }

    /// Tokenizes a pair of texts as a cross-encoder reads them, cut to the limit where the
    /// longer of the two ends.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Tokens, TokenizeError> {
        let encoding = self.inner.encode_fast((first, second), true);
        Ok(tokens(&encoding.map_err(|error| TokenizeError::Text(error.to_string()))?))
    }

    /// `tokenizer.json` without truncation and padding.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The encoder's limit, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Whether every text gets this token, so that it says nothing of any.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// The tokens of the vocabulary that stand for words or pieces of words, by number.
    pub(crate) fn words(&self) -> Vec<u32> {
        let stands_for_text = |token: &str| !(token.starts_with('[') || token.starts_with('<'));
        let mut words: Vec<u32> = self
            .inner
            .get_vocab(true)
            .into_iter()
            .filter(|(token, _)| stands_for_text(token))
            .map(|(_, id)| id)
            .collect();
        words.sort_unstable();
        words
    }

    /// Tokens with the special ones around them: the first before, the others behind.
    pub(crate) fn between_specials(&self, tokens: impl Iterator<Item = u32>) -> Vec<u32> {
        let (first, last) = self.special_ids.split_at(self.special_ids.len().min(1));
        first.iter().copied().chain(tokens).chain(last.iter().copied()).collect()
    }

    /// How many special tokens each text gets.
    pub fn special_tokens(&self) -> usize {
        self.special_tokens
    }
}

fn tokens(encoding: &tokenizers::Encoding) -> Tokens {
    Tokens {
        ids: encoding.get_ids().to_vec(),
        second_tokens: encoding.get_type_ids().iter().filter(|&&kind| kind == 1).count(),
        truncated: !encoding.get_overflowing().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer_json() -> String {
        serde_json::json!({
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
            "decoder": null,
            "model": {"type": "WordLevel", "unk_token": "[UNK]",
                "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "b": 5}},
        })
        .to_string()
    }

    #[test]
    fn the_encoders_limit_replaces_the_files() {
        let tokenizer = Tokenizer::from_json(tokenizer_json().as_bytes(), 5).unwrap();
        for (text, ids, truncated) in [
            ("", vec![1, 2], false),
            ("a b a", vec![1, 4, 5, 4, 2], false),
            ("a b a b", vec![1, 4, 5, 4, 2], true),
            ("a ?", vec![1, 4, 3, 2], false),
        ] {
            assert_eq!(tokenizer.encode(text).unwrap(), Tokens { ids, second_tokens: 0, truncated });
        }
        assert_eq!(tokenizer.special_tokens(), 2);
        assert_eq!([0, 1, 2, 3, 4].map(|id| tokenizer.is_special(id)), [false, true, true, false, false]);
    }

    #[test]
    fn a_pair_says_where_its_second_text_begins() {
        let tokenizer = Tokenizer::from_json(tokenizer_json().as_bytes(), 7).unwrap();
        let pair = tokenizer.encode_pair("a b", "b").unwrap();
        assert_eq!(pair, Tokens { ids: vec![1, 4, 5, 2, 5, 2], second_tokens: 2, truncated: false });
        let cut = tokenizer.encode_pair("a b", "b b b b b b").unwrap();
        assert_eq!((cut.ids.len(), cut.truncated), (7, true));
    }

    #[test]
    fn the_handed_out_file_neither_cuts_nor_pads() {
        let tokenizer = Tokenizer::from_json(tokenizer_json().as_bytes(), 5).unwrap();
        let whole = tokenizers::Tokenizer::from_bytes(tokenizer.json()).unwrap();
        let encoding = whole.encode("a b a b a b", true).unwrap();
        assert_eq!(encoding.get_ids().len(), 8);
    }

    #[test]
    fn a_limit_without_room_for_text_is_refused() {
        let error = Tokenizer::from_json(tokenizer_json().as_bytes(), 2).err();
        assert!(matches!(error, Some(TokenizeError::NoRoom { .. })));
        let error = Tokenizer::from_json(b"{", 5).err();
        assert!(matches!(error, Some(TokenizeError::Malformed(_))));
    }
}
