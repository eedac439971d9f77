//! A run of rows with ascending ids, which never changes but for what is deleted of it.

use super::basis::Basis;
use super::codes::Codes;
use super::sketch::Sketch;
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// Rows, and which of them were deleted. Cloning copies two pointers.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) rows: Arc<Rows>,
    pub(super) deleted: Deleted,
}

/// The rows of a segment. Segments of several states share them.
#[derive(Debug)]
pub(super) struct Rows {
    /// Ascending.
    pub(super) ids: Vec<u64>,
    /// One vector after another.
    values: Vec<f32>,
    pub(super) codes: Codes,
    /// Made in the background. A search finds the same with one and without.
    sketch: ArcSwapOption<Sketch>,
}

/// Which rows of a segment were deleted.
#[derive(Debug, Clone, Default)]
pub(super) struct Deleted {
    /// One bit a row; empty while no row was.
    bits: Arc<Vec<u64>>,
    count: usize,
}

impl Deleted {
    pub(super) fn contains(&self, row: usize) -> bool {
        self.bits.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The deleted rows, ascending.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
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

impl Segment {
    /// Rows with ascending ids, whose vectors follow each other in `values`; sketched where there is a basis.
    pub(super) fn of(ids: Vec<u64>, values: Vec<f32>, dimension: usize, basis: Option<&Arc<Basis>>) -> Self {
        let codes = Codes::of(&values, dimension);
        let sketch = basis.map(|basis| Arc::new(Sketch::of(basis, &values, dimension)));
        let rows = Rows { ids, values, codes, sketch: ArcSwapOption::new(sketch) };
        Self { rows: Arc::new(rows), deleted: Deleted::default() }
    }

    pub(super) fn live(&self) -> usize {
        self.rows.ids.len() - self.deleted.count
    }

    pub(super) fn last_id(&self) -> Option<u64> {
        self.rows.ids.last().copied()
    }

    /// The place of a live row.
    pub(super) fn place(&self, id: u64) -> Option<usize> {
        self.rows.ids.binary_search(&id).ok().filter(|row| !self.deleted.contains(*row))
    }

    pub(super) fn delete(&mut self, row: usize) {
        self.deleted.insert(row, self.rows.ids.len());
    }

    /// The live rows of several segments, one after another.
    pub(super) fn merged(segments: &[&Self], dimension: usize) -> Self {
        let live = segments.iter().map(|segment| segment.live()).sum();
        let mut rows = Rows {
            ids: Vec::with_capacity(live),
            values: Vec::with_capacity(live * dimension),
            codes: Codes::with_capacity(live, dimension),
            sketch: ArcSwapOption::empty(),
        };
        for segment in segments {
            for row in segment.live_places() {
                rows.ids.push(segment.rows.ids[row]);
                rows.values.extend_from_slice(segment.rows.vector(row, dimension));
                rows.codes.push_copy(&segment.rows.codes, row, dimension);
            }
        }
        rows.sketch.store(merged_sketch(segments, live));
        Self { rows: Arc::new(rows), deleted: Deleted::default() }
    }

    fn live_places(&self) -> impl Iterator<Item = usize> {
        (0..self.rows.ids.len()).filter(|row| !self.deleted.contains(*row))
    }
}

impl Rows {
    pub(super) fn vector(&self, row: usize, dimension: usize) -> &[f32] {
        &self.values[row * dimension..(row + 1) * dimension]
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn sketch(&self) -> Option<Arc<Sketch>> {
        self.sketch.load_full()
    }

    /// Whether the rows are sketched through another basis, or not at all.
    pub(super) fn lacks_sketch(&self, basis: &Arc<Basis>) -> bool {
        !self.sketch.load().as_ref().is_some_and(|sketch| Arc::ptr_eq(sketch.basis(), basis))
    }

    /// Sketches the rows, which takes a while. Searches go on meanwhile.
    pub(super) fn make_sketch(&self, basis: &Arc<Basis>, dimension: usize) {
        self.sketch.store(Some(Arc::new(Sketch::of(basis, &self.values, dimension))));
    }
}

/// The sketches of the live rows, one after another; none unless all are through one basis.
fn merged_sketch(segments: &[&Segment], live: usize) -> Option<Arc<Sketch>> {
    let sketches = segments.iter().map(|segment| segment.rows.sketch()).collect::<Option<Vec<_>>>()?;
    let basis = sketches.first()?.basis();
    if !sketches.iter().all(|sketch| Arc::ptr_eq(sketch.basis(), basis)) {
        return None;
    }
    let mut merged = Sketch::with_capacity(basis, live);
    for (segment, sketch) in segments.iter().zip(&sketches) {
        segment.live_places().for_each(|row| merged.push_copy(sketch, row));
    }
    Some(Arc::new(merged))
}
