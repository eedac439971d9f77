//! From a filter to an expression that finds the same rows.
//!
//! The expression is built as a tree, not written as SQL, so that no text of a client is ever read as a part of it.

use super::schema::{self, column_name};
use crate::filter::{BuiltIn, Comparison, Condition, Field, Filter, Scalar, Test};
use lance::deps::datafusion::common::{Column, ScalarValue};
use lance::deps::datafusion::functions_nested::expr_fn::array_has;
use lance::deps::datafusion::logical_expr::{Expr, Operator, binary_expr, lit};

/// The expression of a filter, true or false for every row and never null.
pub(super) fn compile(filter: &Filter) -> Expr {
    match filter {
        Filter::All(parts) => balanced(parts, Operator::And),
        Filter::Any(parts) => balanced(parts, Operator::Or),
        Filter::Not(part) => Expr::Not(Box::new(compile(part))),
        Filter::Test(test) => compile_test(test),
    }
}

/// Parts put together as a balanced tree: the engine walks expressions by calling itself, and a chain would be as deep
/// as it is long.
fn balanced(parts: &[Filter], operator: Operator) -> Expr {
    match parts {
        [] => lit(operator == Operator::And),
        [part] => compile(part),
        parts => {
            let (left, right) = parts.split_at(parts.len() / 2);
            binary_expr(balanced(left, operator), operator, balanced(right, operator))
        }
    }
}

fn compile_test(test: &Test) -> Expr {
    let value = column(&test.field);
    let asked = match &test.condition {
        Condition::Present => return present(&test.field),
        Condition::Compare(comparison, scalar) => binary_expr(value, operator(*comparison), literal(scalar)),
        Condition::OneOf(scalars) => value.in_list(scalars.iter().map(literal).collect(), false),
        Condition::Has(text) => array_has(value, lit(text.as_str())),
    };
    match &test.field {
        // The columns of built-in fields hold an empty text where others hold null.
        Field::BuiltIn(_) => binary_expr(present(&test.field), Operator::And, asked),
        // A comparison with null is null, which NOT would keep.
        Field::Declared { .. } => asked.is_true(),
    }
}

fn present(field: &Field) -> Expr {
    match field {
        Field::BuiltIn(_) => binary_expr(column(field), Operator::NotEq, lit("")),
        Field::Declared { .. } => column(field).is_not_null(),
    }
}

fn column(field: &Field) -> Expr {
    let name = match field {
        Field::BuiltIn(BuiltIn::DocumentId) => schema::DOCUMENT_ID.to_owned(),
        Field::BuiltIn(BuiltIn::Uri) => schema::URI.to_owned(),
        Field::BuiltIn(BuiltIn::Language) => schema::LANGUAGE.to_owned(),
        Field::Declared { field, .. } => column_name(field),
    };
    Expr::Column(Column::new_unqualified(name))
}

fn operator(comparison: Comparison) -> Operator {
    match comparison {
        Comparison::Equal => Operator::Eq,
        Comparison::NotEqual => Operator::NotEq,
        Comparison::Less => Operator::Lt,
        Comparison::LessOrEqual => Operator::LtEq,
        Comparison::Greater => Operator::Gt,
        Comparison::GreaterOrEqual => Operator::GtEq,
    }
}

fn literal(scalar: &Scalar) -> Expr {
    match scalar {
        Scalar::String(text) => lit(text.as_str()),
        Scalar::Integer(number) => lit(*number),
        Scalar::Float(number) => lit(*number),
        Scalar::Boolean(flag) => lit(*flag),
        Scalar::Timestamp(micros) => lit(ScalarValue::TimestampMicrosecond(Some(*micros), Some(schema::UTC.into()))),
    }
}
