//! Where each row is in the segments of an index.

use std::collections::HashMap;
use std::sync::Arc;

use tantivy::columnar::Column;
use tantivy::fastfield::AliveBitSet;
use tantivy::index::SegmentId;
use tantivy::{DocId, SegmentReader};

/// The row ids of one segment, which never change. Cheap to clone.
#[derive(Clone)]
pub(super) struct SegmentRows {
    ids: Column<u64>,
    /// The segment's chunks by row id; `None` where that is the order they are in.
    order: Option<Arc<[DocId]>>,
}

impl SegmentRows {
    /// Of all segments, in their order; those of `known` segments need not be read again.
    pub(super) fn of_all(segments: &[SegmentReader], known: &HashMap<SegmentId, Self>) -> tantivy::Result<Vec<Self>> {
        let of = |segment: &SegmentReader| match known.get(&segment.segment_id()) {
            Some(rows) => Ok(rows.clone()),
            None => Self::read(segment),
        };
        segments.iter().map(of).collect()
    }

    fn read(segment: &SegmentReader) -> tantivy::Result<Self> {
        let ids = segment.fast_fields().u64("row_id")?;
        let in_order = (0..segment.max_doc()).map(|doc| ids.first(doc)).is_sorted();
        let order = (!in_order).then(|| {
            let mut docs: Vec<DocId> = (0..segment.max_doc()).collect();
            docs.sort_by_cached_key(|doc| ids.first(*doc));
            docs.into()
        });
        Ok(Self { ids, order })
    }

    /// The row of a chunk.
    pub(super) fn id(&self, doc: DocId) -> Option<u64> {
        self.ids.first(doc)
    }

    /// The live chunk of a row.
    pub(super) fn find(&self, row_id: u64, alive: Option<&AliveBitSet>) -> Option<DocId> {
        if !(self.ids.min_value()..=self.ids.max_value()).contains(&row_id) {
            return None;
        }
        let (mut low, mut high) = (0, self.ids.num_docs());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(self.at(middle)) < Some(row_id) { low = middle + 1 } else { high = middle }
        }
        // A row that was replaced is there as often as it was written.
        let of_row = (low..self.ids.num_docs()).map(|place| self.at(place));
        let mut of_row = of_row.take_while(|doc| self.id(*doc) == Some(row_id));
        of_row.find(|doc| alive.is_none_or(|alive| alive.is_alive(*doc)))
    }

    /// The chunk at a place in the order of row ids.
    fn at(&self, place: u32) -> DocId {
        self.order.as_ref().map_or(place, |order| order[place as usize])
    }
}
