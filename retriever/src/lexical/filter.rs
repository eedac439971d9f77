//! From a filter to a query that finds the same documents.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, ConstScoreQuery, Occur, Query, RangeQuery, TermQuery, TermSetQuery};
use tantivy::schema::{Field, IndexRecordOption};

use super::schema::Fields;
use crate::filter::{self, Comparison, Condition, Filter, Scalar, Test};

/// The query of a filter. Its scores mean nothing.
pub(super) fn compile(fields: &Fields, filter: &Filter) -> Box<dyn Query> {
    match filter {
        Filter::All(parts) => all(fields, parts),
        Filter::Any(parts) => {
            Box::new(BooleanQuery::new(parts.iter().map(|part| (Occur::Should, compile(fields, part))).collect()))
        }
        Filter::Not(_) => all(fields, std::slice::from_ref(filter)),
        Filter::Test(test) => compile_test(fields, test),
    }
}

/// What both queries find, with the scores of the first alone.
pub(super) fn restrict(query: Box<dyn Query>, filter: Box<dyn Query>) -> Box<dyn Query> {
    let filter: Box<dyn Query> = Box::new(ConstScoreQuery::new(filter, 0.0));
    Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::Must, filter)]))
}

/// What meets every part. A part with NOT is taken away from what the others find, or from all documents.
fn all(fields: &Fields, parts: &[Filter]) -> Box<dyn Query> {
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = parts
        .iter()
        .map(|part| match part {
            Filter::Not(inner) => (Occur::MustNot, compile(fields, inner)),
            part => (Occur::Must, compile(fields, part)),
        })
        .collect();
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Box::new(BooleanQuery::new(clauses))
}

fn compile_test(fields: &Fields, test: &Test) -> Box<dyn Query> {
    let Some(field) = field_of(fields, &test.field) else {
        // The filter was parsed against other declared fields than the index has, which callers rule out.
        return Box::new(BooleanQuery::new(Vec::new()));
    };
    match &test.condition {
        Condition::Present => present(fields, field),
        Condition::Compare(comparison, value) => compare(fields, field, *comparison, term(field, value)),
        Condition::OneOf(values) => Box::new(TermSetQuery::new(values.iter().map(|value| term(field, value)))),
        Condition::Has(text) => equal(Term::from_field_text(field, text)),
    }
}

fn field_of(fields: &Fields, field: &filter::Field) -> Option<Field> {
    match field {
        filter::Field::BuiltIn(built_in) => Some(fields.built_in(*built_in)),
        filter::Field::Declared { position, .. } => fields.declared().get(*position).copied(),
    }
}

fn present(fields: &Fields, field: Field) -> Box<dyn Query> {
    equal(Term::from_field_text(fields.present, fields.name(field)))
}

fn equal(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn compare(fields: &Fields, field: Field, comparison: Comparison, term: Term) -> Box<dyn Query> {
    let (lower, upper) = match comparison {
        Comparison::Equal => return equal(term),
        Comparison::NotEqual => {
            let clauses = vec![(Occur::Must, present(fields, field)), (Occur::MustNot, equal(term))];
            return Box::new(BooleanQuery::new(clauses));
        }
        Comparison::Less => (Bound::Unbounded, Bound::Excluded(term)),
        Comparison::LessOrEqual => (Bound::Unbounded, Bound::Included(term)),
        Comparison::Greater => (Bound::Excluded(term), Bound::Unbounded),
        Comparison::GreaterOrEqual => (Bound::Included(term), Bound::Unbounded),
    };
    Box::new(RangeQuery::new(lower, upper))
}

fn term(field: Field, value: &Scalar) -> Term {
    match value {
        Scalar::String(text) => Term::from_field_text(field, text),
        Scalar::Integer(number) | Scalar::Timestamp(number) => Term::from_field_i64(field, *number),
        Scalar::Float(number) => Term::from_field_f64(field, *number),
        Scalar::Boolean(flag) => Term::from_field_bool(field, *flag),
    }
}
