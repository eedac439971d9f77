//! Values in a filter, read as the type of their field.

use super::lexer::Token;
use super::{Comparison, Scalar};
use crate::metadata::{MetadataType, parse_timestamp};

/// The value that a token stands for in a comparison with a field of type `kind`.
///
/// # Errors
/// What such a field is compared with, in words.
pub(super) fn scalar(kind: MetadataType, token: &Token<'_>) -> Result<Scalar, &'static str> {
    let parsed = match (kind, token) {
        (MetadataType::String, Token::Text(text)) => Some(Scalar::String(text.clone())),
        (MetadataType::Integer, Token::Number(digits)) => digits.parse().ok().map(Scalar::Integer),
        (MetadataType::Float, Token::Number(digits)) => float(digits).map(Scalar::Float),
        (MetadataType::Boolean, Token::Word(word)) => boolean(word).map(Scalar::Boolean),
        (MetadataType::Timestamp, Token::Text(text)) => parse_timestamp(text).map(Scalar::Timestamp),
        _ => None,
    };
    parsed.ok_or_else(|| wanted(kind))
}

/// Whether values of a type can be compared this way.
///
/// # Errors
/// What can be asked of such a field, in words.
pub(super) fn check_comparison(kind: MetadataType, comparison: Comparison) -> Result<(), &'static str> {
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    match kind {
        MetadataType::StringList => Err("HAS or IS NULL"),
        MetadataType::Boolean if !equality => Err("= or !="),
        _ => Ok(()),
    }
}

fn wanted(kind: MetadataType) -> &'static str {
    match kind {
        MetadataType::String | MetadataType::StringList => "a text in double quotes",
        MetadataType::Integer => "a whole number of 64 bits",
        MetadataType::Float => "a finite number",
        MetadataType::Boolean => "true or false",
        MetadataType::Timestamp => "an RFC 3339 timestamp or a date in double quotes",
    }
}

fn float(digits: &str) -> Option<f64> {
    // Adding zero turns a negative zero into a positive one: the engines order the two, and numbers do not.
    digits.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

fn boolean(word: &str) -> Option<bool> {
    match word {
        word if word.eq_ignore_ascii_case("true") => Some(true),
        word if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
