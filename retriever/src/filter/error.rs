//! What can be wrong with a filter.

use super::{MAX_COMPARISONS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

/// Why a filter was refused. Offsets count code points from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Longer than a filter may be.
    #[error("it has {bytes} bytes, and the limit is {MAX_FILTER_BYTES}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Nested deeper than a filter may be.
    #[error("at offset {offset}: parentheses and NOT are nested deeper than {MAX_FILTER_DEPTH} levels")]
    TooDeep {
        /// Where the first level too many begins.
        offset: usize,
    },
    /// More comparisons than a filter may have.
    #[error("at offset {offset}: there are more than {MAX_COMPARISONS} comparisons")]
    TooManyComparisons {
        /// Where the first one too many begins.
        offset: usize,
    },
    /// Something else stands where the language asks for a certain thing.
    #[error("at offset {offset}: expected {expected}, found {found}")]
    Unexpected {
        /// Where it stands.
        offset: usize,
        /// What the language asks for.
        expected: String,
        /// What was found, shortened.
        found: String,
    },
    /// A name that is no field of the collection.
    #[error("at offset {offset}: there is no field {name:?}; the fields are {known}")]
    UnknownField {
        /// Where the name stands.
        offset: usize,
        /// The name, shortened.
        name: String,
        /// The fields that can be filtered.
        known: String,
    },
    /// A comparison that the field's type does not have, or with a value of another type.
    #[error("at offset {offset}: {field} is {kind}: expected {expected}, found {found}")]
    WrongType {
        /// Where the comparison or the value stands.
        offset: usize,
        /// The field.
        field: String,
        /// Its type in words.
        kind: &'static str,
        /// What its type asks for.
        expected: &'static str,
        /// What was found, shortened.
        found: String,
    },
}
