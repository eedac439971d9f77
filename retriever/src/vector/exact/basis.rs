//! The directions along which the vectors of a collection are longest.

use super::dot;
use super::second::SecondMoments;
use trivium_ranking::random::SplitMix64;

/// Share of the vectors' squared lengths that the directions may leave out. The bound of what they leave out decides how many
/// rows are looked at again, each at another place in memory, which costs more than a longer scan: with sentence vectors of
/// 384 values, 0.15 leaves 7 rows of 100 and 0.07 fewer than one (docs/adr/0023 has the figures).
const LEFT_OUT: f64 = 0.07;
/// The number of directions is a multiple of this.
const STEP: usize = 32;
/// Rounds of the iteration. Any directions at right angles serve; better ones serve better.
const ROUNDS: usize = 8;
/// Seed of the first guess.
const SEED: u64 = 23;
/// A row that is shorter than this share of what it was is made of those before it.
const DEPENDENT: f64 = 1e-9;

/// Directions at right angles to each other, each of length 1.
#[derive(Debug, PartialEq)]
pub(super) struct Basis {
    dimension: usize,
    /// One direction after another.
    directions: Vec<f32>,
}

impl Basis {
    /// The fewest directions that hold most of the squared lengths of the rows; `None` where it takes more than
    /// [`most`](Self::most), which would save little.
    ///
    /// By orthogonal iteration on the matrix of mean products (Golub and Van Loan, "Matrix computations", 8.2.4).
    pub(super) fn of(moments: &SecondMoments, dimension: usize) -> Option<Self> {
        let products = moments.mean_products();
        let total: f64 = (0..dimension).map(|place| products[place * dimension + place]).sum();
        let mut directions = first_guess(Self::most(dimension), dimension);
        for _ in 0..ROUNDS {
            directions = orthonormal(turned(&directions, &products, dimension), dimension);
        }
        let turned = turned(&directions, &products, dimension);
        let pairs = directions.chunks_exact(dimension).zip(turned.chunks_exact(dimension));
        let energies: Vec<f64> = pairs.map(|(direction, turned)| product(direction, turned)).collect();
        let count = fewest(&energies, total * (1.0 - LEFT_OUT))?;
        directions.truncate(count * dimension);
        Some(Self { dimension, directions: directions.into_iter().map(|value| value as f32).collect() })
    }

    /// Most directions of vectors of that length: two for three values.
    pub(super) fn most(dimension: usize) -> usize {
        dimension * 2 / 3 / STEP * STEP
    }

    /// How many directions there are.
    pub(super) fn len(&self) -> usize {
        self.directions.len() / self.dimension
    }

    /// The inner products of a vector with all directions.
    pub(super) fn project(&self, vector: &[f32]) -> Vec<f32> {
        self.directions.chunks_exact(self.dimension).map(|direction| dot(direction, vector)).collect()
    }
}

/// The smallest multiple of [`STEP`] so that this many energies reach `needed`.
fn fewest(energies: &[f64], needed: f64) -> Option<usize> {
    let mut held = 0.0;
    let reached = energies.iter().position(|energy| {
        held += energy;
        held >= needed
    })?;
    Some((reached + 1).next_multiple_of(STEP)).filter(|count| *count <= energies.len())
}

fn first_guess(count: usize, dimension: usize) -> Vec<f64> {
    let mut random = SplitMix64::new(SEED);
    // The upper half of a number is as good as the number, and whole in an `f64`.
    let guess = (0..count * dimension).map(|_| (random.draw() >> 32) as f64 / f64::from(u32::MAX) - 0.5);
    orthonormal(guess.collect(), dimension)
}

/// Rows times a symmetric matrix.
fn turned(rows: &[f64], matrix: &[f64], dimension: usize) -> Vec<f64> {
    let mut turned = vec![0.0; rows.len()];
    for (row, turned) in rows.chunks_exact(dimension).zip(turned.chunks_exact_mut(dimension)) {
        for (factor, of_matrix) in row.iter().zip(matrix.chunks_exact(dimension)) {
            add_multiple(turned, *factor, of_matrix);
        }
    }
    turned
}

/// Rows at right angles to each other that span what the given ones span. Rows that are made of those before them are
/// left out.
fn orthonormal(rows: Vec<f64>, dimension: usize) -> Vec<f64> {
    let mut done: Vec<f64> = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(dimension) {
        let (mut row, before) = (row.to_vec(), length(row));
        // The second pass takes out what rounding left of the first.
        for _ in 0..2 {
            for direction in done.chunks_exact(dimension) {
                let along = product(&row, direction);
                add_multiple(&mut row, -along, direction);
            }
        }
        let after = length(&row);
        if after > DEPENDENT * before {
            done.extend(row.iter().map(|value| value / after));
        }
    }
    done
}

fn add_multiple(to: &mut [f64], factor: f64, of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to = of.mul_add(factor, *to));
}

fn product(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

fn length(row: &[f64]) -> f64 {
    product(row, row).sqrt()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Vectors of length 1 whose later values are smaller and smaller.
    pub(in super::super) fn tapering(rows: usize, dimension: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        let mut values = Vec::with_capacity(rows * dimension);
        for _ in 0..rows {
            let raw =
                (0..dimension).map(|place| (random.below(2_001) as f64 / 1_000.0 - 1.0) * 0.97_f64.powi(place as i32));
            let raw: Vec<f64> = raw.collect();
            let length = length(&raw);
            values.extend(raw.iter().map(|value| (value / length) as f32));
        }
        values
    }

    fn basis_of(values: &[f32], dimension: usize) -> Option<Basis> {
        let mut moments = SecondMoments::new(dimension).unwrap();
        moments.add(values);
        Basis::of(&moments, dimension)
    }

    #[test]
    fn few_directions_hold_most_of_tapering_vectors() {
        let values = tapering(500, 128, 1);
        let basis = basis_of(&values, 128).unwrap();
        // 0.97 to the power of twice 32 is 0.14, and to that of twice 64 0.02.
        assert_eq!(basis.len(), 64);
        let held: f32 =
            values.chunks_exact(128).map(|vector| basis.project(vector).iter().map(|a| a * a).sum::<f32>()).sum();
        assert!(held > 0.93 * 500.0, "{held}");
    }

    #[test]
    fn directions_are_at_right_angles() {
        let basis = basis_of(&tapering(300, 128, 2), 128).unwrap();
        for (place, direction) in basis.directions.chunks_exact(128).enumerate() {
            for (other, product) in basis.project(direction).into_iter().enumerate() {
                let expected = if place == other { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-5, "{place} {other}: {product}");
            }
        }
    }

    #[test]
    fn vectors_of_no_preferred_direction_have_none() {
        let even: Vec<f32> = (0..64 * 64).map(|place| if place / 64 == place % 64 { 1.0 } else { 0.0 }).collect();
        assert_eq!(basis_of(&even, 64), None);
        assert_eq!(basis_of(&[], 64), None);
        assert_eq!(basis_of(&[1.0, 0.0], 2), None);
    }

    #[test]
    fn vectors_that_are_all_the_same_do_no_harm() {
        let same: Vec<f32> = (0..50 * 64).map(|place| if place % 64 == 3 { 1.0 } else { 0.0 }).collect();
        // One direction holds all of it, and there is no second.
        assert_eq!(basis_of(&same, 64), None);
    }
}
