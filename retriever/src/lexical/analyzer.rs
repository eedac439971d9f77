//! From text to terms: words and identifiers, lowercased, without the stop words of their language, stemmed, folded to ASCII.

mod identifier;
mod language;
mod unspaced;

pub(super) use language::Words;

use std::collections::VecDeque;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, PreTokenizedString, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, Token, TokenStream, Tokenizer,
};

/// The name under which the schema refers to the analyzer of English.
pub(super) const NAME: &str = "trivium_en";

/// Changes whenever the analyzer would give other terms for some text.
pub(super) const VERSION: &str = "trivium 3";

/// Longer terms are dropped: nobody types them, and encoded data would swell the dictionary.
const MAX_TERM_BYTES: usize = 128;

/// The analyzer that the schema names. Texts come with their terms already; it is there for what Tantivy itself analyses.
pub(super) fn english() -> TextAnalyzer {
    analyzer(Words(Some(Language::English)))
}

/// The analyzer of texts in one language, documents and queries alike.
pub(super) fn analyzer(words: Words) -> TextAnalyzer {
    let lower = TextAnalyzer::builder(IdentifierTokenizer)
        .filter(RemoveLongFilter::limit(MAX_TERM_BYTES))
        .filter(LowerCaser)
        .dynamic();
    let Some(language) = words.0 else { return lower.filter_dynamic(AsciiFoldingFilter).build() };
    // An accent in English is foreign, and many leave it out; elsewhere stop words and endings are told by theirs.
    let foreign_accents = language == Language::English;
    let spelt = if foreign_accents { lower.filter_dynamic(AsciiFoldingFilter) } else { lower };
    let kept = match StopWordFilter::new(language) {
        Some(stop_words) => spelt.filter_dynamic(stop_words),
        None => spelt,
    };
    let stemmed = kept.filter_dynamic(Stemmer::new(language));
    if foreign_accents { stemmed.build() } else { stemmed.filter_dynamic(AsciiFoldingFilter).build() }
}

/// A text with the terms of its language, for a field whose own analyzer is that of English.
pub(super) fn analysed(words: Words, text: &str) -> PreTokenizedString {
    let mut tokens = Vec::new();
    analyzer(words).token_stream(text).process(&mut |token| tokens.push(token.clone()));
    PreTokenizedString { text: text.to_owned(), tokens }
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
        terms_in("en", text)
    }

    fn terms_in(tag: &str, text: &str) -> Vec<String> {
        analysed(Words::of_tag(tag), text).tokens.into_iter().map(|token| token.text).collect()
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
    fn each_language_has_its_own_words() {
        let table: [(&str, &str, &[&str]); 5] = [
            ("de", "Die Häuser für den Hund", &["haus", "hund"]),
            ("fr-CA", "Les chevaux étaient blancs", &["cheval", "blanc"]),
            ("ru", "Красивые собаки", &["красив", "собак"]),
            ("sv", "och bilarna", &["bil"]),
            ("xx", "The Dogs und Häuser", &["the", "dogs", "und", "hauser"]),
        ];
        for (tag, text, expected) in table {
            assert_eq!(terms_in(tag, text), expected, "{tag}");
        }
    }

    #[test]
    fn endless_words_are_dropped() {
        assert_eq!(terms(&format!("a1 {} b2", "x".repeat(10_000))), ["a1", "b2"]);
    }

    #[test]
    fn the_terms_of_an_identifier_share_its_position() {
        let tokens = analysed(Words::of_tag("en"), "set ERR_CONN now").tokens.into_iter();
        let positions: Vec<_> = tokens.map(|token| (token.text, token.position)).collect();
        let expected = [("set", 0), ("err", 1), ("conn", 1), ("err_conn", 1), ("now", 2)];
        assert_eq!(positions, expected.map(|(term, position)| (term.to_owned(), position)));
    }

    proptest! {
        #[test]
        fn any_text_is_analysed(text in "\\PC{0,60}|([a-cA-C0-9_.'\\-é東 ]){0,60}", tag in "en|de|fr|tr|ar|zh") {
            for term in terms_in(&tag, &text) {
                prop_assert!(!term.is_empty());
            }
        }
    }
}
