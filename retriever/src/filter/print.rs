//! A filter as text, which parses to the same filter.

use super::parser::is_keyword;
use super::{Comparison, Condition, Filter, Scalar, Test};
use crate::metadata::format_timestamp;
use std::fmt::{self, Display, Formatter};

impl Display for Filter {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => joined(out, parts, " AND "),
            Self::Any(parts) => joined(out, parts, " OR "),
            Self::Not(part) => match part.as_ref() {
                Self::Test(Test { field, condition: Condition::Present }) => {
                    name(out, field.name())?;
                    out.write_str(" IS NULL")
                }
                part => {
                    out.write_str("NOT ")?;
                    nested(out, part)
                }
            },
            Self::Test(test) => Display::fmt(test, out),
        }
    }
}

impl Display for Test {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        name(out, self.field.name())?;
        match &self.condition {
            Condition::Present => out.write_str(" IS NOT NULL"),
            Condition::Compare(comparison, value) => write!(out, " {comparison} {value}"),
            Condition::OneOf(values) => {
                out.write_str(" IN (")?;
                for (place, value) in values.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(out, "{comma}{value}")?;
                }
                out.write_str(")")
            }
            Condition::Has(text) => {
                out.write_str(" HAS ")?;
                quoted(out, text)
            }
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Scalar {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => quoted(out, text),
            Self::Integer(number) => write!(out, "{number}"),
            // This form keeps every digit, and large and small numbers short.
            Self::Float(number) => write!(out, "{number:?}"),
            Self::Boolean(flag) => write!(out, "{flag}"),
            Self::Timestamp(micros) => quoted(out, &format_timestamp(*micros)),
        }
    }
}

fn joined(out: &mut Formatter<'_>, parts: &[Filter], operator: &str) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            out.write_str(operator)?;
        }
        nested(out, part)?;
    }
    Ok(())
}

/// A part of another filter, in parentheses where it would be read otherwise without them.
fn nested(out: &mut Formatter<'_>, part: &Filter) -> fmt::Result {
    match part {
        Filter::All(_) | Filter::Any(_) => write!(out, "({part})"),
        Filter::Not(_) | Filter::Test(_) => write!(out, "{part}"),
    }
}

fn name(out: &mut Formatter<'_>, name: &str) -> fmt::Result {
    if is_keyword(name) { write!(out, "`{name}`") } else { out.write_str(name) }
}

fn quoted(out: &mut Formatter<'_>, text: &str) -> fmt::Result {
    write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
