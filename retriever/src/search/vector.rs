//! The query's vector: which one to use, and whether it may be used.

use crate::collection::{CollectionSpec, EmbedderRef};
use crate::embedder::normalise;
use trivium_service_kit::{Error, Reason};

/// A vector with the encoder that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVector {
    /// The encoder.
    pub embedder: EmbedderRef,
    /// The vector.
    pub values: Vec<f32>,
}

/// The vector that the collection's own encoder made, brought to length 1; `None` when no vector was sent at all.
///
/// # Errors
/// `EMBEDDER_MISMATCH` when vectors were sent and none is of that encoder: vectors of different encoders, or of different
/// versions of one, are never compared. `VECTOR_INVALID` for a wrong length, values that are no numbers, or zeros alone.
pub fn choose(vectors: &[QueryVector], spec: &CollectionSpec) -> Result<Option<Vec<f32>>, Error> {
    if vectors.is_empty() {
        return Ok(None);
    }
    let Some(place) = vectors.iter().position(|vector| vector.embedder == spec.embedder) else {
        return Err(mismatch(vectors, spec));
    };
    let mut values = vectors[place].values.clone();
    let field = format!("vectors[{place}].values");
    let invalid =
        |problem: String| Error::new(Reason::VectorInvalid, format!("{field} {problem}")).with_field(field.clone());
    if values.len() != spec.dimension {
        return Err(invalid(format!("has {} values; the embedder's dimension is {}", values.len(), spec.dimension)));
    }
    if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
        return Err(invalid(format!("holds {} at place {bad}; every value must be finite", values[bad])));
    }
    match normalise(&mut values) {
        true => Ok(Some(values)),
        false => Err(invalid("holds zeros alone, and so has no direction".to_owned())),
    }
}

fn mismatch(vectors: &[QueryVector], spec: &CollectionSpec) -> Error {
    let name = |embedder: &EmbedderRef| format!("{} {:?}", embedder.name, embedder.version);
    let sent: Vec<String> = vectors.iter().map(|vector| name(&vector.embedder)).collect();
    let message = format!(
        "the collection {:?} is embedded by {}, and the vectors by {}",
        spec.name,
        name(&spec.embedder),
        sent.join(", ")
    );
    Error::new(Reason::EmbedderMismatch, message).with_field("vectors")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedder(version: &str) -> EmbedderRef {
        EmbedderRef { name: "minilm".into(), version: version.into() }
    }

    fn vector(version: &str, values: &[f32]) -> QueryVector {
        QueryVector { embedder: embedder(version), values: values.to_vec() }
    }

    #[test]
    fn the_collections_own_encoder_decides() {
        let spec = CollectionSpec::new("docs", embedder("1"), 2, Vec::new());
        let sent = [vector("2", &[1.0, 0.0]), vector("1", &[3.0, 4.0])];
        assert_eq!(choose(&sent, &spec).unwrap(), Some(vec![0.6, 0.8]));
        assert_eq!(choose(&[], &spec).unwrap(), None);
        assert_eq!(choose(&sent[..1], &spec).unwrap_err().reason(), Reason::EmbedderMismatch);
    }

    #[test]
    fn a_bad_vector_names_its_field() {
        let spec = CollectionSpec::new("docs", embedder("1"), 2, Vec::new());
        for values in [&[1.0][..], &[1.0, 2.0, 3.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0], &[0.0, 0.0]] {
            let error = choose(&[vector("2", &[1.0]), vector("1", values)], &spec).unwrap_err();
            assert_eq!((error.reason(), error.field()), (Reason::VectorInvalid, Some("vectors[1].values")));
        }
    }
}
