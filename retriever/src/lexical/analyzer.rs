//! From text to terms: words and identifiers, lowercased, folded to ASCII, without English stop words, stemmed.

mod identifier;
mod unspaced;

use std::collections::VecDeque;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenStream, Tokenizer,
};

/// The name under which the schema refers to the analyzer.
pub(super) const NAME: &str = "trivium_en";

/// Changes whenever the analyzer would give other terms for some text.
pub(super) const VERSION: &str = "trivium_en 2";

/// Longer terms are dropped: nobody types them, and encoded data would swell the dictionary.
const MAX_TERM_BYTES: usize = 128;

/// The analyzer for documents and queries alike.
pub(super) fn analyzer() -> TextAnalyzer {
    let words = TextAnalyzer::builder(IdentifierTokenizer)
        .filter(RemoveLongFilter::limit(MAX_TERM_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .dynamic();
    let words = match StopWordFilter::new(Language::English) {
        Some(stop_words) => words.filter_dynamic(stop_words),
        None => words,
    };
    words.filter_dynamic(Stemmer::new(Language::English)).build()
}

/// Finds words and identifiers; of an identifier made of several words it gives the whole and the parts, all at one
/// position.
#[derive(Clone, Copy, Debug, Default)]
struct IdentifierTokenizer;

impl Tokenizer for IdentifierTokenizer {
    type TokenStream<'a> = IdentifierStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> IdentifierStream<'a> {
        IdentifierStream { text, runs: identifier::Runs::new(text), waiting: VecDeque::new(), token: Token::default() }
    }
}

struct IdentifierStream<'a> {
    text: &'a str,
    runs: identifier::Runs<'a>,
    /// The terms of the current run that were not given yet, as byte ranges of the text.
    waiting: VecDeque<std::ops::Range<usize>>,
    token: Token,
}

impl TokenStream for IdentifierStream<'_> {
    fn advance(&mut self) -> bool {
        while self.waiting.is_empty() {
            let Some(run) = self.runs.next() else { return false };
            self.waiting.extend(identifier::terms(self.text, run));
            self.token.position = self.token.position.wrapping_add(1);
        }
        let Some(range) = self.waiting.pop_front() else { return false };
        self.token.offset_from = range.start;
        self.token.offset_to = range.end;
        self.token.text.clear();
        self.token.text.push_str(&self.text[range]);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(text: &str) -> Vec<String> {
        let mut analyzer = analyzer();
        let mut stream = analyzer.token_stream(text);
        let mut terms = Vec::new();
        while let Some(token) = stream.next() {
            terms.push(token.text.clone());
        }
        terms
    }

    #[test]
    fn words_are_normalised() {
        let table: [(&str, &[&str]); 7] = [
            ("The Dogs are RUNNING", &["dog", "run"]),
            ("Crème brûlée", &["creme", "brule"]),
            ("", &[]),
            ("to be, or not to be!", &[]),
            ("... --- ,,,", &[]),
            ("東京タワー", &["東京", "タワー"]),
            ("the dog’s, don't", &["dog", "don't"]),
        ];
        for (text, expected) in table {
            assert_eq!(terms(text), expected, "{text:?}");
        }
    }

    #[test]
    fn endless_words_are_dropped() {
        assert_eq!(terms(&format!("a1 {} b2", "x".repeat(10_000))), ["a1", "b2"]);
    }

    #[test]
    fn the_terms_of_an_identifier_share_its_position() {
        let mut analyzer = analyzer();
        let mut stream = analyzer.token_stream("set ERR_CONN now");
        let mut positions = Vec::new();
        while let Some(token) = stream.next() {
            positions.push((token.text.clone(), token.position));
        }
        let expected = [("set", 0), ("err", 1), ("conn", 1), ("err_conn", 1), ("now", 2)];
        assert_eq!(positions, expected.map(|(term, position)| (term.to_owned(), position)));
    }

    proptest! {
        #[test]
        fn any_text_is_analysed(text in "\\PC{0,60}|([a-cA-C0-9_.'\\-é東 ]){0,60}") {
            for term in terms(&text) {
                prop_assert!(!term.is_empty());
            }
        }
    }
}
