//! The search itself: from a rough look at all rows to a comparison of the few that may be among the nearest.

use super::best::Best;
use super::codes::{Estimates, QueryCode};
use super::dot;
use super::segment::Segment;
use super::sketch::QuerySketch;
use crate::row_ids::{RowIds, common_places};
use crate::vector::VectorHit;
use rayon::prelude::*;

/// Most rows that are looked at together for the likely nearest.
const LARGEST_GROUP: usize = 64;
/// Groups of rows for each hit that is wanted, at least, where there are so many rows: with more groups fewer rows are
/// taken for likely that are not.
const GROUPS_PER_HIT: usize = 8;
/// Where fewer rows than one in this many are wanted, they are looked at one by one.
const FEW: usize = 4;

/// A query as the segments need it.
struct Query<'a> {
    vector: &'a [f32],
    code: QueryCode,
    /// One for each basis that segments are sketched through; mostly one in all.
    sketches: Vec<QuerySketch>,
}

/// A rough look at the rows of a segment.
struct Look {
    /// About the similarity of each row; negative infinity for one that is not wanted.
    similarities: Vec<f32>,
    /// The highest similarity that each row can have; negative infinity for one that is not wanted or is done with.
    highest: Vec<f32>,
    /// Whether the codes may still tell more than the look did.
    from_sketch: bool,
}

/// The `k` live rows whose vectors have the largest inner product with `query`, the largest first, rows of equal
/// similarity by their ids.
///
/// All rows are looked at through their sketches or codes, which bound their similarities from above. Those that look best
/// are compared first, which bounds the similarity of the `k`-th nearest from below. Only what may be above that is then
/// looked at more closely.
pub(super) fn nearest(
    segments: &[Segment],
    dimension: usize,
    query: &[f32],
    k: usize,
    among: Option<&RowIds>,
) -> Vec<VectorHit> {
    if k == 0 {
        return Vec::new();
    }
    let query = Query::of(query, segments);
    let mut looks: Vec<Look> = segments.par_iter().map(|segment| segment.look(&query, among)).collect();
    let likely = likely(&looks, k);
    let mut best = Best::of(k);
    for (segment, look) in segments.iter().zip(&mut looks) {
        for row in (0..look.similarities.len()).filter(|row| look.similarities[*row] >= likely) {
            best.add(segment.hit(row, &query, dimension));
            look.highest[row] = f32::NEG_INFINITY;
        }
    }
    // Nothing that is wanted is below the least finite number, and all else always is.
    let needed = best.worst().unwrap_or(f32::MIN).max(f32::MIN);
    let rest = segments.par_iter().zip(&looks).flat_map_iter(|(segment, look)| {
        segment.at_least(needed, look, &query).map(|row| segment.hit(row, &query, dimension)).collect::<Vec<_>>()
    });
    rest.collect::<Vec<_>>().into_iter().for_each(|hit| best.add(hit));
    best.into_sorted()
}

/// A similarity that at least `k` rows look like having, as high as can be told at little cost; the least finite number
/// where there are no more than `k`.
fn likely(looks: &[Look], k: usize) -> f32 {
    let rows: usize = looks.iter().map(|look| look.similarities.len()).sum();
    let group = (rows / k.saturating_mul(GROUPS_PER_HIT)).clamp(1, LARGEST_GROUP);
    let groups = looks.iter().flat_map(|look| look.similarities.chunks(group));
    let mut highest: Vec<f32> = groups.map(largest).collect();
    if highest.len() <= k {
        return f32::MIN;
    }
    let (_, kth, _) = highest.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    kth.max(f32::MIN)
}

/// The compiler turns this into vector instructions, which it cannot where what is no number has to be minded.
fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(f32::NEG_INFINITY, |largest, number| if *number > largest { *number } else { largest })
}

impl<'a> Query<'a> {
    fn of(vector: &'a [f32], segments: &[Segment]) -> Self {
        let mut sketches: Vec<QuerySketch> = Vec::new();
        for sketch in segments.iter().filter_map(|segment| segment.rows.sketch()) {
            if !sketches.iter().any(|query| query.fits(&sketch)) {
                sketches.push(QuerySketch::of(sketch.basis(), vector));
            }
        }
        Self { vector, code: QueryCode::of(vector), sketches }
    }
}

impl Segment {
    fn look(&self, query: &Query<'_>, among: Option<&RowIds>) -> Look {
        match among {
            None => self.look_at_all(query),
            Some(among) if among.as_slice().len() < self.rows.ids.len() / FEW => self.look_at_few(query, among),
            Some(among) => {
                let mut look = self.look_at_all(query);
                look.keep(common_places(&self.rows.ids, among));
                look
            }
        }
    }

    fn look_at_all(&self, query: &Query<'_>) -> Look {
        let sketch = self.rows.sketch();
        let fitting =
            sketch.as_ref().and_then(|sketch| Some((sketch, query.sketches.iter().find(|of| of.fits(sketch))?)));
        let Estimates { similarities, slacks } = match fitting {
            Some((sketch, query)) => sketch.estimates(query),
            None => self.rows.codes.estimates(&query.code),
        };
        let highest = similarities.iter().zip(&slacks).map(|(similarity, slack)| similarity + slack).collect();
        let mut look = Look { similarities, highest, from_sketch: fitting.is_some() };
        self.deleted.rows().for_each(|row| look.drop(row));
        look
    }

    fn look_at_few(&self, query: &Query<'_>, among: &RowIds) -> Look {
        let rows = self.rows.ids.len();
        let none = || vec![f32::NEG_INFINITY; rows];
        let mut look = Look { similarities: none(), highest: none(), from_sketch: false };
        for row in common_places(&self.rows.ids, among).filter(|row| !self.deleted.contains(*row)) {
            let (similarity, slack) = self.rows.codes.estimate(&query.code, row);
            look.similarities[row] = similarity;
            look.highest[row] = similarity + slack;
        }
        look
    }

    /// The rows that are not done with and may have at least the similarity that is needed.
    fn at_least(&self, needed: f32, look: &Look, query: &Query<'_>) -> impl Iterator<Item = usize> {
        let possible = (0..look.highest.len()).filter(move |row| look.highest[*row] >= needed);
        possible.filter(move |row| {
            !look.from_sketch || {
                let (similarity, slack) = self.rows.codes.estimate(&query.code, *row);
                similarity + slack >= needed
            }
        })
    }

    fn hit(&self, row: usize, query: &Query<'_>, dimension: usize) -> VectorHit {
        let similarity = dot(query.vector, self.rows.vector(row, dimension));
        VectorHit { row_id: self.rows.ids[row], similarity }
    }
}

impl Look {
    fn drop(&mut self, row: usize) {
        self.similarities[row] = f32::NEG_INFINITY;
        self.highest[row] = f32::NEG_INFINITY;
    }

    /// Drops all rows but these, which ascend.
    fn keep(&mut self, rows: impl Iterator<Item = usize>) {
        let mut from = 0;
        for row in rows {
            (from..row).for_each(|other| self.drop(other));
            from = row + 1;
        }
        (from..self.highest.len()).for_each(|other| self.drop(other));
    }
}
