//! Checks that several services make on what callers send.

use uuid::Uuid;

use crate::{Error, Reason};

/// The longest query, in Unicode code points.
pub const MAX_QUERY_CHARS: usize = 8_192;

/// The longest request id, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

/// Checks a query: not blank, at most [`MAX_QUERY_CHARS`] code points, no control
/// characters but line ends and tabs.
///
/// # Errors
/// `QUERY_EMPTY`, `QUERY_TOO_LONG` or `FIELD_INVALID`, each naming `field`.
pub fn query(field: &str, text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::new(Reason::QueryEmpty, format!("{field} is empty")).with_field(field));
    }
    // The length in bytes bounds the count of code points from above, and is free.
    if text.len() > MAX_QUERY_CHARS {
        let chars = text.chars().count();
        if chars > MAX_QUERY_CHARS {
            let message = format!("{field} has {chars} code points; the limit is {MAX_QUERY_CHARS}");
            return Err(Error::new(Reason::QueryTooLong, message).with_field(field));
        }
    }
    no_control_characters(field, text)
}

/// Refuses control characters other than line feed, carriage return and tab.
///
/// # Errors
/// `FIELD_INVALID` naming `field`, the character and its place.
pub fn no_control_characters(field: &str, text: &str) -> Result<(), Error> {
    let found = text.chars().enumerate().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    match found {
        None => Ok(()),
        Some((place, c)) => {
            let message = format!("{field} has the control character U+{:04X} at code point {place}", u32::from(c));
            Err(Error::new(Reason::FieldInvalid, message).with_field(field))
        }
    }
}

/// Checks a number against its range.
///
/// # Errors
/// `FIELD_OUT_OF_RANGE` naming `field`, the value and the range.
pub fn in_range(field: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, Error> {
    if range.contains(&value) {
        return Ok(value);
    }
    let message = format!("{field} is {value}; it must be {} to {}", range.start(), range.end());
    Err(Error::new(Reason::FieldOutOfRange, message).with_field(field))
}

/// Refuses a field that is set and not served.
///
/// # Errors
/// `NOT_SERVED` naming `field`, when `is_set`.
pub fn not_served(field: &str, is_set: bool) -> Result<(), Error> {
    if is_set { Err(Error::not_served(field)) } else { Ok(()) }
}

/// The caller's request id, or a new one (UUID version 7, so that ids sort by time).
///
/// # Errors
/// `FIELD_INVALID` when it is longer than [`MAX_REQUEST_ID_BYTES`] or has characters that do not print.
pub fn request_id(given: &str) -> Result<String, Error> {
    if given.is_empty() {
        return Ok(Uuid::now_v7().to_string());
    }
    if given.len() > MAX_REQUEST_ID_BYTES || given.chars().any(char::is_control) {
        let message = format!("request_id must be at most {MAX_REQUEST_ID_BYTES} bytes without control characters");
        return Err(Error::new(Reason::FieldInvalid, message).with_field("request_id"));
    }
    Ok(given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_checked() {
        let long = "é".repeat(MAX_QUERY_CHARS);
        let too_long = format!("{long}é");
        let table = [
            ("where is it?", None),
            ("two\nlines\tand a tab", None),
            (long.as_str(), None),
            ("", Some(Reason::QueryEmpty)),
            (" \n\t", Some(Reason::QueryEmpty)),
            (too_long.as_str(), Some(Reason::QueryTooLong)),
            ("nul \0 inside", Some(Reason::FieldInvalid)),
            ("bell \u{7}", Some(Reason::FieldInvalid)),
        ];
        for (text, expected) in table {
            let outcome = query("query", text);
            assert_eq!(outcome.as_ref().err().map(Error::reason), expected, "{:.20}", text);
            if let Err(error) = outcome {
                assert_eq!(error.field(), Some("query"));
            }
        }
    }

    #[test]
    fn request_ids_are_kept_or_made() {
        assert_eq!(request_id("abc").as_deref(), Ok("abc"));
        assert_ne!(request_id("").expect("made"), request_id("").expect("made"));
        assert!(request_id(&"x".repeat(129)).is_err());
        assert!(request_id("a\nb").is_err());
    }
}
