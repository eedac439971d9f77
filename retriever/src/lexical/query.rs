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
    let terms = distinct_terms(text, max_terms);
    let clauses: Vec<(Occur, Box<dyn Query>)> = terms
        .iter()
        .flat_map(|term| [clause(fields.title, term, title_weight), clause(fields.body, term, 1.0)])
        .map(|query| (Occur::Should, query))
        .collect();
    (!clauses.is_empty()).then(|| BooleanQuery::new(clauses))
}

fn clause(field: Field, term: &str, weight: f32) -> Box<dyn Query> {
    let query = TermQuery::new(Term::from_field_text(field, term), IndexRecordOption::WithFreqs);
    Box::new(BoostQuery::new(Box::new(query), weight))
}

fn distinct_terms(text: &str, max_terms: usize) -> Vec<String> {
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
        let fields = Fields::new();
        for text in ["", "   ", "to be or not to be", "?!*()[]{}\"~^", "\u{0}\u{1}"] {
            assert!(parse(&fields, text, 10, 1.0).is_none(), "{text:?}");
        }
    }

    #[test]
    fn operators_are_plain_text() {
        assert_eq!(distinct_terms("title:foo -bar \"baz\" AND qux*", 10), ["titl", "foo", "bar", "baz", "qux"]);
    }
}
