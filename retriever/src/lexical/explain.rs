//! Why a chunk has its score, and where its text matches.

use std::collections::HashSet;
use std::ops::Range;

use tantivy::postings::Postings;
use tantivy::query::{Bm25StatisticsProvider, EnableScoring, Query};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocSet, TantivyError, Term};

use super::analyzer::{self, Words};
use super::query::Clause;
use super::{LexicalError, LexicalSearcher};

/// What one term of a query gave to a chunk's BM25 score.
#[derive(Clone, Debug, PartialEq)]
pub struct TermPart {
    /// The term, as the index holds it.
    pub term: String,
    /// `title` or `body`.
    pub field: &'static str,
    /// What it gave to the score.
    pub score: f32,
    /// Its inverse document frequency: the natural logarithm of `1 + (N - n + 0.5) / (n + 0.5)`, where `n` of the `N` chunks
    /// that can be found hold it.
    pub inverse_document_frequency: f32,
    /// How often the field holds it.
    pub term_frequency: u32,
}

impl LexicalSearcher {
    /// The parts of each row's score, largest first; none for a row that does not match or is not there. They add up to
    /// the score of [`search`](Self::search) but for rounding.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn explain(&self, query: &str, row_ids: &[u64]) -> Result<Vec<Vec<TermPart>>, LexicalError> {
        let clauses = self.clauses(query);
        row_ids
            .iter()
            .map(|row_id| match self.address(*row_id) {
                Some(at) => self.parts(&clauses, at),
                None => Ok(Vec::new()),
            })
            .collect()
    }

    fn parts(&self, clauses: &[Clause], at: DocAddress) -> Result<Vec<TermPart>, LexicalError> {
        let mut parts = Vec::new();
        for clause in clauses {
            parts.extend(self.part(clause, at)?);
        }
        parts.sort_by(|a: &TermPart, b| b.score.total_cmp(&a.score).then_with(|| a.term.cmp(&b.term)));
        Ok(parts)
    }

    fn part(&self, clause: &Clause, at: DocAddress) -> Result<Option<TermPart>, LexicalError> {
        let (searcher, statistics) = (self.engine(), self.statistics());
        let segment = searcher.segment_reader(at.segment_ord);
        let term = Term::from_field_text(clause.field, &clause.term);
        let postings = segment.inverted_index(clause.field)?.read_postings(&term, IndexRecordOption::WithFreqs);
        let Some(mut postings) = postings.map_err(TantivyError::from)? else { return Ok(None) };
        if postings.seek(at.doc_id) != at.doc_id {
            return Ok(None);
        }
        let weight = clause.query().weight(EnableScoring::enabled_from_statistics_provider(statistics, searcher))?;
        let mut scorer = weight.scorer(segment, 1.0)?;
        let score = if scorer.seek(at.doc_id) == at.doc_id { scorer.score() } else { 0.0 };
        let holding = statistics.doc_freq(&term)? as f32;
        let chunks = statistics.total_num_docs()? as f32;
        Ok(Some(TermPart {
            term: clause.term.clone(),
            field: self.field_name(clause.field),
            score,
            inverse_document_frequency: (1.0 + (chunks - holding + 0.5) / (holding + 0.5)).ln(),
            term_frequency: postings.term_freq(),
        }))
    }

    fn field_name(&self, field: Field) -> &'static str {
        if field == self.title_field() { "title" } else { "body" }
    }
}

/// Where texts, each with its language, hold one of the terms, as ranges of code points, in order and without overlap.
pub(super) fn highlights<'a>(
    terms: Vec<String>,
    texts: impl IntoIterator<Item = (&'a str, Words)>,
) -> Vec<Vec<Range<u32>>> {
    let wanted: HashSet<String> = terms.into_iter().collect();
    let of_text = |(text, words): (&str, Words)| {
        let mut analyzer = analyzer::analyzer(words);
        let mut stream = analyzer.token_stream(text);
        let mut bytes: Vec<Range<usize>> = Vec::new();
        while let Some(token) = stream.next() {
            if wanted.contains(&token.text) {
                bytes.push(token.offset_from..token.offset_to);
            }
        }
        in_code_points(text, joined(bytes))
    };
    texts.into_iter().map(of_text).collect()
}

/// An identifier matches as a whole and in parts, so ranges may lie within each other.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn in_code_points(text: &str, ranges: Vec<Range<usize>>) -> Vec<Range<u32>> {
    let (mut byte, mut chars) = (0, 0_u32);
    let mut count_to = |end: usize| {
        chars += text[byte..end].chars().count() as u32;
        byte = end;
        chars
    };
    ranges.into_iter().map(|range| count_to(range.start)..count_to(range.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::query;
    use super::*;
    use proptest::prelude::*;

    fn in_english(query: &str, text: &str) -> Vec<Range<u32>> {
        let english = Words::of_tag("en");
        highlights(query::distinct_terms(&[english], query, 64), [(text, english)]).remove(0)
    }

    fn marked(query: &str, text: &str) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        let ranges = in_english(query, text);
        ranges.into_iter().map(|range| chars[range.start as usize..range.end as usize].iter().collect()).collect()
    }

    #[test]
    fn words_are_marked_in_whatever_form_they_have() {
        let table: [(&str, &str, &[&str]); 5] = [
            ("running dogs", "Ünder the bridge a dog runs.", &["dog", "runs"]),
            ("ERR_CONN_RESET", "It failed: ERR_CONN_RESET (reset).", &["ERR_CONN_RESET", "reset"]),
            ("conn", "It failed: ERR_CONN_RESET.", &["CONN"]),
            ("the of", "the end of the road", &[]),
            ("anything", "", &[]),
        ];
        for (query, text, expected) in table {
            assert_eq!(marked(query, text), expected, "{query:?} in {text:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_within_the_text(query in "\\PC{0,40}", text in "\\PC{0,80}") {
            let length = text.chars().count() as u32;
            let mut end = 0;
            for range in in_english(&query, &text) {
                prop_assert!(end <= range.start && range.start < range.end && range.end <= length);
                end = range.end;
            }
        }
    }
}
