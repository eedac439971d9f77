//! How the legs of a retrieval are to be fused, as a policy or a caller says it.

use trivium_ranking::fusion::{Fusion, Weights, WeightsError};

/// A choice of fusion. What is left open, the retriever fills in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FusionChoice {
    /// The method; `None` means the collection's default.
    pub method: Option<Fusion>,
    /// The weights; `None` means the method's default.
    pub weights: Option<LegWeights>,
}

/// The weights of the legs. Only their ratio counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LegWeights {
    lexical: f64,
    semantic: f64,
}

impl LegWeights {
    /// Checks a pair of weights.
    ///
    /// # Errors
    /// When one is negative or not finite, or both are 0.
    pub fn new(lexical: f64, semantic: f64) -> Result<Self, WeightsError> {
        Weights::new([lexical, semantic])?;
        Ok(Self { lexical, semantic })
    }

    /// The weight of the lexical leg.
    pub fn lexical(self) -> f64 {
        self.lexical
    }

    /// The weight of the semantic leg.
    pub fn semantic(self) -> f64 {
        self.semantic
    }
}
