//! Reading one state of the index.

use std::sync::Arc;

use tantivy::Searcher;
use tantivy::collector::TopDocs;
use tantivy::columnar::Column;

use super::schema::Fields;
use super::{IndexedRow, LexicalError, LexicalHit, LexicalOptions, query};
use crate::hash::ContentHash;

/// The index as it was when this was taken; later commits do not show. Cheap to clone.
#[derive(Clone)]
pub struct LexicalSearcher {
    snapshot: Arc<Snapshot>,
}

struct Snapshot {
    searcher: Searcher,
    /// The row ids of each segment, opened once rather than for every query.
    row_ids: Vec<Column<u64>>,
    fields: Fields,
    max_query_terms: usize,
    title_weight: f32,
}

impl LexicalSearcher {
    pub(super) fn new(searcher: Searcher, fields: Fields, options: &LexicalOptions) -> Result<Self, LexicalError> {
        let columns = searcher.segment_readers().iter().map(|segment| segment.fast_fields().u64("row_id"));
        let row_ids = columns.collect::<Result<_, _>>()?;
        let snapshot = Snapshot {
            searcher,
            row_ids,
            fields,
            max_query_terms: options.max_query_terms,
            title_weight: options.title_weight,
        };
        Ok(Self { snapshot: Arc::new(snapshot) })
    }

    /// The `k` best chunks for `query`, best first, equal scores by row id. A chunk matches if it holds any term of the
    /// query; one made of nothing but stop words and punctuation matches nothing.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn search(&self, query: &str, k: usize) -> Result<Vec<LexicalHit>, LexicalError> {
        let Snapshot { searcher, fields, max_query_terms, title_weight, .. } = &*self.snapshot;
        // The collector reserves room for its limit, so that must not come from the caller alone.
        let limit = k.min(usize::try_from(self.num_docs()).unwrap_or(usize::MAX));
        let query = query::parse(fields, query, *max_query_terms, *title_weight);
        let Some(query) = query.filter(|_| limit > 0) else { return Ok(Vec::new()) };
        let top = searcher.search(&query, &TopDocs::with_limit(limit).order_by_score())?;
        let row_id = |segment: u32, doc: u32| self.snapshot.row_ids[segment as usize].first(doc);
        let mut hits: Vec<LexicalHit> = top
            .into_iter()
            .filter_map(|(score, at)| row_id(at.segment_ord, at.doc_id).map(|row_id| LexicalHit { row_id, score }))
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row_id.cmp(&b.row_id)));
        Ok(hits)
    }

    /// How many chunks can be found.
    pub fn num_docs(&self) -> u64 {
        self.snapshot.searcher.num_docs()
    }

    /// All chunks that can be found, in no particular order, for the set difference with the table.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn rows(&self) -> Result<Vec<IndexedRow>, LexicalError> {
        let mut rows = Vec::with_capacity(usize::try_from(self.num_docs()).unwrap_or_default());
        for (segment, row_ids) in self.snapshot.searcher.segment_readers().iter().zip(&self.snapshot.row_ids) {
            let high = segment.fast_fields().u64("chunk_hash_high")?;
            let low = segment.fast_fields().u64("chunk_hash_low")?;
            for doc in segment.doc_ids_alive() {
                if let (Some(row_id), Some(high), Some(low)) = (row_ids.first(doc), high.first(doc), low.first(doc)) {
                    rows.push((row_id, ContentHash::from_u128((u128::from(high) << 64) | u128::from(low))));
                }
            }
        }
        Ok(rows)
    }
}
