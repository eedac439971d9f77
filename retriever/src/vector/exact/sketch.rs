//! A first look at all vectors through a few directions of theirs.
//!
//! The similarity of a row to a query is that of the two as far as they lie in the basis, and of what is left of the two. The
//! first is told by codes that are half as long as those of the vectors; the second is at most the product of two
//! lengths (Cauchy and Schwarz), and small, for the basis holds most of the vectors. So, as with the codes, no more is lost than
//! a bound says, and whoever looks at the rows that the bound leaves finds what a comparison of all finds.

use super::basis::Basis;
use super::codes::{Codes, Estimates, QueryCode};
use super::dot;
use std::sync::Arc;

/// Added to the squared length of what the basis leaves out, as a share of the squared length: the directions are at
/// right angles, and inner products are added up, to five digits and better. With that, `P` being the basis, the bound
/// holds by the inequality for `I - PᵀP + εI`, which is positive.
const ROUNDING: f32 = 4e-5;

/// What a segment's rows look like through a basis.
#[derive(Debug)]
pub(super) struct Sketch {
    basis: Arc<Basis>,
    codes: Codes,
    /// Length of what the basis leaves out of each row, or a little more.
    rests: Vec<f32>,
}

/// What a query looks like through a basis.
#[derive(Debug)]
pub(super) struct QuerySketch {
    basis: Arc<Basis>,
    code: QueryCode,
    rest: f32,
}

impl Sketch {
    /// Of rows whose vectors follow each other in `values`.
    pub(super) fn of(basis: &Arc<Basis>, values: &[f32], dimension: usize) -> Self {
        let mut sketch = Self::with_capacity(basis, values.len() / dimension);
        for vector in values.chunks_exact(dimension) {
            let projected = basis.project(vector);
            sketch.rests.push(rest(vector, &projected));
            sketch.codes.push(&projected);
        }
        sketch
    }

    pub(super) fn with_capacity(basis: &Arc<Basis>, rows: usize) -> Self {
        let codes = Codes::with_capacity(rows, basis.len());
        Self { basis: basis.clone(), codes, rests: Vec::with_capacity(rows) }
    }

    /// Bytes that one row takes at most.
    pub(super) fn bytes_per_row(dimension: usize) -> usize {
        Codes::bytes_per_row(Basis::most(dimension)) + size_of::<f32>()
    }

    pub(super) fn basis(&self) -> &Arc<Basis> {
        &self.basis
    }

    /// Adds a row of another sketch through the same basis.
    pub(super) fn push_copy(&mut self, from: &Self, row: usize) {
        self.codes.push_copy(&from.codes, row, self.basis.len());
        self.rests.push(from.rests[row]);
    }

    /// What the sketch says of the similarities of all rows to a query that is seen through the same basis.
    pub(super) fn estimates(&self, query: &QuerySketch) -> Estimates {
        let mut estimates = self.codes.estimates(&query.code);
        let slacks = estimates.slacks.iter_mut().zip(&self.rests);
        slacks.for_each(|(slack, rest)| *slack = rest.mul_add(query.rest, *slack));
        estimates
    }
}

impl QuerySketch {
    pub(super) fn of(basis: &Arc<Basis>, query: &[f32]) -> Self {
        let projected = basis.project(query);
        Self { basis: basis.clone(), rest: rest(query, &projected), code: QueryCode::of(&projected) }
    }

    /// Whether a sketch is through the same basis.
    pub(super) fn fits(&self, sketch: &Sketch) -> bool {
        Arc::ptr_eq(&self.basis, &sketch.basis)
    }
}

/// Length of what is left of a vector when its projection is taken away, rounded up.
fn rest(vector: &[f32], projected: &[f32]) -> f32 {
    let (squares, held) = (dot(vector, vector), dot(projected, projected));
    ((squares - held).max(0.0) + ROUNDING * squares).sqrt() * (1.0 + f32::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::super::basis::tests::tapering;
    use super::super::second::SecondMoments;
    use super::*;
    use proptest::prelude::*;

    const DIMENSION: usize = 96;

    fn basis(values: &[f32]) -> Arc<Basis> {
        let mut moments = SecondMoments::new(DIMENSION).unwrap();
        moments.add(values);
        Arc::new(Basis::of(&moments, DIMENSION).unwrap())
    }

    fn any_vector() -> impl Strategy<Value = Vec<f32>> {
        prop_oneof![
            2 => any::<u64>().prop_map(|seed| tapering(1, DIMENSION, seed)),
            1 => prop::collection::vec(-1.0_f32..1.0, DIMENSION),
            1 => prop::collection::vec(prop_oneof![9 => Just(0.0_f32), 1 => -1.0_f32..1.0], DIMENSION),
        ]
    }

    proptest! {
        /// The similarity is never further from the estimate than the slack says, for vectors that the basis was not made for
        /// as well.
        #[test]
        fn the_slack_is_a_bound(vectors in prop::collection::vec(any_vector(), 1..6), query in any_vector()) {
            let basis = basis(&tapering(300, DIMENSION, 7));
            let sketch = Sketch::of(&basis, &vectors.concat(), DIMENSION);
            let Estimates { similarities, slacks } = sketch.estimates(&QuerySketch::of(&basis, &query));
            prop_assert_eq!((similarities.len(), slacks.len()), (vectors.len(), vectors.len()));
            for (vector, (similarity, slack)) in vectors.iter().zip(similarities.into_iter().zip(slacks)) {
                let exact: f64 = vector.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let off = (exact - f64::from(similarity)).abs();
                prop_assert!(off <= f64::from(slack), "{off} beyond {slack}");
            }
        }
    }

    #[test]
    fn the_slack_of_vectors_that_the_basis_was_made_for_is_small() {
        let values = tapering(300, DIMENSION, 7);
        let basis = basis(&values);
        let Estimates { slacks, .. } =
            Sketch::of(&basis, &values, DIMENSION).estimates(&QuerySketch::of(&basis, &values[..DIMENSION]));
        let mean = slacks.iter().sum::<f32>() / slacks.len() as f32;
        assert!(mean < 0.2, "{mean}");
    }
}
