//! BM25's statistics of the chunks that can be found.
//!
//! The engine's own count what was deleted until it is merged away, so that a score would depend on when segments were
//! merged. These count what is alive: the same chunks give the same scores, whatever came before them.

use std::sync::OnceLock;

use tantivy::query::Bm25StatisticsProvider;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Searcher, Term};

use super::schema::Fields;

/// Statistics of one state. Lengths of fields are added up when they are asked for first.
pub(super) struct LiveStatistics {
    searcher: Searcher,
    lengths: [(Field, OnceLock<u64>); 2],
}

impl LiveStatistics {
    pub(super) fn new(searcher: Searcher, fields: &Fields) -> Self {
        Self { searcher, lengths: [fields.title, fields.body].map(|field| (field, OnceLock::new())) }
    }

    /// Adds up the lengths of a field as scores see them, which is rounded to one of 256.
    fn length(&self, field: Field) -> tantivy::Result<u64> {
        let mut length = 0;
        for segment in self.searcher.segment_readers() {
            let norms = segment.get_fieldnorms_reader(field)?;
            length += segment.doc_ids_alive().map(|doc| u64::from(norms.fieldnorm(doc))).sum::<u64>();
        }
        Ok(length)
    }
}

impl Bm25StatisticsProvider for LiveStatistics {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let kept = self.lengths.iter().find(|(kept, _)| *kept == field).map(|(_, length)| length);
        if let Some(length) = kept.and_then(OnceLock::get) {
            return Ok(*length);
        }
        let length = self.length(field)?;
        // Two searches may add up at the same time, and come to the same.
        Ok(kept.map_or(length, |kept| *kept.get_or_init(|| length)))
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.searcher.num_docs())
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let mut chunks = 0;
        for segment in self.searcher.segment_readers() {
            let index = segment.inverted_index(term.field())?;
            chunks += match segment.alive_bitset() {
                None => index.doc_freq(term)?,
                Some(alive) => {
                    let postings = index.read_postings(term, IndexRecordOption::Basic)?;
                    postings.map_or(0, |postings| postings.doc_freq_given_deletes(alive))
                }
            };
        }
        Ok(chunks.into())
    }
}
