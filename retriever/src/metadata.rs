//! Typed metadata: the fields that a collection declares, and the values that documents bring for them.
//!
//! A declared field becomes a column of its own, so that a filter can be pushed down into both legs. Whatever
//! else a document brings is kept as JSON and given back unchanged.

mod timestamp;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

pub use timestamp::{format_rfc3339 as format_timestamp, parse_rfc3339 as parse_timestamp};

/// Longest name of a declared field, in bytes.
pub const MAX_FIELD_NAME_BYTES: usize = 63;
/// Most fields that one collection may declare.
pub const MAX_FIELDS: usize = 64;

/// Type of a declared metadata field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataType {
    /// Text.
    String,
    /// A whole number that fits 64 bits.
    Integer,
    /// A finite floating-point number of 64 bits.
    Float,
    /// True or false.
    Boolean,
    /// A moment, written as RFC 3339 text and kept in microseconds since 1970.
    Timestamp,
    /// Several texts.
    StringList,
}

impl MetadataType {
    /// The type's name as error messages give it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "a whole number",
            Self::Float => "a number",
            Self::Boolean => "true or false",
            Self::Timestamp => "an RFC 3339 timestamp",
            Self::StringList => "a list of strings",
        }
    }
}

/// A declared metadata field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataField {
    /// A letter, then letters, digits and underscores; at most [`MAX_FIELD_NAME_BYTES`] bytes.
    pub name: String,
    /// Type of every value of the field.
    #[serde(rename = "type")]
    pub kind: MetadataType,
}

/// One value of a declared field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MetadataValue {
    /// Of a [`MetadataType::String`] field.
    String(String),
    /// Of a [`MetadataType::Integer`] field.
    Integer(i64),
    /// Of a [`MetadataType::Float`] field; always finite, and never the negative zero.
    Float(f64),
    /// Of a [`MetadataType::Boolean`] field.
    Boolean(bool),
    /// Of a [`MetadataType::Timestamp`] field: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Of a [`MetadataType::StringList`] field.
    StringList(Vec<String>),
}

/// Why declared fields or a document's metadata were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The name of a declared field breaks the rules.
    #[error(
        "{name:?} is no field name: a letter, then letters, digits and underscores, at most {MAX_FIELD_NAME_BYTES}"
    )]
    BadName {
        /// The name that was given.
        name: String,
    },
    /// Two declared fields have the same name.
    #[error("the field {name:?} is declared twice")]
    DeclaredTwice {
        /// The name.
        name: String,
    },
    /// More fields than a collection may declare.
    #[error("{count} fields are declared, and {MAX_FIELDS} is the limit")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// A value has another type than its field.
    #[error("{field} must be {expected}")]
    WrongType {
        /// The declared field.
        field: String,
        /// What its type asks for.
        expected: &'static str,
    },
}

/// A document's metadata, split into declared values and the rest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SplitMetadata {
    /// One entry for each declared field, in the order of declaration; `None` where the document has no value.
    pub declared: Vec<Option<MetadataValue>>,
    /// Whatever is not declared.
    pub rest: Map<String, Value>,
}

/// Checks the declared fields of a collection to be.
///
/// # Errors
/// A bad or repeated name, or more than [`MAX_FIELDS`] fields.
pub fn check_fields(fields: &[MetadataField]) -> Result<(), MetadataError> {
    if fields.len() > MAX_FIELDS {
        return Err(MetadataError::TooMany { count: fields.len() });
    }
    for (position, field) in fields.iter().enumerate() {
        if !is_field_name(&field.name) {
            return Err(MetadataError::BadName { name: field.name.clone() });
        }
        // Column names are compared without regard to case by query engines, so names that differ in case alone collide.
        let twice = fields[..position].iter().any(|earlier| earlier.name.eq_ignore_ascii_case(&field.name));
        if twice {
            return Err(MetadataError::DeclaredTwice { name: field.name.clone() });
        }
    }
    Ok(())
}

/// Splits a document's metadata by the declared fields. A null counts as no value.
///
/// # Errors
/// [`MetadataError::WrongType`] names the first declared field whose value has another type.
pub fn split(mut metadata: Map<String, Value>, fields: &[MetadataField]) -> Result<SplitMetadata, MetadataError> {
    let mut declared = Vec::with_capacity(fields.len());
    for field in fields {
        let value = match metadata.remove(&field.name) {
            None | Some(Value::Null) => None,
            Some(value) => Some(parse_value(field, value)?),
        };
        declared.push(value);
    }
    Ok(SplitMetadata { declared, rest: metadata })
}

/// Puts declared values and the rest together again, the inverse of [`split`].
///
/// Timestamps come back in UTC; everything else as it was handed in.
pub fn join(
    declared: &[Option<MetadataValue>],
    rest: Map<String, Value>,
    fields: &[MetadataField],
) -> Map<String, Value> {
    let mut metadata = rest;
    for (field, value) in fields.iter().zip(declared) {
        if let Some(value) = value {
            metadata.insert(field.name.clone(), to_json(value));
        }
    }
    metadata
}

fn is_field_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|rest| rest.is_ascii_alphanumeric() || rest == '_')
        && name.len() <= MAX_FIELD_NAME_BYTES
}

fn parse_value(field: &MetadataField, value: Value) -> Result<MetadataValue, MetadataError> {
    let parsed = match (field.kind, value) {
        (MetadataType::String, Value::String(text)) => Some(MetadataValue::String(text)),
        (MetadataType::Integer, Value::Number(number)) => whole(&number).map(MetadataValue::Integer),
        (MetadataType::Float, Value::Number(number)) => {
            // Adding zero turns a negative zero into a positive one: engines that order the two would find only one.
            number.as_f64().filter(|float| float.is_finite()).map(|float| MetadataValue::Float(float + 0.0))
        }
        (MetadataType::Boolean, Value::Bool(flag)) => Some(MetadataValue::Boolean(flag)),
        (MetadataType::Timestamp, Value::String(text)) => timestamp::parse_rfc3339(&text).map(MetadataValue::Timestamp),
        (MetadataType::StringList, Value::Array(items)) => strings(items).map(MetadataValue::StringList),
        _ => None,
    };
    parsed.ok_or_else(|| MetadataError::WrongType { field: field.name.clone(), expected: field.kind.describe() })
}

/// A whole number. JSON from protobuf has floating-point numbers only, so 3.0 counts as 3 where that is exact.
fn whole(number: &Number) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // Beyond 2^53 neighbouring whole numbers share one float, so the value that was meant is unknown.
        (float.fract() == 0.0 && float.abs() <= LIMIT).then_some(float as i64)
    })
}

fn strings(items: Vec<Value>) -> Option<Vec<String>> {
    items
        .into_iter()
        .map(|item| match item {
            Value::String(text) => Some(text),
            _ => None,
        })
        .collect()
}

fn to_json(value: &MetadataValue) -> Value {
    match value {
        MetadataValue::String(text) => Value::String(text.clone()),
        MetadataValue::Integer(number) => Value::from(*number),
        MetadataValue::Float(number) => Value::from(*number),
        MetadataValue::Boolean(flag) => Value::Bool(*flag),
        MetadataValue::Timestamp(micros) => Value::String(timestamp::format_rfc3339(*micros)),
        MetadataValue::StringList(items) => Value::from(items.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(name: &str, kind: MetadataType) -> MetadataField {
        MetadataField { name: name.into(), kind }
    }

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn values_of_each_type_come_back() {
        let fields = [
            field("lang", MetadataType::String),
            field("stars", MetadataType::Integer),
            field("price", MetadataType::Float),
            field("public", MetadataType::Boolean),
            field("updated_at", MetadataType::Timestamp),
            field("tags", MetadataType::StringList),
            field("absent", MetadataType::String),
        ];
        let given = object(json!({
            "lang": "en", "stars": 3.0, "price": 2, "public": true, "updated_at": "2026-01-01T02:00:00+02:00",
            "tags": ["a", "b"], "absent": null, "other": {"x": [1]},
        }));
        let split = split(given, &fields).unwrap();
        assert_eq!(split.declared[1], Some(MetadataValue::Integer(3)));
        assert_eq!(split.declared[6], None);
        let joined = join(&split.declared, split.rest, &fields);
        let expected = object(json!({
            "lang": "en", "stars": 3, "price": 2.0, "public": true, "updated_at": "2026-01-01T00:00:00Z",
            "tags": ["a", "b"], "other": {"x": [1]},
        }));
        assert_eq!(joined, expected);
    }

    #[test]
    fn a_value_of_another_type_names_its_field() {
        let cases = [
            (MetadataType::String, json!(1)),
            (MetadataType::Integer, json!(1.5)),
            (MetadataType::Integer, json!(1e300)),
            (MetadataType::Integer, json!("1")),
            (MetadataType::Float, json!("x")),
            (MetadataType::Boolean, json!("true")),
            (MetadataType::Timestamp, json!("yesterday")),
            (MetadataType::Timestamp, json!(0)),
            (MetadataType::StringList, json!(["a", 1])),
            (MetadataType::StringList, json!("a")),
        ];
        for (kind, value) in cases {
            let given = object(json!({ "f": value }));
            let error = split(given, &[field("f", kind)]).unwrap_err();
            assert_eq!(error, MetadataError::WrongType { field: "f".into(), expected: kind.describe() });
        }
    }

    #[test]
    fn field_names_are_checked() {
        let long = "a".repeat(64);
        for name in ["", "1a", "a b", "ä", "_a", "a.b", long.as_str()] {
            let refused = check_fields(&[field(name, MetadataType::String)]);
            assert_eq!(refused, Err(MetadataError::BadName { name: name.into() }));
        }
        let twice = [field("Lang", MetadataType::String), field("lang", MetadataType::Float)];
        assert_eq!(check_fields(&twice), Err(MetadataError::DeclaredTwice { name: "lang".into() }));
        let many: Vec<_> = (0..65).map(|n| field(&format!("f{n}"), MetadataType::Float)).collect();
        assert_eq!(check_fields(&many), Err(MetadataError::TooMany { count: 65 }));
        assert_eq!(check_fields(&many[..64]), Ok(()));
    }
}
