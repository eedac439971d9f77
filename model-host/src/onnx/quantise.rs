//! Weights in eight bits. Pure.

/// The largest quantised weight. Seven bits and a sign, one bit less than fits: a processor
/// without dot-product instructions adds two products of an activation (0 to 255) and a
/// weight in sixteen bits, which larger weights would overflow. So a bundle computes the same
/// everywhere, and what its manifest says about its accuracy holds everywhere.
const LARGEST: f32 = 63.0;

/// A matrix in eight bits, with a scale for each of its columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantised {
    /// `[from, to]`, row-major.
    pub(super) values: Vec<i8>,
    /// What the values of each column are multiplied by: `to` numbers, above 0.
    pub(super) scales: Vec<f32>,
}

/// Quantises a linear layer's `weight` (`[to, from]`, row-major) by output, symmetrically
/// around zero, and transposes it, since the product wants `[from, to]`.
pub(super) fn quantise(weight: &[f32], to: usize, from: usize) -> Quantised {
    let scales: Vec<f32> = weight.chunks_exact(from.max(1)).map(scale).collect();
    let mut values = vec![0; weight.len()];
    for (output, (row, scale)) in weight.chunks_exact(from.max(1)).zip(&scales).enumerate() {
        for (input, x) in row.iter().enumerate() {
            // The quotient is within ±LARGEST by the choice of the scale.
            values[input * to + output] = (x / scale).round() as i8;
        }
    }
    Quantised { values, scales }
}

fn scale(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = largest / LARGEST;
    // A row of zeros, or one so small that its scale underflows, stays zero under any scale.
    if scale.is_normal() { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_output_has_its_own_scale() {
        let quantised = quantise(&[6.3, -3.15, 0.0, 0.0, 0.63, 0.3], 3, 2);
        assert_eq!(quantised.values, [63, 0, 63, -32, 0, 30]);
        assert!((quantised.scales[0] - 0.1).abs() < 1e-6 && (quantised.scales[2] - 0.01).abs() < 1e-6);
        assert_eq!(quantised.scales[1], 1.0);
    }

    proptest! {
        #[test]
        fn no_weight_moves_by_more_than_half_a_step(weight in prop::collection::vec(-1e3f32..1e3, 12)) {
            let quantised = quantise(&weight, 4, 3);
            for (output, row) in weight.chunks(3).enumerate() {
                let scale = quantised.scales[output];
                for (input, x) in row.iter().enumerate() {
                    let back = f32::from(quantised.values[input * 4 + output]) * scale;
                    prop_assert!((back - x).abs() <= scale * 0.501);
                }
            }
        }
    }
}
