//! The weights of the legs: parsed once, valid ever after.

/// The weight of one leg, between 0 and 1. It comes from [`Weights`] only.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

impl Weight {
    /// The weight as a number between 0 and 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// One weight per leg. They are not negative and add up to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(Vec<Weight>);

impl Weights {
    /// Checks the weights and scales them to a sum of 1.
    ///
    /// # Errors
    /// When a weight is negative or not finite, or when they do not add up to
    /// a finite number above 0 (which includes having none).
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Result<Self, WeightsError> {
        let weights: Vec<f64> = weights.into_iter().collect();
        let refused = weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0);
        if let Some(position) = refused {
            return Err(WeightsError::OutOfRange { position, weight: weights[position] });
        }
        let sum: f64 = weights.iter().sum();
        if !sum.is_finite() || sum <= 0.0 {
            return Err(WeightsError::NoSum { sum });
        }
        Ok(Self(weights.into_iter().map(|weight| Weight(weight / sum)).collect()))
    }

    /// The weights of the lexical and of the semantic leg, in this order, when
    /// nobody chose any. The semantic leg counts more because on plain questions
    /// it is the stronger one; the lexical leg decides on names and codes. The
    /// number is where z-scores against the collection did best on product
    /// documentation and near their best on scientific abstracts.
    pub fn hybrid_default() -> [Weight; 2] {
        const SEMANTIC: f64 = 0.7;
        [Weight(1.0 - SEMANTIC), Weight(SEMANTIC)]
    }

    /// The weights, in the order in which they were given.
    pub fn as_slice(&self) -> &[Weight] {
        &self.0
    }
}

/// Weights that no fusion can use.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// One weight is negative or not finite.
    #[error("weight {position} must be finite and at least 0, found {weight}")]
    OutOfRange {
        /// Which weight, counted from 0.
        position: usize,
        /// The value that was refused.
        weight: f64,
    },
    /// There is no weight above 0, or the weights are too large to be added up.
    #[error("the weights must add up to a finite number above 0, found {sum}")]
    NoSum {
        /// What they add up to.
        sum: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_scaled_to_a_sum_of_one() {
        let weights = Weights::new([1.0, 3.0, 0.0]).unwrap();
        let found: Vec<f64> = weights.as_slice().iter().map(|weight| weight.get()).collect();
        assert_eq!(found, [0.25, 0.75, 0.0]);
    }

    #[test]
    fn default_weights_add_up_to_one() {
        let sum: f64 = Weights::hybrid_default().iter().map(|weight| weight.get()).sum();
        assert_eq!(sum, 1.0);
    }

    #[test]
    fn bad_weights_are_refused() {
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            let error = Weights::new([1.0, weight]).unwrap_err();
            assert!(matches!(error, WeightsError::OutOfRange { position: 1, .. }), "{error}");
        }
        for weights in [vec![], vec![0.0, 0.0], vec![f64::MAX, f64::MAX]] {
            let error = Weights::new(weights).unwrap_err();
            assert!(matches!(error, WeightsError::NoSum { .. }), "{error}");
        }
    }
}
