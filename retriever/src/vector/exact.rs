//! Exact nearest neighbours over vectors held in memory.
//!
//! A scan through Lance decodes pages and builds a plan for every query, which costs many times what the arithmetic
//! does while a collection is small. So its vectors are kept in memory as well, within a configured budget: derived from
//! the table like the lexical index, and published with it. Like the table it is a value: a change gives a new state,
//! which shares with the old one all that did not change.

mod best;
mod codes;
mod sums;

use super::VectorHit;
use crate::row_ids::{RowIds, common_places};
use best::{Best, KthLargest};
use codes::{Codes, Estimates, QueryCode};
use rayon::prelude::*;
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
}

#[derive(Debug, Clone)]
struct Segment {
    rows: Arc<Rows>,
    deleted: Deleted,
}

/// What the codes of one segment say.
struct Look {
    /// The highest similarity that each row can have; negative infinity for one that is not wanted.
    highest: Vec<f32>,
    /// Of the lowest similarities that the wanted rows can have, the `k` largest.
    lowest: KthLargest,
    /// Of all live rows, wanted or not.
    sums: FixedSums,
}

/// Which rows of a segment were deleted.
#[derive(Debug, Clone, Default)]
struct Deleted {
    /// One bit a row; empty while no row was.
    bits: Arc<Vec<u64>>,
    count: usize,
}

impl Deleted {
    fn contains(&self, row: usize) -> bool {
        self.bits.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The deleted rows, ascending.
    fn rows(&self) -> impl Iterator<Item = usize> {
        let words = self.bits.iter().enumerate();
        words.flat_map(|(place, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| place * 64 + bit))
    }

    fn insert(&mut self, row: usize, rows: usize) {
        let bits = Arc::make_mut(&mut self.bits);
        bits.resize(rows.div_ceil(64), 0);
        let (word, bit) = (row / 64, 1 << (row % 64));
        self.count += usize::from(bits[word] & bit == 0);
        bits[word] |= bit;
    }
}

#[derive(Debug)]
struct Rows {
    /// Ascending.
    ids: Vec<u64>,
    /// One vector after another.
    values: Vec<f32>,
    codes: Codes,
}

impl ExactVectors {
    /// No vectors yet.
    pub fn new(dimension: usize) -> Self {
        Self { dimension: dimension.max(1), segments: Vec::new() }
    }

    /// The vectors of rows that were read from a table, batch by batch and in any order.
    pub fn from_batches(dimension: usize, batches: &[(Vec<u64>, Vec<f32>)]) -> Self {
        let mut exact = Self::new(dimension);
        let vectors = batches.iter().flat_map(|(ids, values)| ids.iter().zip(values.chunks_exact(exact.dimension)));
        let mut rows: Vec<(u64, &[f32])> = vectors.map(|(id, vector)| (*id, vector)).collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        for rows in rows.chunks(FULL_SEGMENT) {
            let values = rows.iter().flat_map(|(_, vector)| vector.iter().copied()).collect();
            exact.append(rows.iter().map(|(id, _)| *id).collect(), values);
        }
        exact
    }

    /// Bytes that the vectors, the codes and the ids of `rows` rows take.
    pub fn bytes(rows: u64, dimension: usize) -> u64 {
        let row = dimension * size_of::<f32>() + Codes::bytes_per_row(dimension) + size_of::<u64>();
        rows.saturating_mul(row as u64)
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
        let codes = Codes::of(&values, self.dimension);
        self.segments.push(Segment { rows: Arc::new(Rows { ids, values, codes }), deleted: Deleted::default() });
        self.merge_tail();
    }

    /// Removes rows. An id that is not there is no error.
    pub fn delete(&mut self, ids: &[u64]) {
        for id in ids {
            let place = self.segments.partition_point(|segment| segment.last_id() < Some(*id));
            if let Some(segment) = self.segments.get_mut(place)
                && let Ok(row) = segment.rows.ids.binary_search(id)
            {
                segment.deleted.insert(row, segment.rows.ids.len());
            }
        }
        self.segments.retain(|segment| segment.live() > 0);
        for segment in self.segments.iter_mut().filter(|segment| segment.deleted.count > segment.live()) {
            *segment = Segment::merged(&[segment], self.dimension);
        }
    }

    /// The vector of a live row; `None` when there is no such row.
    pub fn get(&self, id: u64) -> Option<&[f32]> {
        let place = self.segments.partition_point(|segment| segment.last_id() < Some(id));
        let segment = self.segments.get(place)?;
        let row = segment.rows.ids.binary_search(&id).ok().filter(|row| !segment.deleted.contains(*row))?;
        segment.rows.values.chunks_exact(self.dimension).nth(row)
    }

    /// The `k` live rows, of these alone where some are named, whose vectors have the largest inner product with
    /// `query`, the largest first, rows of equal similarity by their ids; and the moments of the similarities of all live
    /// rows, named or not, which are those of the codes and so good to about two digits. Takes time in proportion to all
    /// rows, on as many cores as are free; call it off the async threads.
    pub fn nearest(&self, query: &[f32], k: usize, among: Option<&RowIds>) -> (Vec<VectorHit>, ScoreMoments) {
        let code = QueryCode::of(query);
        let looks: Vec<Look> = self.segments.par_iter().map(|segment| segment.look(&code, k, among)).collect();
        let mut lowest = KthLargest::of(k);
        looks.iter().flat_map(|look| look.lowest.iter()).for_each(|number| lowest.add(number));
        // No row that is wanted is below the least finite number, and the others always are.
        let needed = lowest.get().max(f32::MIN);
        let mut best = Best::of(k);
        let mut sums = FixedSums::default();
        for (segment, look) in self.segments.iter().zip(&looks) {
            sums.merge(look.sums);
            for row in (0..look.highest.len()).filter(|row| look.highest[*row] >= needed) {
                let similarity = dot(query, segment.rows.vector(row, self.dimension));
                if best.wants(similarity) {
                    best.add(VectorHit { row_id: segment.rows.ids[row], similarity });
                }
            }
        }
        (best.into_sorted(), sums.moments())
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

impl Segment {
    fn live(&self) -> usize {
        self.rows.ids.len() - self.deleted.count
    }

    fn last_id(&self) -> Option<u64> {
        self.rows.ids.last().copied()
    }

    /// A first look at all rows, through their codes.
    fn look(&self, query: &QueryCode, k: usize, among: Option<&RowIds>) -> Look {
        let Estimates { similarities, slacks } = self.rows.codes.estimates(query);
        let mut sums = FixedSums::of(&similarities);
        self.deleted.rows().for_each(|row| sums.remove(similarities[row]));
        let mut lowest = KthLargest::of(k);
        let mut highest = vec![f32::NEG_INFINITY; similarities.len()];
        let consider = |row: usize| {
            lowest.add(similarities[row] - slacks[row]);
            highest[row] = similarities[row] + slacks[row];
        };
        match among {
            None if self.deleted.count == 0 => (0..similarities.len()).for_each(consider),
            None => (0..similarities.len()).filter(|row| !self.deleted.contains(*row)).for_each(consider),
            Some(among) => {
                let places = common_places(&self.rows.ids, among);
                places.filter(|row| !self.deleted.contains(*row)).for_each(consider);
            }
        }
        Look { highest, lowest, sums }
    }

    /// The live rows of several segments, one after another.
    fn merged(segments: &[&Self], dimension: usize) -> Self {
        let live = segments.iter().map(|segment| segment.live()).sum();
        let mut rows = Rows::with_capacity(live, dimension);
        for segment in segments {
            for row in (0..segment.rows.ids.len()).filter(|row| !segment.deleted.contains(*row)) {
                rows.push_copy(&segment.rows, row, dimension);
            }
        }
        Self { rows: Arc::new(rows), deleted: Deleted::default() }
    }
}

impl Rows {
    fn with_capacity(rows: usize, dimension: usize) -> Self {
        Self {
            ids: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows * dimension),
            codes: Codes::with_capacity(rows, dimension),
        }
    }

    fn vector(&self, row: usize, dimension: usize) -> &[f32] {
        &self.values[row * dimension..(row + 1) * dimension]
    }

    fn push_copy(&mut self, from: &Self, row: usize, dimension: usize) {
        self.ids.push(from.ids[row]);
        self.values.extend_from_slice(from.vector(row, dimension));
        self.codes.push_copy(&from.codes, row, dimension);
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
                let (hits, moments) = exact.nearest(&query, k, None);
                prop_assert_eq!(hits, naive(&rows, &query, k));
                prop_assert_eq!(exact.live_rows(), rows.len() as u64);
                let kept = rows.iter().filter(|(id, _)| among.as_slice().contains(id));
                let kept: BTreeMap<u64, Vec<f32>> = kept.map(|(id, vector)| (*id, vector.clone())).collect();
                prop_assert_eq!(exact.nearest(&query, k, Some(&among)), (naive(&kept, &query, k), moments));
                prop_assert_eq!(before.nearest(&query, k, None).0, expected_before, "an older state must not change");
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
        assert_eq!(exact.nearest(&[1.0], 2, None).0.iter().map(|hit| hit.row_id).collect::<Vec<_>>(), [4_999, 4_998]);
    }
}
