//! Reading one state of the index.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tantivy::Searcher;
use tantivy::collector::{Collector, TopDocs};
use tantivy::columnar::StrColumn;
use tantivy::index::SegmentId;
use tantivy::query::{BooleanQuery, EnableScoring, Query};
use tantivy::schema::Field;
use tantivy::{DocAddress, Score, SegmentReader, TantivyError};

use super::analyzer::Words;
use super::rows::SegmentRows;
use super::schema::Fields;
use super::scores::{LexicalScores, Scores};
use super::statistics::LiveStatistics;
use super::{IndexedRow, LexicalError, LexicalHit, LexicalOptions, explain, filter, query};
use crate::filter::{BuiltIn, Filter};
use crate::hash::ContentHash;
use crate::row_ids::RowIds;

/// The index as it was when this was taken; later commits do not show. Cheap to clone.
#[derive(Clone)]
pub struct LexicalSearcher {
    snapshot: Arc<Snapshot>,
}

struct Snapshot {
    searcher: Searcher,
    statistics: LiveStatistics,
    /// The rows of each segment, read once rather than for every query.
    rows: Vec<SegmentRows>,
    /// The documents' ids of each segment, likewise; `None` for a segment in which there are none.
    document_ids: Vec<Option<StrColumn>>,
    fields: Fields,
    /// Of the documents, that of the collection first.
    languages: Vec<Words>,
    max_query_terms: usize,
    title_weight: f32,
}

impl LexicalSearcher {
    /// `before` is an earlier state, whose segments need not be read again.
    pub(super) fn new(
        searcher: Searcher,
        fields: Fields,
        options: &LexicalOptions,
        before: Option<&Self>,
    ) -> Result<Self, LexicalError> {
        let rows = SegmentRows::of_all(searcher.segment_readers(), &before.map(Self::known_rows).unwrap_or_default())?;
        let name = BuiltIn::DocumentId.name();
        let columns = searcher.segment_readers().iter().map(|segment| segment.fast_fields().str(name));
        let document_ids = columns.collect::<Result<_, _>>()?;
        let languages = languages(&searcher, &fields, &options.language)?;
        let snapshot = Snapshot {
            statistics: LiveStatistics::new(searcher.clone(), &fields),
            searcher,
            rows,
            document_ids,
            fields,
            languages,
            max_query_terms: options.max_query_terms,
            title_weight: options.title_weight,
        };
        Ok(Self { snapshot: Arc::new(snapshot) })
    }

    /// The `k` best chunks for `query`, best first, equal scores by row id. A chunk matches if it holds any term of the
    /// query; one made of nothing but stop words and punctuation matches nothing.
    ///
    /// With a filter, only chunks of documents that meet it are looked at; their scores are those of a search without.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn search(&self, query: &str, k: usize, filter: Option<&Filter>) -> Result<Vec<LexicalHit>, LexicalError> {
        match self.parse(query, k) {
            Some((query, limit)) => self.top(query, limit, filter),
            None => Ok(Vec::new()),
        }
    }

    /// [`search`](Self::search), with the scores of all chunks, those that match nothing and those that meet no filter
    /// included. Every match is scored for that, where the search alone skips what cannot be among the best.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn search_with_scores(
        &self,
        query: &str,
        k: usize,
        filter: Option<&Filter>,
    ) -> Result<(Vec<LexicalHit>, LexicalScores), LexicalError> {
        let (hits, scores) = match (self.parse(query, k), filter) {
            (None, _) => (Vec::new(), Vec::new()),
            (Some((query, limit)), None) => {
                let (top, scores) = self.run(&query, &(TopDocs::with_limit(limit).order_by_score(), Scores))?;
                (self.hits(top), scores)
            }
            (Some((query, limit)), Some(_)) => {
                let scores = self.run(&query, &Scores)?;
                (self.top(query, limit, filter)?, scores)
            }
        };
        Ok((hits, LexicalScores::new(self.clone(), scores)))
    }

    fn top(&self, query: BooleanQuery, limit: usize, filter: Option<&Filter>) -> Result<Vec<LexicalHit>, LexicalError> {
        let query: Box<dyn Query> = match filter {
            Some(filter) => filter::restrict(Box::new(query), filter::compile(&self.snapshot.fields, filter)),
            None => Box::new(query),
        };
        Ok(self.hits(self.run(&query, &TopDocs::with_limit(limit).order_by_score())?))
    }

    fn run<C: Collector>(&self, query: &dyn Query, collector: &C) -> Result<C::Fruit, LexicalError> {
        let Snapshot { searcher, statistics, .. } = &*self.snapshot;
        Ok(searcher.search_with_statistics_provider(query, collector, statistics)?)
    }

    /// The query, and how many hits to collect for it; `None` when there can be none.
    fn parse(&self, query: &str, k: usize) -> Option<(BooleanQuery, usize)> {
        let Snapshot { fields, title_weight, .. } = &*self.snapshot;
        // The collector reserves room for its limit, so that must not come from the caller alone.
        let limit = k.min(usize::try_from(self.num_docs()).unwrap_or(usize::MAX));
        let query = query::parse(fields, &self.terms(query), *title_weight)?;
        (limit > 0).then_some((query, limit))
    }

    fn hits(&self, top: Vec<(Score, DocAddress)>) -> Vec<LexicalHit> {
        let row_id = |segment: u32, doc: u32| self.snapshot.rows[segment as usize].id(doc);
        let mut hits: Vec<LexicalHit> = top
            .into_iter()
            .filter_map(|(score, at)| row_id(at.segment_ord, at.doc_id).map(|row_id| LexicalHit { row_id, score }))
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row_id.cmp(&b.row_id)));
        hits
    }

    /// The clauses of the query that [`search`](Self::search) makes of a text.
    pub(super) fn clauses(&self, query: &str) -> Vec<query::Clause> {
        let Snapshot { fields, title_weight, .. } = &*self.snapshot;
        query::clauses(fields, &self.terms(query), *title_weight)
    }

    /// The terms of a query, in all languages that the documents are in.
    fn terms(&self, query: &str) -> Vec<String> {
        query::distinct_terms(&self.snapshot.languages, query, self.snapshot.max_query_terms)
    }

    pub(super) fn engine(&self) -> &Searcher {
        &self.snapshot.searcher
    }

    /// What scores are made with.
    pub(super) fn statistics(&self) -> &LiveStatistics {
        &self.snapshot.statistics
    }

    pub(super) fn passage_field(&self) -> Field {
        self.snapshot.fields.passage
    }

    /// Where a live row is.
    pub(super) fn address(&self, row_id: u64) -> Option<DocAddress> {
        let segments = self.engine().segment_readers().iter().zip(&self.snapshot.rows).zip(0..);
        let find = |((segment, rows), ordinal): ((&SegmentReader, &SegmentRows), u32)| {
            Some(DocAddress::new(ordinal, rows.find(row_id, segment.alive_bitset())?))
        };
        segments.into_iter().find_map(find)
    }

    fn known_rows(&self) -> HashMap<SegmentId, SegmentRows> {
        let ids = self.engine().segment_readers().iter().map(SegmentReader::segment_id);
        ids.zip(self.snapshot.rows.iter().cloned()).collect()
    }

    /// The documents' ids of each segment.
    pub(super) fn document_id_columns(&self) -> &[Option<StrColumn>] {
        &self.snapshot.document_ids
    }

    pub(super) fn title_field(&self) -> Field {
        self.snapshot.fields.title
    }

    /// Where texts match the query, as ranges of code points, in order and without overlap. Each text comes with the
    /// BCP 47 tag of its language, which is empty for the collection's.
    pub fn highlights<'a>(
        &self,
        query: &str,
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<Vec<Range<u32>>> {
        let own = self.snapshot.languages[0];
        let words = |tag: &str| if tag.is_empty() { own } else { Words::of_tag(tag) };
        explain::highlights(self.terms(query), texts.into_iter().map(|(text, tag)| (text, words(tag))))
    }

    /// The rows of all chunks whose documents meet a filter.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if the index files cannot be read.
    pub fn matching(&self, filter: &Filter) -> Result<RowIds, LexicalError> {
        let Snapshot { searcher, fields, rows, .. } = &*self.snapshot;
        let query = filter::compile(fields, filter);
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
        let mut matching = Vec::new();
        for (segment, rows) in searcher.segment_readers().iter().zip(rows) {
            let alive = segment.alive_bitset();
            weight.for_each_no_score(segment, &mut |docs| {
                let docs = docs.iter().copied().filter(|doc| alive.is_none_or(|alive| alive.is_alive(*doc)));
                matching.extend(docs.filter_map(|doc| rows.id(doc)));
            })?;
        }
        Ok(RowIds::new(matching))
    }

    /// The segments that it reads, each with the operation up to which its deletions are known.
    pub(super) fn segments(&self) -> impl Iterator<Item = (SegmentId, Option<u64>)> {
        let segments = self.snapshot.searcher.segment_readers().iter();
        segments.map(|segment| (segment.segment_id(), segment.delete_opstamp()))
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
        for (segment, ids) in self.snapshot.searcher.segment_readers().iter().zip(&self.snapshot.rows) {
            let high = segment.fast_fields().u64("chunk_hash_high")?;
            let low = segment.fast_fields().u64("chunk_hash_low")?;
            for doc in segment.doc_ids_alive() {
                if let (Some(row_id), Some(high), Some(low)) = (ids.id(doc), high.first(doc), low.first(doc)) {
                    rows.push((row_id, ContentHash::from_u128((u128::from(high) << 64) | u128::from(low))));
                }
            }
        }
        Ok(rows)
    }
}

/// The languages that a query is to be read in: the collection's, and those that documents name.
fn languages(searcher: &Searcher, fields: &Fields, own: &str) -> Result<Vec<Words>, LexicalError> {
    let mut languages = vec![Words::of_tag(own)];
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(fields.built_in(BuiltIn::Language))?;
        let mut tags = index.terms().stream().map_err(TantivyError::from)?;
        while let Some((tag, _)) = tags.next() {
            let words = Words::of_tag(&String::from_utf8_lossy(tag));
            if !languages.contains(&words) {
                languages.push(words);
            }
        }
    }
    // Equal states are to ask in equal order, however their segments are cut.
    languages[1..].sort_unstable_by_key(|words| words.order());
    Ok(languages)
}
