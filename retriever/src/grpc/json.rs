//! JSON to protobuf's `Struct`, and back.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Proto};
use serde_json::{Map, Number, Value};

/// Whole numbers up to this size are exact in a protobuf number, which is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A number in a `Struct` that JSON cannot hold: infinite, or none at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of {key:?} is no finite number")]
pub(super) struct NotFinite {
    key: String,
}

/// A JSON object. Whole numbers become whole numbers, which a document's hash relies on.
pub(super) fn from_struct(given: Struct) -> Result<Map<String, Value>, NotFinite> {
    given.fields.into_iter().map(|(key, value)| Ok((key.clone(), from_proto(&key, value)?))).collect()
}

/// A `Struct`. Whole numbers beyond 2^53 lose their last digits, as all numbers of a `Struct` do.
pub(super) fn to_struct(object: Map<String, Value>) -> Struct {
    Struct { fields: object.into_iter().map(|(key, value)| (key, to_proto(value))).collect() }
}

fn from_proto(key: &str, value: Proto) -> Result<Value, NotFinite> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => {
            Value::Number(from_double(number).ok_or_else(|| NotFinite { key: key.to_owned() })?)
        }
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(|item| from_proto(key, item)).collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(inner)) => Value::Object(from_struct(inner)?),
    })
}

fn from_double(number: f64) -> Option<Number> {
    let whole = number.fract() == 0.0 && number.abs() <= EXACT;
    if whole { Some(Number::from(number as i64)) } else { Number::from_f64(number) }
}

fn to_proto(value: Value) -> Proto {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(to_proto).collect() }),
        Value::Object(object) => Kind::StructValue(to_struct(object)),
    };
    Proto { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn numbers_that_json_lacks_name_their_key() {
        for number in [f64::NAN, f64::INFINITY] {
            let list = ListValue { values: vec![Proto { kind: Some(Kind::NumberValue(number)) }] };
            let fields = [("a".to_owned(), Proto { kind: Some(Kind::ListValue(list)) })].into();
            assert_eq!(from_struct(Struct { fields }), Err(NotFinite { key: "a".into() }));
        }
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let object = json!({"a": 3, "b": -0.5, "c": {"d": [1, null, true, "x"]}, "e": 1e300});
        let object = object.as_object().unwrap().clone();
        assert_eq!(from_struct(to_struct(object.clone())), Ok(object));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_992_i64..=9_007_199_254_740_992).prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite and not whole", |n| n.is_finite() && n.fract() != 0.0)
                .prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_comes_back(value in any_json()) {
            let object: Map<String, Value> = [("k".to_owned(), value)].into_iter().collect();
            prop_assert_eq!(from_struct(to_struct(object.clone())), Ok(object));
        }
    }
}
