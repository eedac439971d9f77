//! Filters: conditions on metadata that a search puts on its hits.
//!
//! A filter is written as text (`lang = "en" AND updated_at >= "2026-01-01"`), parsed once against the declared fields
//! of a collection into a typed tree, and compiled from there for each leg. The meaning of the tree is what
//! [`Filter::matches`] says of one document; both engines are tested against it.
//!
//! Logic has two values. A comparison with a value that is missing is false, whatever the comparison, and NOT of it is
//! true: no third truth value goes from one engine into another.

mod error;
mod evaluate;
mod field;
mod lexer;
mod literal;
mod parser;
mod print;

use crate::metadata::MetadataField;

pub use error::FilterError;
pub use field::{BuiltIn, Field, Properties};

/// Longest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 8_192;
/// Deepest nesting of parentheses and NOT.
pub const MAX_FILTER_DEPTH: usize = 64;
/// Most comparisons of one filter.
pub const MAX_COMPARISONS: usize = 256;

/// A condition on a document, whose every value has the type of its field.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Holds when every part holds; at least two parts.
    All(Vec<Filter>),
    /// Holds when any part holds; at least two parts.
    Any(Vec<Filter>),
    /// Holds when the part does not.
    Not(Box<Filter>),
    /// A condition on one field.
    Test(Test),
}

/// A condition on one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// The field.
    pub field: Field,
    /// What is asked of its value. A document without a value meets none of these.
    pub condition: Condition,
}

/// What is asked of a value that is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Nothing more than that it is there.
    Present,
    /// A comparison with a value of the same type.
    Compare(Comparison, Scalar),
    /// Equality with one of several values of the same type; at least one.
    OneOf(Vec<Scalar>),
    /// That a list holds this text.
    Has(String),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A single value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Ordered by its bytes in UTF-8, which is the order of code points.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A finite number, and never the negative zero.
    Float(f64),
    /// Compared for equality alone.
    Boolean(bool),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

impl Filter {
    /// Parses a filter over a collection with these declared fields.
    ///
    /// # Errors
    /// [`FilterError`] says what is wrong and where.
    pub fn parse(text: &str, fields: &[MetadataField]) -> Result<Self, FilterError> {
        parser::parse(text, fields)
    }
}
