//! What a filter means: whether one document meets it.

use super::{Comparison, Condition, Field, Filter, Properties, Scalar, Test};
use crate::metadata::MetadataValue;
use std::cmp::Ordering;

impl Filter {
    /// Whether a document meets the filter.
    pub fn matches(&self, properties: &Properties) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(properties)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(properties)),
            Self::Not(part) => !part.matches(properties),
            Self::Test(test) => test.matches(properties),
        }
    }
}

impl Test {
    fn matches(&self, properties: &Properties) -> bool {
        match &self.field {
            Field::BuiltIn(built_in) => properties.built_in(*built_in).is_some_and(|text| match &self.condition {
                Condition::Present => true,
                Condition::Compare(comparison, Scalar::String(value)) => comparison.holds(text.cmp(value)),
                Condition::OneOf(values) => {
                    values.iter().any(|value| matches!(value, Scalar::String(value) if value == text))
                }
                Condition::Compare(..) | Condition::Has(_) => false,
            }),
            Field::Declared { position, .. } => {
                properties.declared.get(*position).and_then(Option::as_ref).is_some_and(|value| self.holds_of(value))
            }
        }
    }

    fn holds_of(&self, value: &MetadataValue) -> bool {
        match &self.condition {
            Condition::Present => true,
            Condition::Compare(comparison, scalar) => {
                compare(value, scalar).is_some_and(|order| comparison.holds(order))
            }
            Condition::OneOf(scalars) => scalars.iter().any(|scalar| compare(value, scalar) == Some(Ordering::Equal)),
            Condition::Has(text) => matches!(value, MetadataValue::StringList(items) if items.contains(text)),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// The order of a document's value and a filter's; `None` for values of different types, which no comparison holds of.
fn compare(value: &MetadataValue, scalar: &Scalar) -> Option<Ordering> {
    match (value, scalar) {
        (MetadataValue::String(left), Scalar::String(right)) => Some(left.cmp(right)),
        (MetadataValue::Integer(left), Scalar::Integer(right))
        | (MetadataValue::Timestamp(left), Scalar::Timestamp(right)) => Some(left.cmp(right)),
        (MetadataValue::Float(left), Scalar::Float(right)) => left.partial_cmp(right),
        (MetadataValue::Boolean(left), Scalar::Boolean(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{MetadataField, MetadataType};

    #[test]
    fn a_missing_value_meets_no_comparison_and_every_negation_of_one() {
        let fields = [
            MetadataField { name: "stars".into(), kind: MetadataType::Integer },
            MetadataField { name: "tags".into(), kind: MetadataType::StringList },
        ];
        let there = vec![Some(MetadataValue::Integer(2)), Some(MetadataValue::StringList(Vec::new()))];
        let there = Properties { language: "en".into(), declared: there, ..Properties::default() };
        let missing = Properties { declared: vec![None, None], ..Properties::default() };
        let table = [
            ("stars = 2", true, false),
            ("stars != 2", false, false),
            ("stars != 3", true, false),
            ("NOT stars = 2", false, true),
            ("NOT stars != 2", true, true),
            ("stars < 3", true, false),
            ("stars >= 3", false, false),
            ("NOT (stars >= 3)", true, true),
            ("stars IN (1, 2)", true, false),
            ("NOT stars IN (1, 2)", false, true),
            ("stars IS NULL", false, true),
            ("stars IS NOT NULL", true, false),
            ("stars < 3 OR stars >= 3", true, false),
            ("tags IS NULL", false, true),
            ("tags HAS \"x\"", false, false),
            ("NOT tags HAS \"x\"", true, true),
            ("language = \"en\"", true, false),
            ("language != \"de\"", true, false),
            ("language IS NULL", false, true),
            ("uri IS NULL", true, true),
            ("stars = 2 AND NOT language = \"de\"", true, false),
        ];
        for (text, of_there, of_missing) in table {
            let filter = Filter::parse(text, &fields).unwrap();
            assert_eq!((filter.matches(&there), filter.matches(&missing)), (of_there, of_missing), "{text}");
        }
    }
}
