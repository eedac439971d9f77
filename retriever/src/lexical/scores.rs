//! The scores of all matches, beside the search for the best.

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};
use trivium_ranking::fusion::ScoreMoments;

use super::{LexicalHit, LexicalSearcher};

/// What a query gives to every chunk of one state.
pub struct LexicalScores {
    searcher: LexicalSearcher,
    moments: ScoreMoments,
    /// The matches of each segment, in the order of their documents.
    segments: Vec<Vec<(DocId, Score)>>,
}

impl LexicalScores {
    pub(super) fn new(searcher: LexicalSearcher, segments: Vec<Vec<(DocId, Score)>>) -> Self {
        let mut moments = ScoreMoments::default();
        segments.iter().flatten().for_each(|(_, score)| moments.add((*score).into()));
        let moments = moments.filled_up_to(searcher.num_docs());
        Self { searcher, moments, segments }
    }

    /// The moments of the scores of all chunks that can be found, zeros of those that match nothing included.
    pub fn moments(&self) -> ScoreMoments {
        self.moments
    }

    /// Those of these rows that match, with their scores, in the order of the rows. All others score 0.
    pub fn of_rows(&self, row_ids: &[u64]) -> Vec<LexicalHit> {
        let score = |row_id: &u64| {
            let at = self.searcher.address(*row_id)?;
            let matches = self.segments.get(at.segment_ord as usize)?;
            let place = matches.binary_search_by_key(&at.doc_id, |(doc, _)| *doc).ok()?;
            Some(LexicalHit { row_id: *row_id, score: matches[place].1 })
        };
        row_ids.iter().filter_map(score).collect()
    }
}

/// Collects all matches of a query with their scores, segment by segment.
pub(super) struct Scores;

/// [`Scores`] of one segment.
pub(super) struct SegmentScores {
    segment: SegmentOrdinal,
    matches: Vec<(DocId, Score)>,
}

impl Collector for Scores {
    type Fruit = Vec<Vec<(DocId, Score)>>;
    type Child = SegmentScores;

    fn for_segment(&self, segment: SegmentOrdinal, _: &SegmentReader) -> tantivy::Result<SegmentScores> {
        Ok(SegmentScores { segment, matches: Vec::new() })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, mut segments: Vec<(SegmentOrdinal, Vec<(DocId, Score)>)>) -> tantivy::Result<Self::Fruit> {
        segments.sort_unstable_by_key(|(segment, _)| *segment);
        Ok(segments.into_iter().map(|(_, matches)| matches).collect())
    }
}

impl SegmentCollector for SegmentScores {
    type Fruit = (SegmentOrdinal, Vec<(DocId, Score)>);

    fn collect(&mut self, doc: DocId, score: Score) {
        self.matches.push((doc, score));
    }

    fn harvest(self) -> Self::Fruit {
        (self.segment, self.matches)
    }
}
