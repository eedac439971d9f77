//! Filters: what parses means the same when it is written out and read again, and what a caller writes stays within
//! its parentheses when it is put behind a policy's filter.

use trivium_router::policy::{Search, check_enclosed};

use crate::{
    metadata::{MetadataField, MetadataType},
    requests::search_of_policy,
    retriever::filter::{Filter, FilterError, MAX_COMPARISONS, MAX_FILTER_BYTES, Properties},
};

/// Reads the bytes as a filter, and as a caller's filter behind a policy's.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let fields = fields();
    let parsed = Filter::parse(text, &fields);
    match &parsed {
        Ok(filter) => comes_back(filter, &fields),
        Err(error) => is_plain(error, text),
    }
    stays_apart(text, parsed.ok().as_ref(), &fields);
}

/// One of each type, one with a keyword's name, and one that hides a built-in field.
fn fields() -> Vec<MetadataField> {
    let field = |name: &str, kind| MetadataField { name: name.to_owned(), kind };
    vec![
        field("lang", MetadataType::String),
        field("stars", MetadataType::Integer),
        field("price", MetadataType::Float),
        field("public", MetadataType::Boolean),
        field("at", MetadataType::Timestamp),
        field("tags", MetadataType::StringList),
        field("null", MetadataType::Integer),
        field("uri", MetadataType::String),
    ]
}

fn comes_back(filter: &Filter, fields: &[MetadataField]) {
    let nothing = Properties { declared: vec![None; fields.len()], ..Properties::default() };
    assert_ne!(filter.matches(&nothing), Filter::Not(Box::new(filter.clone())).matches(&nothing));
    let printed = filter.to_string();
    match Filter::parse(&printed, fields) {
        Ok(again) => assert_eq!(again, *filter, "{printed}"),
        // Written out it has more parentheses and longer numbers.
        Err(FilterError::TooLong { .. } | FilterError::TooDeep { .. }) => {}
        Err(error) => panic!("{printed}: {error}"),
    }
}

fn is_plain(error: &FilterError, text: &str) {
    let message = error.to_string();
    assert!(message.len() < 2_048, "an error of {} bytes", message.len());
    if let FilterError::Unexpected { offset, .. } = error {
        assert!(*offset <= text.chars().count(), "{message}");
    }
}

/// Whoever puts a condition before a caller's must get documents that meet it.
fn stays_apart(of_caller: &str, alone: Option<&Filter>, fields: &[MetadataField]) {
    let own = Filter::parse(OWN, fields).expect("a filter that is right");
    if let Err(error) = check_enclosed(of_caller) {
        assert!(alone.is_none(), "{of_caller} is right by itself, and was refused: {error}");
        return;
    }
    let joined = Search { filter: Some(OWN.to_owned()), ..search_of_policy() }.filter_with(of_caller);
    match (Filter::parse(&joined, fields), alone) {
        (Ok(Filter::All(parts)), Some(alone)) => assert_eq!(parts, [own, alone.clone()], "{joined}"),
        (Ok(whole), None) => assert_eq!((of_caller.is_empty(), whole), (true, own), "{joined}"),
        (Ok(_), Some(_)) => panic!("{joined} is no condition on top of another"),
        // Together they may be too much, and what is wrong alone stays so.
        (Err(error), Some(_)) => assert!(is_a_limit(&error), "{joined}: {error}"),
        (Err(_), None) => {}
    }
}

/// A policy's condition, with a parenthesis in a text.
const OWN: &str = "lang = \"a)\" OR stars = 7";

fn is_a_limit(error: &FilterError) -> bool {
    const { assert!(MAX_FILTER_BYTES > OWN.len() && MAX_COMPARISONS > 2) };
    matches!(error, FilterError::TooLong { .. } | FilterError::TooDeep { .. } | FilterError::TooManyComparisons { .. })
}
