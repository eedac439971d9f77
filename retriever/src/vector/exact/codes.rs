//! A first look at all vectors, through eight bits a value.
//!
//! A scan is as slow as the memory that it reads, and eight-bit codes are a quarter of the vectors. They do not decide
//! anything: each row carries a bound of its code's error, so a scan of the codes says which rows cannot be among the
//! nearest, and only the others, a few hundred of a hundred thousand, are compared by their vectors. The result is that
//! of a comparison of all.

/// Largest code of a value of a row.
const ROW_CODE: f32 = 127.0;
/// What arithmetic in single precision may add to an error, as a share of the two lengths' product.
const ROUNDING: f32 = 1e-4;

/// The codes of a segment's rows, and how each row's are to be read. One list for each number, so that all rows are worked
/// out side by side.
#[derive(Debug, Default)]
pub(super) struct Codes {
    values: Vec<i8>,
    /// A code times this is about the row's value.
    scales: Vec<f32>,
    /// Euclidean length of what the codes stand for.
    lengths: Vec<f32>,
    /// Euclidean distance between the row and what the codes stand for, or a little more.
    errors: Vec<f32>,
}

/// What the codes of all rows say of their similarities to a query, in the order of the rows.
#[derive(Debug)]
pub(super) struct Estimates {
    /// About the similarity.
    pub(super) similarities: Vec<f32>,
    /// The similarity differs by no more than this.
    pub(super) slacks: Vec<f32>,
}

/// A query, coded in sixteen bits or as many as its sums leave room for.
#[derive(Debug)]
pub(super) struct QueryCode {
    values: Vec<i16>,
    scale: f32,
    length: f32,
    error: f32,
}

impl Codes {
    /// Codes vectors that follow each other in `values`.
    pub(super) fn of(values: &[f32], dimension: usize) -> Self {
        let mut codes = Self::with_capacity(values.len() / dimension, dimension);
        values.chunks_exact(dimension).for_each(|vector| codes.push(vector));
        codes
    }

    pub(super) fn with_capacity(rows: usize, dimension: usize) -> Self {
        let numbers = || Vec::with_capacity(rows);
        Self { values: Vec::with_capacity(rows * dimension), scales: numbers(), lengths: numbers(), errors: numbers() }
    }

    /// Bytes that one row takes.
    pub(super) fn bytes_per_row(dimension: usize) -> usize {
        dimension * size_of::<i8>() + 3 * size_of::<f32>()
    }

    /// Adds a row of other codes.
    pub(super) fn push_copy(&mut self, from: &Self, row: usize, dimension: usize) {
        self.values.extend_from_slice(&from.values[row * dimension..(row + 1) * dimension]);
        self.scales.push(from.scales[row]);
        self.lengths.push(from.lengths[row]);
        self.errors.push(from.errors[row]);
    }

    /// What each row's codes say. One pass after another: each is a plain loop, which the compiler turns into vector
    /// instructions, where one loop for everything would do its arithmetic row by row.
    pub(super) fn estimates(&self, query: &QueryCode) -> Estimates {
        let rows = self.values.chunks_exact(query.values.len());
        let products: Vec<i32> = rows.map(|codes| inner_product(&query.values, codes)).collect();
        let scaled = products.iter().zip(&self.scales);
        let similarities = scaled.map(|(product, scale)| query.scale * scale * *product as f32).collect();
        let by_length = query.length * ROUNDING + query.error;
        let slacks = self.errors.iter().zip(&self.lengths);
        let slacks = slacks.map(|(error, length)| query.length * error + by_length * length).collect();
        Estimates { similarities, slacks }
    }

    /// What the codes of one row say: about its similarity, and by how much that differs at most.
    pub(super) fn estimate(&self, query: &QueryCode, row: usize) -> (f32, f32) {
        let dimension = query.values.len();
        let product = inner_product(&query.values, &self.values[row * dimension..(row + 1) * dimension]);
        let similarity = query.scale * self.scales[row] * product as f32;
        let by_length = query.length * ROUNDING + query.error;
        (similarity, query.length * self.errors[row] + by_length * self.lengths[row])
    }

    /// Adds the codes of a vector.
    pub(super) fn push(&mut self, vector: &[f32]) {
        let scale = scale_of(vector, ROW_CODE);
        let from = self.values.len();
        self.values.extend(vector.iter().map(|value| (value / scale).round() as i8));
        let meant = self.values[from..].iter().map(|code| f32::from(*code) * scale);
        let (length, error) = length_and_error(vector, meant);
        self.scales.push(scale);
        self.lengths.push(length);
        self.errors.push(error);
    }
}

impl QueryCode {
    pub(super) fn of(query: &[f32]) -> Self {
        // The sums are kept in 32 bits; a longer query leaves fewer of them to each value.
        let largest = i32::MAX / ((ROW_CODE as i32) * i32::try_from(query.len().max(1)).unwrap_or(i32::MAX));
        let largest = largest.clamp(1, i32::from(i16::MAX)) as f32;
        let scale = scale_of(query, largest);
        let values: Vec<i16> = query.iter().map(|value| (value / scale).round() as i16).collect();
        let (length, error) = length_and_error(query, values.iter().map(|code| f32::from(*code) * scale));
        // The slack asks for the query's own length, which is at most that of its code and the error together.
        Self { values, scale, length: length + error, error }
    }
}

/// The scale at which the largest value gets the largest code. A vector of zeros has any.
fn scale_of(vector: &[f32], largest_code: f32) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest > 0.0 { largest / largest_code } else { 1.0 }
}

/// The length of what codes stand for, and its distance from the vector; both rounded up.
fn length_and_error(vector: &[f32], meant: impl Iterator<Item = f32>) -> (f32, f32) {
    let (mut squares, mut errors) = (0.0_f64, 0.0_f64);
    for (value, meant) in vector.iter().zip(meant) {
        squares += f64::from(meant).powi(2);
        errors += f64::from(value - meant).powi(2);
    }
    let up = |sum: f64| (sum.sqrt() * (1.0 + f64::from(f32::EPSILON))) as f32 + f32::MIN_POSITIVE;
    (up(squares), up(errors))
}

/// The compiler turns this loop into vector instructions; whole numbers may be added in any order.
fn inner_product(query: &[i16], codes: &[i8]) -> i32 {
    query.iter().zip(codes).map(|(query, code)| i32::from(*query) * i32::from(*code)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_vector(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
        prop_oneof![
            4 => prop::collection::vec(-1.0_f32..1.0, dimension),
            1 => prop::collection::vec(prop_oneof![Just(0.0_f32), -1e-3_f32..1e-3, -1e3_f32..1e3], dimension),
        ]
    }

    proptest! {
        /// The similarity is never further from the estimate than the slack says.
        #[test]
        fn the_slack_is_a_bound(
            (vectors, query) in (1..80_usize).prop_flat_map(|dimension| {
                (prop::collection::vec(any_vector(dimension), 1..6), any_vector(dimension))
            }),
        ) {
            let codes = Codes::of(&vectors.concat(), query.len());
            let Estimates { similarities, slacks } = codes.estimates(&QueryCode::of(&query));
            prop_assert_eq!((similarities.len(), slacks.len()), (vectors.len(), vectors.len()));
            for row in 0..vectors.len() {
                prop_assert_eq!(codes.estimate(&QueryCode::of(&query), row), (similarities[row], slacks[row]));
            }
            for (vector, (similarity, slack)) in vectors.iter().zip(similarities.into_iter().zip(slacks)) {
                let exact: f64 = vector.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let off = (exact - f64::from(similarity)).abs();
                prop_assert!(off <= f64::from(slack), "{off} beyond {slack}");
            }
        }
    }

    #[test]
    fn the_slack_of_unit_vectors_is_small() {
        let vector: Vec<f32> =
            (0..384).map(|place| if place % 2 == 0 { 1.0 } else { -1.0 } / 384.0_f32.sqrt()).collect();
        let estimates = Codes::of(&vector, 384).estimates(&QueryCode::of(&vector));
        assert!((estimates.similarities[0] - 1.0).abs() < 0.01 && estimates.slacks[0] < 0.02, "{estimates:?}");
    }

    #[test]
    fn the_longest_query_does_not_overflow() {
        let vector = vec![1.0_f32; 65_536];
        let estimates = Codes::of(&vector, 65_536).estimates(&QueryCode::of(&vector));
        assert!((estimates.similarities[0] - 65_536.0).abs() <= estimates.slacks[0], "{estimates:?}");
    }
}
