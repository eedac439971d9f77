//! Multinomial logistic regression. Pure and deterministic: the loss is convex, so that
//! neither an order of the data nor a random start decides where it ends.

use super::head::Head;
use super::softmax;
use super::vectors::dot;

/// Stop when no element of the gradient is larger than this.
const SMALL_GRADIENT: f32 = 1e-4;
/// Stop at the latest after this many steps.
const MOST_STEPS: usize = 3000;

/// Vectors and the index of each one's label.
pub(super) struct Labelled<'a> {
    /// All of the same length.
    pub(super) vectors: &'a [Vec<f32>],
    /// As many as vectors, each below `classes`.
    pub(super) labels: &'a [usize],
    /// How many labels there are.
    pub(super) classes: usize,
}

/// Weights and biases, one row of `dimension + 1` for each class, the bias last.
#[derive(Clone)]
pub(super) struct Parameters {
    rows: Vec<f32>,
    dimension: usize,
}

impl Parameters {
    /// All zero: every class is equally likely.
    pub(super) fn zeros(classes: usize, dimension: usize) -> Self {
        Self { rows: vec![0.0; classes * (dimension + 1)], dimension }
    }

    pub(super) fn to_head(&self) -> Head {
        let rows = self.rows.chunks_exact(self.dimension + 1);
        let bias = rows.clone().map(|row| row[self.dimension]).collect();
        let weights = rows.flat_map(|row| &row[..self.dimension]).copied();
        Head::from_parts(weights.collect(), bias)
    }
}

/// Minimises the mean cross-entropy plus `l2 / 2` times the squared weights (biases are
/// free), from `start`, by Nesterov's accelerated gradient with restarts (O'Donoghue and
/// Candès 2015). The step is the inverse of a bound on the curvature, so that it needs no
/// search.
pub(super) fn minimise(data: &Labelled<'_>, l2: f32, start: Parameters) -> Parameters {
    let step = 1.0 / (curvature_bound(data.vectors) + l2);
    let mut current = start;
    let mut ahead = current.clone();
    let mut momentum = 1.0f32;
    for _ in 0..MOST_STEPS {
        let gradient = gradient(data, l2, &ahead);
        if gradient.iter().all(|g| g.abs() < SMALL_GRADIENT) {
            return ahead;
        }
        let mut uphill = 0.0;
        let next_momentum = f32::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
        let inertia = (momentum - 1.0) / next_momentum;
        let places = current.rows.iter_mut().zip(&mut ahead.rows);
        for ((place, look), slope) in places.zip(&gradient) {
            let moved = *look - step * slope;
            uphill += slope * (moved - *place);
            *look = moved + inertia * (moved - *place);
            *place = moved;
        }
        momentum = next_momentum;
        if uphill > 0.0 {
            momentum = 1.0;
            ahead = current.clone();
        }
    }
    current
}

/// The softmax's Hessian is at most one half, times the largest squared length of an
/// input with its constant 1 for the bias (Böhning 1992).
fn curvature_bound(vectors: &[Vec<f32>]) -> f32 {
    let largest = vectors.iter().map(|vector| dot(vector, vector)).fold(0.0, f32::max);
    0.5 * (largest + 1.0)
}

fn gradient(data: &Labelled<'_>, l2: f32, at: &Parameters) -> Vec<f32> {
    let dimension = at.dimension;
    let mut gradient = vec![0.0; at.rows.len()];
    let share = 1.0 / data.vectors.len().max(1) as f32;
    for (vector, &label) in data.vectors.iter().zip(data.labels) {
        let logits: Vec<f32> =
            at.rows.chunks_exact(dimension + 1).map(|row| dot(&row[..dimension], vector) + row[dimension]).collect();
        let mut errors = softmax(&logits);
        errors[label] -= 1.0;
        for (row, error) in gradient.chunks_exact_mut(dimension + 1).zip(errors) {
            let scaled = error * share;
            for (slope, x) in row.iter_mut().zip(vector) {
                *slope += scaled * x;
            }
            row[dimension] += scaled;
        }
    }
    let rows = gradient.chunks_exact_mut(dimension + 1);
    for (slopes, weights) in rows.zip(at.rows.chunks_exact(dimension + 1)) {
        for (slope, weight) in slopes.iter_mut().zip(weights).take(dimension) {
            *slope += l2 * weight;
        }
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> (Vec<Vec<f32>>, Vec<usize>) {
        let vectors =
            vec![vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![0.1, 0.9], vec![-1.0, -1.0], vec![-0.9, -1.1]];
        (vectors, vec![0, 0, 1, 1, 2, 2])
    }

    #[test]
    fn separable_points_are_separated() {
        let (vectors, labels) = points();
        let data = Labelled { vectors: &vectors, labels: &labels, classes: 3 };
        let head = minimise(&data, 1e-3, Parameters::zeros(data.classes, 2)).to_head();
        for (vector, &label) in vectors.iter().zip(&labels) {
            let logits = head.logits(vector);
            let best = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            assert_eq!(best, Some(label));
        }
    }

    #[test]
    fn the_end_does_not_depend_on_the_start() {
        let (vectors, labels) = points();
        let data = Labelled { vectors: &vectors, labels: &labels, classes: 3 };
        let mut far = Parameters::zeros(3, 2);
        far.rows[0] = 4.0;
        far.rows[4] = -3.0;
        let a = minimise(&data, 0.1, Parameters::zeros(3, 2));
        let b = minimise(&data, 0.1, far);
        // Biases may all shift together without changing a probability; weights may not.
        for (x, y) in a.rows.iter().zip(&b.rows).filter(|(x, _)| x.is_finite()) {
            let slack = 0.02;
            let shift = a.rows[2] - b.rows[2];
            assert!((x - y).abs() < slack || (x - y - shift).abs() < slack);
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (vectors, labels) = points();
        let data = Labelled { vectors: &vectors, labels: &labels, classes: 3 };
        let l2 = 0.05;
        let loss = |at: &Parameters| {
            let head = at.to_head();
            let entropy: f32 =
                vectors.iter().zip(&labels).map(|(vector, &label)| -softmax(&head.logits(vector))[label].ln()).sum();
            let weights = at.rows.chunks(3).flat_map(|row| &row[..2]);
            entropy / 6.0 + l2 / 2.0 * weights.map(|w| w * w).sum::<f32>()
        };
        let mut at = Parameters::zeros(3, 2);
        for (index, value) in at.rows.iter_mut().enumerate() {
            *value = (index as f32 * 0.7).sin();
        }
        let analytic = gradient(&data, l2, &at);
        for (index, slope) in analytic.iter().enumerate() {
            let shifted = |by: f32| {
                let mut moved = at.clone();
                moved.rows[index] += by;
                loss(&moved)
            };
            let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((numeric - slope).abs() < 1e-3, "{index}");
        }
    }
}
