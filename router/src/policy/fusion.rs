//! How the legs of a retrieval are to be fused, as a policy or a caller says it.

use trivium_ranking::fusion::{Fusion, Weights, WeightsError};

use super::Legs;

/// A choice of fusion. What is left open, the retriever fills in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FusionChoice {
    /// The method; `None` means the collection's default.
    pub method: Option<Fusion>,
    /// The weights; `None` means the collection's own blend.
    pub weights: Option<LegWeights>,
}

/// What the legs count. Only the ratio of the three counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LegWeights {
    lexical: f64,
    semantic: f64,
    own: f64,
}

impl LegWeights {
    /// The collection's own blend, whatever it is.
    pub const OWN: Self = Self { lexical: 0.0, semantic: 0.0, own: 1.0 };

    /// Checks the weights of the two legs, and of the collection's own blend of both.
    ///
    /// # Errors
    /// When one is negative or not finite, or all are 0.
    pub fn new(lexical: f64, semantic: f64, own: f64) -> Result<Self, WeightsError> {
        Weights::new([lexical, semantic, own])?;
        Ok(Self { lexical, semantic, own })
    }

    /// The weight of the lexical leg.
    pub fn lexical(self) -> f64 {
        self.lexical
    }

    /// The weight of the semantic leg.
    pub fn semantic(self) -> f64 {
        self.semantic
    }

    /// The weight of the collection's own blend of both legs.
    pub fn own(self) -> f64 {
        self.own
    }

    /// The legs that count something.
    pub fn legs(self) -> Legs {
        match (self.own > 0.0, self.lexical > 0.0, self.semantic > 0.0) {
            (false, true, false) => Legs::Lexical,
            (false, false, true) => Legs::Semantic,
            _ => Legs::Hybrid,
        }
    }
}

impl Legs {
    /// These legs as weights.
    pub(super) fn weights(self) -> LegWeights {
        match self {
            Self::Lexical => LegWeights { lexical: 1.0, semantic: 0.0, own: 0.0 },
            Self::Semantic => LegWeights { lexical: 0.0, semantic: 1.0, own: 0.0 },
            Self::Hybrid => LegWeights::OWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_that_counts_nothing_does_not_run() {
        let table = [
            ([1.0, 0.0, 0.0], Legs::Lexical),
            ([0.0, 3.0, 0.0], Legs::Semantic),
            ([0.0, 0.0, 1.0], Legs::Hybrid),
            ([1.0, 0.0, 1e-9], Legs::Hybrid),
            ([0.2, 0.8, 0.0], Legs::Hybrid),
        ];
        for ([lexical, semantic, own], legs) in table {
            assert_eq!(LegWeights::new(lexical, semantic, own).map(LegWeights::legs), Ok(legs));
        }
        assert!(LegWeights::new(0.0, 0.0, 0.0).is_err() && LegWeights::new(0.0, f64::NAN, 1.0).is_err());
    }

    #[test]
    fn legs_and_weights_say_the_same() {
        for legs in [Legs::Lexical, Legs::Semantic, Legs::Hybrid] {
            assert_eq!(legs.weights().legs(), legs);
        }
    }
}
