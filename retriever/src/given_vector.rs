//! Vectors that callers bring along, each with the encoder that made it.
//!
//! Vectors of different encoders, or of different versions of one, are never compared and never stored side by side.

use crate::collection::{CollectionSpec, EmbedderRef};
use crate::embedder::normalise;
use crate::vector::TokenColumn;
use trivium_service_kit::{Error, Reason};

/// A vector as a caller sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenVector {
    /// The encoder that made it.
    pub embedder: EmbedderRef,
    /// The vector, of any length and content.
    pub values: Vec<f32>,
    /// Those of its tokens, if they came along.
    pub tokens: Option<GivenTokens>,
}

/// Token vectors as a caller sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenTokens {
    /// What made them.
    pub column: TokenColumn,
    /// The vectors, one after another, of any number.
    pub values: Vec<i8>,
}

impl GivenVector {
    /// The vector, brought to length 1. `field` is the field of the request that holds it.
    ///
    /// # Errors
    /// `EMBEDDER_MISMATCH` when another encoder made it, `VECTOR_INVALID` for a wrong length, values that are no
    /// numbers, or zeros alone.
    pub fn checked(&self, field: &str, spec: &CollectionSpec) -> Result<Vec<f32>, Error> {
        if self.embedder != spec.embedder {
            return Err(mismatch(field, std::slice::from_ref(self), spec));
        }
        let field = format!("{field}.values");
        let invalid =
            |problem: String| Error::new(Reason::VectorInvalid, format!("{field} {problem}")).with_field(field.clone());
        let mut values = self.values.clone();
        if values.len() != spec.dimension {
            return Err(invalid(format!(
                "has {} values; the embedder's dimension is {}",
                values.len(),
                spec.dimension
            )));
        }
        if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
            return Err(invalid(format!("holds {} at place {bad}; every value must be finite", values[bad])));
        }
        match normalise(&mut values) {
            true => Ok(values),
            false => Err(invalid("holds zeros alone, and so has no direction".to_owned())),
        }
    }
}

/// The refusal of vectors none of which the collection's encoder made.
pub fn mismatch(field: &str, given: &[GivenVector], spec: &CollectionSpec) -> Error {
    let name = |embedder: &EmbedderRef| format!("{} {:?}", embedder.name, embedder.version);
    let sent: Vec<String> = given.iter().map(|vector| name(&vector.embedder)).collect();
    let message = format!(
        "the collection {:?} is embedded by {}, and {field} by {}",
        spec.name,
        name(&spec.embedder),
        sent.join(", ")
    );
    Error::new(Reason::EmbedderMismatch, message).with_field(field)
}
