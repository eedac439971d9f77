//! The constant of reciprocal rank fusion.

use serde::{Deserialize, Serialize};

/// The constant of reciprocal rank fusion: finite and not negative, 60 unless
/// told otherwise (the value of the original publication).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct RankConstant(f64);

impl RankConstant {
    /// Checks the constant.
    ///
    /// # Errors
    /// When `k` is negative, infinite or not a number.
    pub fn new(k: f64) -> Result<Self, RankConstantError> {
        if k.is_finite() && k >= 0.0 { Ok(Self(k)) } else { Err(RankConstantError { k }) }
    }

    /// The constant as a number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for RankConstant {
    fn default() -> Self {
        Self(60.0)
    }
}

impl TryFrom<f64> for RankConstant {
    type Error = RankConstantError;

    fn try_from(k: f64) -> Result<Self, Self::Error> {
        Self::new(k)
    }
}

impl From<RankConstant> for f64 {
    fn from(k: RankConstant) -> Self {
        k.0
    }
}

/// A rank constant out of range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the rank constant k must be finite and at least 0, found {k}")]
pub struct RankConstantError {
    /// The value that was refused.
    pub k: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_constant_out_of_range_is_refused() {
        for k in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(RankConstant::new(k).is_err(), "{k}");
        }
    }
}
