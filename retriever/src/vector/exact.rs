//! Exact nearest neighbours over vectors held in memory.
//!
//! A scan through Lance decodes pages and builds a plan for every query, which costs many times what the arithmetic
//! does while a collection is small. So its vectors are kept in memory as well, within a configured budget: derived from
//! the table like the lexical index, and published with it. Like the table it is a value: a change gives a new state,
//! which shares with the old one all that did not change.
//!
//! A search reads a sketch of each row, which is an eighth of its vector, and only what the sketches leave open in the
//! codes and the vectors themselves (`sketch.rs`, `codes.rs`, `nearest.rs`). What it finds is what a comparison of all vectors
//! finds, whatever sketches there are; so they are no part of a state, and are made beside the searches.

mod background;
mod basis;
mod best;
mod codes;
mod nearest;
mod second;
mod segment;
mod sketch;
mod sums;

use super::VectorHit;
use crate::row_ids::RowIds;
use background::Sketching;
use codes::{Codes, QueryCode};
use rayon::prelude::*;
use second::SecondMoments;
use segment::Segment;
use sketch::Sketch;
use std::sync::Arc;
use sums::FixedSums;
use trivium_ranking::fusion::ScoreMoments;

/// Rows of a segment that is merged no further, so that the copying for one commit stays bounded.
const FULL_SEGMENT: usize = 16_384;
/// Sums that run side by side, so that the compiler can keep them in vector registers.
const LANES: usize = 32;

/// The vectors of all live rows of one version. Cloning copies a list of pointers.
#[derive(Debug, Clone)]
pub struct ExactVectors {
    dimension: usize,
    /// By row id, ascending: ids are given out in ascending order, and never again.
    segments: Vec<Segment>,
    /// Of the live rows; `None` for vectors that are too long for it.
    moments: Option<Arc<SecondMoments>>,
    /// Shared by all states that came from one.
    sketching: Arc<Sketching>,
}

impl ExactVectors {
    /// No vectors yet.
    pub fn new(dimension: usize) -> Self {
        let dimension = dimension.max(1);
        let moments = SecondMoments::new(dimension).map(Arc::new);
        Self { dimension, segments: Vec::new(), moments, sketching: Arc::default() }
    }

    /// The vectors of rows that were read from a table, batch by batch and in any order.
    pub fn from_batches(dimension: usize, batches: &[(Vec<u64>, Vec<f32>)]) -> Self {
        let mut exact = Self::new(dimension);
        let vectors = batches.iter().flat_map(|(ids, values)| ids.iter().zip(values.chunks_exact(exact.dimension)));
        let mut rows: Vec<(u64, &[f32])> = vectors.map(|(id, vector)| (*id, vector)).collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        let segments = rows.par_chunks(FULL_SEGMENT).map(|rows| {
            let values = rows.iter().flat_map(|(_, vector)| vector.iter().copied()).collect();
            Segment::of(rows.iter().map(|(id, _)| *id).collect(), values, exact.dimension, None)
        });
        exact.segments = segments.collect();
        if let Some(moments) = exact.moments.as_mut().map(Arc::make_mut) {
            exact.segments.iter().for_each(|segment| moments.add(segment.rows.values()));
        }
        exact
    }

    /// Bytes that the vectors, the codes, the sketches and the ids of `rows` rows take at most.
    pub fn bytes(rows: u64, dimension: usize) -> u64 {
        let derived = Codes::bytes_per_row(dimension) + Sketch::bytes_per_row(dimension);
        rows.saturating_mul((dimension * size_of::<f32>() + derived + size_of::<u64>()) as u64)
    }

    /// Rows that are live.
    pub fn live_rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.live() as u64).sum()
    }

    /// Adds rows whose ids are larger than all before, in ascending order. `values` holds their vectors, one after another.
    pub fn append(&mut self, ids: Vec<u64>, values: Vec<f32>) {
        debug_assert_eq!(values.len(), ids.len() * self.dimension);
        debug_assert!(ids.is_sorted());
        if ids.is_empty() {
            return;
        }
        if let Some(moments) = &mut self.moments {
            Arc::make_mut(moments).add(&values);
        }
        self.segments.push(Segment::of(ids, values, self.dimension, self.sketching.basis().as_ref()));
        self.merge_tail();
    }

    /// Removes rows. An id that is not there is no error.
    pub fn delete(&mut self, ids: &[u64]) {
        let mut removed = Vec::new();
        for id in ids {
            let place = self.segments.partition_point(|segment| segment.last_id() < Some(*id));
            if let Some(segment) = self.segments.get_mut(place)
                && let Some(row) = segment.place(*id)
            {
                removed.extend_from_slice(segment.rows.vector(row, self.dimension));
                segment.delete(row);
            }
        }
        if let Some(moments) = self.moments.as_mut().filter(|_| !removed.is_empty()) {
            Arc::make_mut(moments).remove(&removed);
        }
        self.segments.retain(|segment| segment.live() > 0);
        for segment in self.segments.iter_mut().filter(|segment| segment.deleted.count() > segment.live()) {
            *segment = Segment::merged(&[segment], self.dimension);
        }
    }

    /// The vector of a live row; `None` when there is no such row.
    pub fn get(&self, id: u64) -> Option<&[f32]> {
        let place = self.segments.partition_point(|segment| segment.last_id() < Some(id));
        let segment = self.segments.get(place)?;
        Some(segment.rows.vector(segment.place(id)?, self.dimension))
    }

    /// The inner product of a live row's vector with `query`, as [`nearest`](Self::nearest) gives it; `None` when there is
    /// no such row.
    pub fn similarity(&self, id: u64, query: &[f32]) -> Option<f32> {
        self.get(id).map(|vector| dot(query, vector))
    }

    /// The `k` live rows, of these alone where some are named, whose vectors have the largest inner product with
    /// `query`, the largest first, rows of equal similarity by their ids. Takes time in proportion to all rows, on as many
    /// cores as are free; call it off the async threads.
    pub fn nearest(&self, query: &[f32], k: usize, among: Option<&RowIds>) -> Vec<VectorHit> {
        nearest::nearest(&self.segments, self.dimension, query, k, among)
    }

    /// The moments of the similarities of all live rows to `query`; `None` when they do not differ. They depend on the
    /// rows alone, and not on how the state came about.
    pub fn moments(&self, query: &[f32]) -> Option<ScoreMoments> {
        match &self.moments {
            Some(moments) => moments.moments(query),
            None => Some(self.sums(query).moments()),
        }
    }

    /// The sums for vectors of which no products are kept, from the codes of all rows.
    fn sums(&self, query: &[f32]) -> FixedSums {
        let code = QueryCode::of(query);
        let of_segment = |segment: &Segment| {
            let similarities = segment.rows.codes.estimates(&code).similarities;
            let mut sums = FixedSums::of(&similarities);
            segment.deleted.rows().for_each(|row| sums.remove(similarities[row]));
            sums
        };
        let mut sums = FixedSums::default();
        self.segments.iter().for_each(|segment| sums.merge(of_segment(segment)));
        sums
    }

    /// Merges the newest segments while the last is at least half as large as the one before: every row is copied a
    /// number of times that grows with the logarithm of the segment's size alone.
    fn merge_tail(&mut self) {
        while let [.., before, last] = self.segments.as_slice() {
            let (large, small) = (before.live(), last.live());
            if large > 2 * small || large + small > FULL_SEGMENT {
                return;
            }
            let merged = Segment::merged(&[before, last], self.dimension);
            self.segments.truncate(self.segments.len() - 2);
            self.segments.push(merged);
        }
    }
}

/// The inner product. Sums run in lanes, so the result may differ from a plain loop in the last digits.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (left_blocks, right_blocks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left_blocks.remainder().iter().zip(right_blocks.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in left_blocks.zip(right_blocks) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    // Adding zero turns a negative zero into a positive one, so that rows without any similarity are equal.
    sums.iter().sum::<f32>() + rest + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const DIMENSION: usize = 3;

    /// Small whole numbers, whose products and sums are exact in any order.
    fn any_vector() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec((-3_i8..=3).prop_map(f32::from), DIMENSION)
    }

    fn naive(rows: &BTreeMap<u64, Vec<f32>>, query: &[f32], k: usize) -> Vec<VectorHit> {
        let similarity = |vector: &Vec<f32>| vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>() + 0.0;
        let mut hits: Vec<_> =
            rows.iter().map(|(id, vector)| VectorHit { row_id: *id, similarity: similarity(vector) }).collect();
        hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row_id.cmp(&b.row_id)));
        hits.truncate(k);
        hits
    }

    proptest! {
        #[test]
        fn any_history_gives_what_a_plain_scan_gives(
            steps in prop::collection::vec((prop::collection::vec(any_vector(), 0..6), prop::collection::vec(0..60_u64, 0..8)), 0..20),
            query in any_vector(),
            k in 0..12_usize,
            among in prop::collection::vec(0..80_u64, 0..40),
        ) {
            let among = RowIds::new(among);
            let mut exact = ExactVectors::new(DIMENSION);
            let mut rows = BTreeMap::new();
            let mut next_id = 0;
            for (vectors, deleted) in steps {
                let before = exact.clone();
                let expected_before = naive(&rows, &query, k);
                let ids: Vec<u64> = (next_id..next_id + vectors.len() as u64).collect();
                next_id += vectors.len() as u64;
                exact.append(ids.clone(), vectors.concat());
                rows.extend(ids.into_iter().zip(vectors));
                exact.delete(&deleted);
                deleted.iter().for_each(|id| { rows.remove(id); });
                prop_assert_eq!(exact.nearest(&query, k, None), naive(&rows, &query, k));
                prop_assert_eq!(exact.live_rows(), rows.len() as u64);
                let kept = rows.iter().filter(|(id, _)| among.as_slice().contains(id));
                let kept: BTreeMap<u64, Vec<f32>> = kept.map(|(id, vector)| (*id, vector.clone())).collect();
                prop_assert_eq!(exact.nearest(&query, k, Some(&among)), naive(&kept, &query, k));
                prop_assert_eq!(before.nearest(&query, k, None), expected_before, "an older state must not change");
                let read_anew = ExactVectors::from_batches(DIMENSION, &[(rows.keys().copied().collect(), rows.values().flatten().copied().collect())]);
                prop_assert_eq!(exact.moments(&query), read_anew.moments(&query), "moments depend on the rows alone");
            }
        }

        #[test]
        fn the_inner_product_is_that_of_a_plain_loop(pairs in prop::collection::vec((-3_i8..=3, -3_i8..=3), 0..100)) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.iter().map(|(a, b)| (f32::from(*a), f32::from(*b))).unzip();
            let plain: f32 = left.iter().zip(&right).map(|(a, b)| a * b).sum();
            prop_assert_eq!(dot(&left, &right), plain);
        }
    }

    #[test]
    fn many_small_appends_leave_few_segments() {
        let mut exact = ExactVectors::new(1);
        for id in 0..5_000 {
            exact.append(vec![id], vec![id as f32]);
        }
        assert!(exact.segments.len() <= 14, "{} segments", exact.segments.len());
        assert_eq!(exact.nearest(&[1.0], 2, None).iter().map(|hit| hit.row_id).collect::<Vec<_>>(), [4_999, 4_998]);
    }

    /// Rows of a sketched segment, of one that came later, and of one that has lost some; the same rows without any
    /// sketch; and queries from among them.
    fn sketched() -> (ExactVectors, ExactVectors, Vec<f32>) {
        const DIMENSION: usize = 128;
        let values = basis::tests::tapering(1_200, DIMENSION, 5);
        let (first, later) = values.split_at(1_000 * DIMENSION);
        let mut exact = ExactVectors::from_batches(DIMENSION, &[((0..1_000).collect(), first.to_vec())]);
        exact.make_sketches();
        exact.append((1_000..1_200).collect(), later.to_vec());
        exact.delete(&(0..1_200).step_by(7).collect::<Vec<_>>());
        let live = |id: &u64| !id.is_multiple_of(7);
        let kept = values.chunks_exact(DIMENSION).zip(0..).filter(|(_, id)| live(id));
        let kept: Vec<f32> = kept.flat_map(|(vector, _)| vector.iter().copied()).collect();
        let plain = ExactVectors::from_batches(DIMENSION, &[((0..1_200).filter(live).collect(), kept)]);
        (exact, plain, values)
    }

    #[test]
    fn sketches_change_nothing_that_is_found() {
        let (exact, plain, queries) = sketched();
        assert!(exact.segments.iter().all(|segment| segment.rows.sketch().is_some()));
        assert!(plain.segments.iter().all(|segment| segment.rows.sketch().is_none()));
        let among = RowIds::new((0..1_200_u64).filter(|id| id.is_multiple_of(5)).collect());
        let few = RowIds::new(vec![3, 8, 1_003]);
        for query in queries.chunks_exact(128).step_by(41) {
            for k in [1, 10, 100, 2_000] {
                for among in [None, Some(&among), Some(&few)] {
                    assert_eq!(exact.nearest(query, k, among), plain.nearest(query, k, among));
                }
            }
            assert_eq!(exact.moments(query), plain.moments(query));
        }
    }

    #[test]
    fn rows_that_come_later_are_sketched_and_merged_with_the_others() {
        let (mut exact, ..) = sketched();
        let values = basis::tests::tapering(900, 128, 6);
        for (vector, id) in values.chunks_exact(128).zip(2_000..) {
            exact.append(vec![id], vector.to_vec());
        }
        assert!(exact.segments.len() < 12, "{}", exact.segments.len());
        assert!(exact.segments.iter().all(|segment| segment.rows.sketch().is_some()));
        assert_eq!(exact.nearest(&values[..128], 1, None)[0].row_id, 2_000);
    }

    #[test]
    fn sketches_are_wanted_by_many_rows_and_once() {
        let values = basis::tests::tapering(20_000, 128, 9);
        let exact = ExactVectors::from_batches(128, &[((0..20_000).collect(), values.clone())]);
        assert!(exact.wants_sketches());
        exact.make_sketches();
        assert!(!exact.wants_sketches());
        assert!(exact.segments.iter().all(|segment| segment.rows.sketch().is_some()));
        let few = ExactVectors::from_batches(128, &[((0..1_000).collect(), values[..128_000].to_vec())]);
        assert!(!few.wants_sketches());
        // Vectors without any direction of their own are looked at once, and then left alone.
        let even: Vec<f32> =
            (0..20_000 * 64).map(|place| if place / 64 % 64 == place % 64 { 1.0 } else { 0.0 }).collect();
        let even = ExactVectors::from_batches(64, &[((0..20_000).collect(), even)]);
        even.make_sketches();
        assert!(!even.wants_sketches() && even.segments.iter().all(|segment| segment.rows.sketch().is_none()));
    }
}
