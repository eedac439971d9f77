//! JSON lines: one document on each line.

use std::io::{self, BufRead, Read};

use serde::Deserialize;
use serde_json::{Map, Value};
use trivium_proto::retriever::v1::{ContentType, Document};

use super::MAX_DOCUMENT_BYTES;
use crate::metadata::to_struct;

/// A line of input. BEIR's corpora call the id `_id`. Keys that the contract does
/// not have are kept as metadata.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with id and text")]
struct Line {
    #[serde(alias = "_id")]
    id: Id,
    #[serde(default)]
    title: Option<String>,
    text: String,
    #[serde(default, alias = "url")]
    uri: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Ids are texts; numbers are taken as they are written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

/// Parses one line into a document of plain text.
///
/// # Errors
/// Says what is wrong, and in which column.
pub fn parse(line: &str) -> Result<Document, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| describe(&error))?;
    if line.text.trim().is_empty() {
        return Err("text is empty".to_owned());
    }
    if line.text.contains('\0') {
        return Err("text holds a zero character".to_owned());
    }
    let mut metadata = line.others;
    metadata.extend(line.metadata.unwrap_or_default());
    Ok(Document {
        id: match line.id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        },
        title: line.title.unwrap_or_default(),
        text: line.text,
        uri: line.uri.unwrap_or_default(),
        content_type: ContentType::Plain.into(),
        language: String::new(),
        metadata: (!metadata.is_empty()).then(|| to_struct(metadata)),
        vector: None,
    })
}

/// serde_json counts lines, and each of ours is its first.
fn describe(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    match error.column() {
        0 => format!("no document: {words}"),
        column => format!("no document: {words} (column {column})"),
    }
}

/// One line of a file, as it was read.
#[derive(Debug, PartialEq, Eq)]
pub enum RawLine {
    /// Its bytes, without the line end.
    Bytes(Vec<u8>),
    /// It is longer than a document may be; its length.
    TooLong(u64),
}

/// Reads the next line without ever holding more than the limit in memory.
/// Gives the line and the bytes that were read for it; `None` at the end.
///
/// # Errors
/// When the file cannot be read.
pub fn next_line(reader: &mut impl BufRead) -> io::Result<Option<(RawLine, u64)>> {
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES + 1;
    let mut read = reader.by_ref().take(limit).read_until(b'\n', &mut bytes)? as u64;
    if read == 0 {
        return Ok(None);
    }
    if read == limit && bytes.last() != Some(&b'\n') {
        read += skip_line(reader)?;
        return Ok(Some((RawLine::TooLong(read), read)));
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(Some((RawLine::Bytes(bytes), read)))
}

/// Reads on to the end of the line, piece by piece.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let available = reader.fill_buf()?;
        let (used, ended) = match available.iter().position(|byte| *byte == b'\n') {
            Some(position) => (position + 1, true),
            None => (available.len(), available.is_empty()),
        };
        reader.consume(used);
        skipped += used as u64;
        if ended {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metadata::from_struct;

    fn metadata_of(document: Document) -> Value {
        Value::Object(from_struct(&document.metadata.expect("some")))
    }

    #[test]
    fn the_contract_and_beir_are_read() {
        let line = r#"{"id":"a","title":"T","text":"x","uri":"u","metadata":{"year":2024}}"#;
        let document = parse(line).expect("good");
        assert_eq!((document.id.as_str(), document.title.as_str(), document.uri.as_str()), ("a", "T", "u"));
        assert_eq!(metadata_of(document), json!({"year": 2024}));
        let document = parse(r#"{"_id":4983,"title":"","text":"x","metadata":{}}"#).expect("good");
        assert_eq!((document.id.as_str(), document.metadata.is_none()), ("4983", true));
        let document = parse(r#"{"id":"a","text":"x","team":"ops","metadata":{"team":"web"},"n":1}"#).expect("good");
        assert_eq!(metadata_of(document), json!({"team": "web", "n": 1}));
    }

    #[test]
    fn what_is_no_document_is_explained() {
        let table = [
            ("", "no document: EOF while parsing a value"),
            ("{\"id\":\"a\"}", "no document: missing field `text` (column 10)"),
            ("{\"text\":\"a\"}", "no document: missing field `id` (column 12)"),
            ("{\"id\":\"a\",\"text\":\" \"}", "text is empty"),
            ("{\"id\":\"a\",\"text\":\"a\\u0000b\"}", "text holds a zero character"),
            ("[1]", "no document: invalid type: sequence, expected an object with id and text"),
        ];
        for (line, expected) in table {
            let error = parse(line).expect_err(line);
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }

    #[test]
    fn lines_are_read_with_either_end_and_long_ones_are_passed_over() {
        let long = usize::try_from(MAX_DOCUMENT_BYTES).expect("fits") + 10;
        let mut input = b"one\r\n\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', long));
        input.extend(b"\nlast");
        let total = input.len() as u64;
        let mut reader = io::BufReader::new(io::Cursor::new(input));
        let mut lines = Vec::new();
        let mut read = 0;
        while let Some((line, bytes)) = next_line(&mut reader).expect("readable") {
            lines.push(line);
            read += bytes;
        }
        let expected = [
            RawLine::Bytes(b"one".to_vec()),
            RawLine::Bytes(Vec::new()),
            RawLine::TooLong(long as u64 + 1),
            RawLine::Bytes(b"last".to_vec()),
        ];
        assert_eq!(lines, expected);
        assert_eq!(read, total);
    }
}
