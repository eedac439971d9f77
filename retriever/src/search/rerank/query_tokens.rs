//! The query's vector and token vectors: those that came along, or ones made now.

use super::SecondStage;
use crate::collection::CollectionSpec;
use crate::embedder::{Embedder, Lane, checked_vectors};
use crate::given_vector::{GivenTokens, GivenVector};
use crate::vector::TokenColumn;
use trivium_service_kit::{Deadline, Error, Reason};

/// The token vectors that came with the vector of the collection's own encoder.
///
/// # Errors
/// `VECTOR_INVALID` for numbers that are not a whole number of vectors.
pub(in super::super) fn given_tokens(
    vectors: &[GivenVector],
    spec: &CollectionSpec,
) -> Result<Option<GivenTokens>, Error> {
    let Some(place) = vectors.iter().position(|vector| vector.embedder == spec.embedder) else { return Ok(None) };
    let Some(tokens) = &vectors[place].tokens else { return Ok(None) };
    let (numbers, dimension) = (tokens.values.len(), tokens.column.dimension);
    if dimension > 0 && numbers.is_multiple_of(dimension) {
        return Ok(Some(tokens.clone()));
    }
    let field = format!("vectors[{place}].token_vectors");
    let message = format!("{field} has {numbers} numbers, which make no vectors of {dimension}");
    Err(Error::new(Reason::VectorInvalid, message).with_field(field))
}

/// The query's vector and its token vectors from one pass; `None` where the projection is not there, which the vector alone
/// does not need.
///
/// # Errors
/// Whatever else the call gives.
pub(in super::super) async fn encode_both(
    embedder: &dyn Embedder,
    spec: &CollectionSpec,
    column: &TokenColumn,
    text: &str,
    deadline: Deadline,
) -> Result<Option<(Vec<f32>, GivenTokens)>, Error> {
    let made = embedder.embed_tokens(&spec.embedder, column, vec![text.to_owned()], Lane::Query, deadline).await;
    let made = match made {
        Err(error) if matches!(error.reason(), Reason::ModelNotFound | Reason::NoModel) => return Ok(None),
        made => made?,
    };
    let Some(made) = made.into_iter().next() else { return Ok(None) };
    let vector = checked_vectors(vec![made.vector], 1, spec.dimension)?.pop();
    Ok(vector.map(|vector| (vector, GivenTokens { column: column.clone(), values: made.token_vectors })))
}

impl SecondStage<'_> {
    /// The query's vector, and its token vectors by the projection that made the collection's.
    pub(super) async fn encoded_query(&self, column: &TokenColumn) -> Result<(Vec<f32>, Vec<i8>), Error> {
        if let Some((vector, Some(tokens))) = &self.encoded
            && tokens.column == *column
        {
            return Ok((vector.clone(), worded(tokens.values.clone())?));
        }
        if let Some(missing) = self.encoder_away {
            return Err(Error::new(missing.reason, format!("the query has no vector: {}", missing.detail)));
        }
        // Whoever brings a vector along wants nothing encoded, unless they ask for this very stage.
        let brought = matches!(&self.encoded, Some((_, None))) && !self.query.vectors.is_empty();
        if brought && self.query.rerank.method.is_none() {
            let message = "the query's vector came without token vectors";
            return Err(Error::new(Reason::FieldMissing, message).with_field("vectors"));
        }
        let texts = vec![self.query.text.clone()];
        let embedder = &self.collection.spec().embedder;
        let made = self.embedder.embed_tokens(embedder, column, texts, Lane::Query, self.deadline).await?;
        let made = made.into_iter().next().ok_or_else(no_token)?;
        let known = self.encoded.as_ref().map(|(vector, _)| vector.clone());
        Ok((known.unwrap_or(made.vector), worded(made.token_vectors)?))
    }
}

fn worded(tokens: Vec<i8>) -> Result<Vec<i8>, Error> {
    if tokens.is_empty() { Err(no_token()) } else { Ok(tokens) }
}

fn no_token() -> Error {
    Error::new(Reason::FieldInvalid, "the encoder made no token of the query").with_field("query")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::EmbedderRef;

    #[test]
    fn numbers_that_are_no_vectors_are_refused_and_another_encoders_are_passed_over() {
        let embedder = |version: &str| EmbedderRef { name: "minilm".into(), version: version.into() };
        let spec = CollectionSpec::new("docs", embedder("1"), 2, Vec::new());
        let column = |dimension| TokenColumn { projection: "minilm-tokens".into(), version: "1".into(), dimension };
        let vector = |version: &str, dimension, values: &[i8]| GivenVector {
            embedder: embedder(version),
            values: vec![1.0, 0.0],
            tokens: Some(GivenTokens { column: column(dimension), values: values.to_vec() }),
        };
        let good = vector("1", 2, &[1, 2, 3, 4]);
        assert_eq!(given_tokens(&[vector("2", 3, &[1]), good.clone()], &spec).unwrap(), good.tokens);
        assert_eq!(given_tokens(&[vector("2", 3, &[1])], &spec).unwrap(), None);
        let wordless = vector("1", 2, &[]);
        assert_eq!(given_tokens(std::slice::from_ref(&wordless), &spec).unwrap(), wordless.tokens);
        for (dimension, values) in [(2, &[1][..]), (0, &[]), (0, &[1])] {
            let error = given_tokens(&[vector("1", dimension, values)], &spec).unwrap_err();
            assert_eq!((error.reason(), error.field()), (Reason::VectorInvalid, Some("vectors[0].token_vectors")));
        }
    }
}
