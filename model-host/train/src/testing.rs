//! What the unit tests of this crate share.

use trivium_ranking::random::SplitMix64;

#[path = "../../tests/it/support/tiny.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
pub(crate) mod tiny;

/// Seeded floats, uniform in -1 to 1.
pub(crate) fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::keyed(&[seed]);
    (0..count).map(|_| (random.uniform() * 2.0 - 1.0) as f32).collect()
}

/// Fails unless all elements are finite and within `tolerance`, relative to numbers above 1.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        let slack = tolerance * b.abs().max(1.0);
        assert!((a - b).abs() <= slack, "element {place}: {a} and {b}");
    }
}

/// The slopes of `loss` at `at`, by central differences in double precision.
pub(crate) fn slopes(at: &[f64], mut loss: impl FnMut(&[f64]) -> f64) -> Vec<f32> {
    const STEP: f64 = 1e-5;
    let mut moved = at.to_vec();
    (0..at.len())
        .map(|place| {
            moved[place] = at[place] + STEP;
            let above = loss(&moved);
            moved[place] = at[place] - STEP;
            let below = loss(&moved);
            moved[place] = at[place];
            ((above - below) / (2.0 * STEP)) as f32
        })
        .collect()
}

/// As double precision.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
