//! The query's vector: which one to use, and whether it may be used.

use crate::collection::CollectionSpec;
use crate::given_vector::{GivenVector, mismatch};
use trivium_service_kit::Error;

/// The vector that the collection's own encoder made, brought to length 1; `None` when no vector was sent at all.
///
/// # Errors
/// `EMBEDDER_MISMATCH` when vectors were sent and none is of that encoder: vectors of different encoders, or of different
/// versions of one, are never compared. `VECTOR_INVALID` for a wrong length, values that are no numbers, or zeros alone.
pub fn choose(vectors: &[GivenVector], spec: &CollectionSpec) -> Result<Option<Vec<f32>>, Error> {
    if vectors.is_empty() {
        return Ok(None);
    }
    let Some(place) = vectors.iter().position(|vector| vector.embedder == spec.embedder) else {
        return Err(mismatch("vectors", vectors, spec));
    };
    vectors[place].checked(&format!("vectors[{place}]"), spec).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::EmbedderRef;
    use trivium_service_kit::Reason;

    fn embedder(version: &str) -> EmbedderRef {
        EmbedderRef { name: "minilm".into(), version: version.into() }
    }

    fn vector(version: &str, values: &[f32]) -> GivenVector {
        GivenVector { embedder: embedder(version), values: values.to_vec(), tokens: None }
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
