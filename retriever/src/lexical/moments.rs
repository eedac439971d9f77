//! Adding up the scores of all matches, beside the search for the best.

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};
use trivium_ranking::fusion::ScoreMoments;

/// Collects the moments of the scores of all chunks that match.
pub(super) struct Moments;

/// [`Moments`] of one segment.
#[derive(Default)]
pub(super) struct SegmentMoments(ScoreMoments);

impl Collector for Moments {
    type Fruit = ScoreMoments;
    type Child = SegmentMoments;

    fn for_segment(&self, _: SegmentOrdinal, _: &SegmentReader) -> tantivy::Result<SegmentMoments> {
        Ok(SegmentMoments::default())
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<ScoreMoments>) -> tantivy::Result<ScoreMoments> {
        let mut moments = ScoreMoments::default();
        segments.into_iter().for_each(|segment| moments.merge(segment));
        Ok(moments)
    }
}

impl SegmentCollector for SegmentMoments {
    type Fruit = ScoreMoments;

    fn collect(&mut self, _: DocId, score: Score) {
        self.0.add(score.into());
    }

    fn harvest(self) -> ScoreMoments {
        self.0
    }
}
