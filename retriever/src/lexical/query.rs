//! From plain text to a query; no character in it is an operator.

use std::collections::HashSet;

use tantivy::Term;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

use super::analyzer::{self, Words};
use super::schema::Fields;

/// The query that scores each document by the sum of its weighted matches, over title and body; `None` when there are no
/// terms at all.
pub(super) fn parse(fields: &Fields, terms: &[String], title_weight: f32) -> Option<BooleanQuery> {
    let clauses = clauses(fields, terms, title_weight);
    let queries: Vec<(Occur, Box<dyn Query>)> =
        clauses.iter().map(|clause| (Occur::Should, Box::new(clause.query()) as Box<dyn Query>)).collect();
    (!queries.is_empty()).then(|| BooleanQuery::new(queries))
}

/// One term in one field.
pub(super) struct Clause {
    pub term: String,
    pub field: Field,
    pub weight: f32,
}

impl Clause {
    pub fn query(&self) -> BoostQuery {
        let term = Term::from_field_text(self.field, &self.term);
        BoostQuery::new(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)), self.weight)
    }
}

/// The clauses whose scores are added up.
pub(super) fn clauses(fields: &Fields, terms: &[String], title_weight: f32) -> Vec<Clause> {
    let both = terms.iter().flat_map(|term| {
        [
            Clause { term: term.clone(), field: fields.title, weight: title_weight },
            Clause { term: term.clone(), field: fields.body, weight: 1.0 },
        ]
    });
    both.collect()
}

/// The first `max_terms` different terms of a text that may be in any of these languages: the first of each language, then
/// the second of each, and so on. A document holds the terms of its own language alone, so a word that has other terms in
/// other languages counts once.
pub(super) fn distinct_terms(languages: &[Words], text: &str, max_terms: usize) -> Vec<String> {
    let mut of_each: Vec<_> = languages.iter().map(|words| terms_in(*words, text, max_terms).into_iter()).collect();
    let mut seen = HashSet::new();
    let mut terms = Vec::new();
    loop {
        let round: Vec<String> = of_each.iter_mut().filter_map(Iterator::next).collect();
        if round.is_empty() {
            return terms;
        }
        for term in round {
            if terms.len() == max_terms {
                return terms;
            }
            if seen.insert(term.clone()) {
                terms.push(term);
            }
        }
    }
}

/// The first `max_terms` different terms of a text in one language.
fn terms_in(words: Words, text: &str, max_terms: usize) -> Vec<String> {
    let mut analyzer = analyzer::analyzer(words);
    let mut stream = analyzer.token_stream(text);
    let mut seen = HashSet::new();
    let mut terms = Vec::new();
    while terms.len() < max_terms {
        let Some(token) = stream.next() else { break };
        if seen.insert(token.text.clone()) {
            terms.push(token.text.clone());
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(text: &str, max_terms: usize) -> Vec<String> {
        distinct_terms(&[Words::of_tag("en")], text, max_terms)
    }

    #[test]
    fn every_language_is_asked_in_turn() {
        let languages = ["en", "de", ""].map(Words::of_tag);
        let text = "die Häuser der running dogs";
        let all = ["die", "haus", "hauser", "running", "dog"];
        assert_eq!(distinct_terms(&languages, text, 2), ["die", "haus"]);
        let terms = distinct_terms(&languages, text, 100);
        assert!(all.iter().all(|term| terms.iter().any(|found| found == term)), "{terms:?}");
        assert!(distinct_terms(&[], text, 9).is_empty());
    }

    #[test]
    fn terms_are_distinct_and_capped() {
        assert_eq!(english("Dogs and a DOG, cats", 10), ["dog", "cat"]);
        let long: String = (0..100_000).map(|number| format!("term{number} ")).collect();
        assert_eq!(english(&long, 3), ["term0", "term1", "term2"]);
        assert!(english(&long, 0).is_empty());
    }

    #[test]
    fn a_query_without_terms_is_none() {
        let fields = Fields::new(&[]);
        for text in ["", "   ", "to be or not to be", "?!*()[]{}\"~^", "\u{0}\u{1}"] {
            assert!(parse(&fields, &english(text, 10), 1.0).is_none(), "{text:?}");
        }
    }

    #[test]
    fn operators_are_plain_text() {
        assert_eq!(english("title:foo -bar \"baz\" AND qux*", 10), ["titl", "foo", "bar", "baz", "qux"]);
    }
}
