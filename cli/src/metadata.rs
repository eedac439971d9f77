//! Metadata between JSON and the contract's `google.protobuf.Struct`.
//!
//! The contract's numbers are 64-bit floating point, so whole numbers beyond
//! 2^53 lose digits; identifiers of that size belong into texts.

use prost_types::{ListValue, Struct, value::Kind};
use serde_json::{Map, Number, Value};

/// A JSON object as a `Struct`.
pub fn to_struct(map: Map<String, Value>) -> Struct {
    Struct { fields: map.into_iter().map(|(key, value)| (key, to_value(value))).collect() }
}

/// A `Struct` as a JSON object.
pub fn from_struct(metadata: &Struct) -> Map<String, Value> {
    metadata.fields.iter().map(|(key, value)| (key.clone(), from_value(value))).collect()
}

fn to_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(to_value).collect() }),
        Value::Object(map) => Kind::StructValue(to_struct(map)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn from_value(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(number)) => from_number(*number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(from_value).collect()),
        Some(Kind::StructValue(map)) => Value::Object(from_struct(map)),
    }
}

/// Whole numbers come back without a decimal point, as they went in.
fn from_number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_contract() {
        let Value::Object(map) = json!({
            "n": null, "b": true, "i": -7, "f": 0.25, "big": 9_007_199_254_740_992_i64,
            "s": "text", "l": ["a", 1, {"x": []}], "o": {"k": "v"}
        }) else {
            unreachable!("an object was written above")
        };
        assert_eq!(from_struct(&to_struct(map.clone())), map);
    }

    #[test]
    fn numbers_that_json_lacks_become_null() {
        assert_eq!(from_number(f64::NAN), Value::Null);
        assert_eq!(from_number(f64::INFINITY), Value::Null);
    }
}
