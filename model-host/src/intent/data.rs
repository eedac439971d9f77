//! Labelled queries: JSON lines (`{"text": ..., "label": ...}`) or CSV with that header.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

/// One labelled query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Example {
    /// The query.
    pub text: String,
    /// Its intent.
    pub label: String,
}

/// Why labelled queries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read, or is not UTF-8.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A line is not a labelled query.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file's name does not say which of the two formats it has.
    #[error("{path}: the name must end in .jsonl or .csv")]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// No line holds a query.
    #[error("{path}: no labelled queries")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads labelled queries from a `.jsonl` or `.csv` file. Blank lines are passed over;
/// the first bad line is reported by its number.
pub fn read_examples(path: &Path) -> Result<Vec<Example>, DataError> {
    let text = fs::read_to_string(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let parsed = match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => parse_json_lines(&text),
        Some("csv") => parse_csv(&text),
        _ => {
            return Err(DataError::UnknownExtension { path: path.to_owned() });
        }
    };
    match parsed {
        Err((line, reason)) => Err(DataError::Line { path: path.to_owned(), line, reason }),
        Ok(examples) if examples.is_empty() => Err(DataError::Empty { path: path.to_owned() }),
        Ok(examples) => Ok(examples),
    }
}

/// The number of a line, and what is wrong with it.
type BadLine = (u64, String);

fn parse_json_lines(text: &str) -> Result<Vec<Example>, BadLine> {
    text.lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| {
            let example = serde_json::from_str(line).map_err(|e| (number, e.to_string()))?;
            checked(example, number)
        })
        .collect()
}

fn parse_csv(text: &str) -> Result<Vec<Example>, BadLine> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|e| (1, e.to_string()))?.clone();
    let mut examples = Vec::new();
    for record in reader.records() {
        let line_of = |position: Option<&csv::Position>| position.map_or(1, csv::Position::line);
        let record = record.map_err(|e| (line_of(e.position()), e.to_string()))?;
        let line = line_of(record.position());
        let example = record.deserialize(Some(&headers)).map_err(|e| (line, e.to_string()))?;
        examples.push(checked(example, line)?);
    }
    Ok(examples)
}

fn checked(example: Example, line: u64) -> Result<Example, BadLine> {
    for (field, value) in [("text", &example.text), ("label", &example.label)] {
        if value.trim().is_empty() {
            return Err((line, format!("{field} is empty")));
        }
    }
    Ok(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str, label: &str) -> Example {
        Example { text: text.to_owned(), label: label.to_owned() }
    }

    #[test]
    fn both_formats_hold_the_same() {
        let json =
            "{\"text\":\"hi, you\",\"label\":\"small_talk\"}\n\n{\"text\":\"b\",\"label\":\"c\",\"source\":\"x\"}\n";
        let csv = "label,text\nsmall_talk,\"hi, you\"\nc,b\n";
        let expected = [example("hi, you", "small_talk"), example("b", "c")];
        assert_eq!(parse_json_lines(json).unwrap(), expected);
        assert_eq!(parse_csv(csv).unwrap(), expected);
    }

    #[test]
    fn the_bad_line_is_numbered() {
        for (text, line) in [
            ("{\"text\":\"a\",\"label\":\"b\"}\n\nnot json", 3),
            ("{\"text\":\"a\"}", 1),
            ("{\"text\":\" \",\"label\":\"b\"}", 1),
        ] {
            assert_eq!(parse_json_lines(text).unwrap_err().0, line, "{text}");
        }
        for (text, line) in [("text,label\na,b\nc\n", 3), ("text,label\na,\n", 2), ("text,intent\na,b\n", 2)] {
            assert_eq!(parse_csv(text).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn files_are_known_by_their_extension() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let error = read_examples(&path("a.txt", "x")).unwrap_err();
        assert!(matches!(error, DataError::UnknownExtension { .. }));
        let error = read_examples(&path("a.jsonl", "\n")).unwrap_err();
        assert!(matches!(error, DataError::Empty { .. }));
        let error = read_examples(&folder.path().join("absent.csv")).unwrap_err();
        assert!(matches!(error, DataError::Io { .. }));
    }
}
