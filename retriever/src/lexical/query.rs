//! From plain text to a query; no character in it is an operator.

use std::collections::HashSet;

use tantivy::Term;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

use super::analyzer;
use super::schema::Fields;

/// The query that scores each document by the sum of its weighted matches, over title and body; `None` when `text`
/// holds no term at all. Of its different terms the first `max_terms` are used.
pub(super) fn parse(fields: &Fields, text: &str, max_terms: usize, title_weight: f32) -> Option<BooleanQuery> {
    let clauses = clauses(fields, text, max_terms, title_weight);
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
pub(super) fn clauses(fields: &Fields, text: &str, max_terms: usize, title_weight: f32) -> Vec<Clause> {
    let terms = distinct_terms(text, max_terms).into_iter();
    let both = terms.flat_map(|term| {
        [
            Clause { term: term.clone(), field: fields.title, weight: title_weight },
            Clause { term, field: fields.body, weight: 1.0 },
        ]
    });
    both.collect()
}

/// The first `max_terms` different terms of a text.
pub(super) fn distinct_terms(text: &str, max_terms: usize) -> Vec<String> {
    let mut analyzer = analyzer::analyzer();
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

    #[test]
    fn terms_are_distinct_and_capped() {
        assert_eq!(distinct_terms("Dogs and a DOG, cats", 10), ["dog", "cat"]);
        let long: String = (0..100_000).map(|number| format!("term{number} ")).collect();
        assert_eq!(distinct_terms(&long, 3), ["term0", "term1", "term2"]);
        assert!(distinct_terms(&long, 0).is_empty());
    }

    #[test]
    fn a_query_without_terms_is_none() {
        let fields = Fields::new(&[]);
        for text in ["", "   ", "to be or not to be", "?!*()[]{}\"~^", "\u{0}\u{1}"] {
            assert!(parse(&fields, text, 10, 1.0).is_none(), "{text:?}");
        }
    }

    #[test]
    fn operators_are_plain_text() {
        assert_eq!(distinct_terms("title:foo -bar \"baz\" AND qux*", 10), ["titl", "foo", "bar", "baz", "qux"]);
    }
}
