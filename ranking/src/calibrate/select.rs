//! Choosing a weight by labels, no further from the default than they bear out.

use super::curve::{Curve, WEIGHTS};

/// The one-standard-error rule: of the weights from the default to the best, the one nearest to the default that is not
/// worse than the best by more than the standard error of their paired difference. Breiman, Friedman, Olshen and Stone,
/// "Classification and Regression Trees", 1984, section 3.4.3.
pub(super) fn select(curves: &[&Curve], start: usize) -> usize {
    let best = best(curves, start);
    let step: isize = if best >= start { 1 } else { -1 };
    let mut place = start;
    while place != best && is_worse(curves, place, best) {
        place = place.saturating_add_signed(step);
    }
    place
}

/// The place of the highest mean; of equal ones the nearest to the default.
fn best(curves: &[&Curve], start: usize) -> usize {
    let mut places: Vec<usize> = (0..WEIGHTS).collect();
    places.sort_by_key(|place| place.abs_diff(start));
    let mut best = (start, mean_at(curves, start));
    for place in places {
        let mean = mean_at(curves, place);
        if mean > best.1 {
            best = (place, mean);
        }
    }
    best.0
}

fn is_worse(curves: &[&Curve], place: usize, best: usize) -> bool {
    let differences: Vec<f64> = curves.iter().map(|curve| curve.at(best) - curve.at(place)).collect();
    mean(&differences) > standard_error(&differences)
}

pub(super) fn mean_at(curves: &[&Curve], place: usize) -> f64 {
    curves.iter().map(|curve| curve.at(place)).sum::<f64>() / curves.len().max(1) as f64
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard error of the mean; 0 of fewer than two values.
pub(super) fn standard_error(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}
