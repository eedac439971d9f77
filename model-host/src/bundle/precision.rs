//! In which numbers an encoder computes.

use serde::{Deserialize, Serialize};

/// The most accuracy, in percentage points, that [`PrecisionChoice::Auto`] gives up for the
/// speed of eight-bit weights.
pub const LARGEST_INT8_LOSS_POINTS: f32 = 0.3;

/// In which numbers an encoder multiplies matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// Eight-bit weights, and activations that are quantised as they come.
    Int8,
}

impl Precision {
    /// The name in settings and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionChoice {
    /// Eight bits if the bundle has them and its manifest says that they cost less than
    /// [`LARGEST_INT8_LOSS_POINTS`]; 32 otherwise.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// Eight bits; a bundle without them is refused.
    Int8,
}

/// What eight-bit weights cost, measured when the bundle was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrecisionReport {
    /// Validation queries in scope that were compared.
    pub examples: usize,
    /// Share of them that are decided rightly with 32-bit floats, 0 to 1.
    pub fp32_accuracy: f32,
    /// The same with eight-bit weights.
    pub int8_accuracy: f32,
    /// Share of them whose first label is the same in both, 0 to 1.
    pub agreement: f32,
}

impl PrecisionReport {
    /// The accuracy that eight bits cost, in percentage points; below 0 if they happen to
    /// decide better.
    pub fn loss_points(&self) -> f32 {
        (self.fp32_accuracy - self.int8_accuracy) * 100.0
    }

    /// Whether [`PrecisionChoice::Auto`] takes eight bits.
    pub fn recommends_int8(&self) -> bool {
        self.loss_points() < LARGEST_INT8_LOSS_POINTS
    }

    pub(super) fn contradiction(&self) -> Option<String> {
        let shares = [self.fp32_accuracy, self.int8_accuracy, self.agreement];
        let outside = shares.iter().any(|share| !(0.0..=1.0).contains(share));
        outside.then(|| "the shares under precision must be between 0 and 1".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_are_recommended_below_the_largest_loss() {
        for (int8_accuracy, recommended) in [(0.95, true), (0.9475, true), (0.946, false), (0.96, true)] {
            let report = PrecisionReport { examples: 1000, fp32_accuracy: 0.95, int8_accuracy, agreement: 0.99 };
            assert_eq!(report.recommends_int8(), recommended, "{int8_accuracy}");
        }
    }
}
