//! Labelled queries: JSON lines (`{"text": ..., "label": ...}`) or CSV with that header.

mod rows;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use rows::{BadLine, lines, records};

/// A label with more characters than this is refused: it is likely to be a text.
pub(super) const MOST_LABEL_CHARACTERS: usize = 128;

/// One labelled query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Example {
    /// The query.
    pub text: String,
    /// Its intent.
    pub label: String,
}

/// A labelled query with what its file says about its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted {
    /// The query.
    pub example: Example,
    /// A word for it, such as `near` or `far` for queries outside the scope; judged apart.
    pub kind: Option<String>,
}

/// A line of a file.
#[derive(Deserialize)]
struct Line {
    text: String,
    label: String,
    #[serde(default)]
    kind: Option<String>,
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
    #[error("{path}: no queries")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads labelled queries from a `.jsonl` or `.csv` file. Blank lines are passed over;
/// the first bad line is reported by its number.
pub fn read_examples(path: &Path) -> Result<Vec<Example>, DataError> {
    Ok(read_sorted(path)?.into_iter().map(|sorted| sorted.example).collect())
}

/// As [`read_examples`], with the optional field `kind`.
pub fn read_sorted(path: &Path) -> Result<Vec<Sorted>, DataError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let file = || Ok(BufReader::new(fs::File::open(path).map_err(|source| io_error(path, source))?));
    let parsed = match extension {
        Some("jsonl") => parse_json_lines(file()?),
        Some("csv") => parse_csv(file()?),
        _ => return Err(DataError::UnknownExtension { path: path.to_owned() }),
    };
    some_of(path, parsed)
}

/// Reads queries without labels: a line each, or JSON lines of `{"text": ...}` in a `.jsonl`
/// file. Blank lines are passed over.
pub fn read_texts(path: &Path) -> Result<Vec<String>, DataError> {
    let json = path.extension().is_some_and(|extension| extension == "jsonl");
    let file = fs::File::open(path).map_err(|source| io_error(path, source))?;
    let mut texts = Vec::new();
    let parsed = lines(BufReader::new(file), |number, line| {
        texts.push(if json { text_of(line, number)? } else { line.trim().to_owned() });
        Ok(())
    });
    some_of(path, parsed.map(|()| texts))
}

fn io_error(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source }
}

/// What was parsed, unless a line is bad or there is nothing.
fn some_of<T>(path: &Path, parsed: Result<Vec<T>, BadLine>) -> Result<Vec<T>, DataError> {
    match parsed {
        Err((line, reason)) => Err(DataError::Line { path: path.to_owned(), line, reason }),
        Ok(rows) if rows.is_empty() => Err(DataError::Empty { path: path.to_owned() }),
        Ok(rows) => Ok(rows),
    }
}

fn text_of(line: &str, number: u64) -> Result<String, BadLine> {
    #[derive(Deserialize)]
    struct Text {
        text: String,
    }
    let parsed: Text = serde_json::from_str(line).map_err(|e| (number, e.to_string()))?;
    if parsed.text.trim().is_empty() { Err((number, "text is empty".to_owned())) } else { Ok(parsed.text) }
}

fn parse_json_lines(file: impl BufRead) -> Result<Vec<Sorted>, BadLine> {
    let mut examples = Vec::new();
    lines(file, |number, line| {
        let line = serde_json::from_str(line).map_err(|error| (number, error.to_string()))?;
        examples.push(checked(line, number)?);
        Ok(())
    })?;
    Ok(examples)
}

fn parse_csv(file: impl Read) -> Result<Vec<Sorted>, BadLine> {
    let mut examples = Vec::new();
    records(file, |line, headers, record| {
        let parsed = record.deserialize(Some(headers)).map_err(|error| (line, error.to_string()))?;
        examples.push(checked(parsed, line)?);
        Ok(())
    })?;
    Ok(examples)
}

fn checked(line: Line, number: u64) -> Result<Sorted, BadLine> {
    for (field, value) in [("text", &line.text), ("label", &line.label)] {
        if value.trim().is_empty() {
            return Err((number, format!("{field} is empty")));
        }
    }
    let Line { text, label, kind } = line;
    if label.chars().count() > MOST_LABEL_CHARACTERS {
        let shown: String = label.chars().take(20).collect();
        return Err((number, format!("label {shown:?}... is longer than {MOST_LABEL_CHARACTERS} characters")));
    }
    if label.chars().any(char::is_control) || label.trim() != label {
        return Err((number, format!("label {label:?} has control characters, or white space around it")));
    }
    let kind = kind.filter(|kind| !kind.trim().is_empty());
    Ok(Sorted { example: Example { text, label }, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str, label: &str) -> Sorted {
        Sorted { example: Example { text: text.to_owned(), label: label.to_owned() }, kind: None }
    }

    #[test]
    fn kinds_are_read_where_there_are_any() {
        let far = Sorted { kind: Some("far".to_owned()), ..example("a", "oos") };
        let json = "{\"text\":\"a\",\"label\":\"oos\",\"kind\":\"far\"}\n{\"text\":\"b\",\"label\":\"c\"}";
        assert_eq!(parse_json_lines(json.as_bytes()).unwrap(), [far.clone(), example("b", "c")]);
        assert_eq!(parse_csv("text,label,kind\na,oos,far\nb,c,\n".as_bytes()).unwrap(), [far, example("b", "c")]);
    }

    #[test]
    fn both_formats_hold_the_same() {
        let json =
            "{\"text\":\"hi, you\",\"label\":\"small_talk\"}\n\n{\"text\":\"b\",\"label\":\"c\",\"source\":\"x\"}\n";
        let csv = "label,text\nsmall_talk,\"hi, you\"\nc,b\n";
        let expected = [example("hi, you", "small_talk"), example("b", "c")];
        assert_eq!(parse_json_lines(json.as_bytes()).unwrap(), expected);
        assert_eq!(parse_csv(csv.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn the_bad_line_is_numbered() {
        for (text, line) in [
            ("{\"text\":\"a\",\"label\":\"b\"}\n\nnot json", 3),
            ("{\"text\":\"a\"}", 1),
            ("{\"text\":\" \",\"label\":\"b\"}", 1),
        ] {
            assert_eq!(parse_json_lines(text.as_bytes()).unwrap_err().0, line, "{text}");
        }
        for (text, line) in [("text,label\na,b\nc\n", 3), ("text,label\na,\n", 2), ("text,intent\na,b\n", 2)] {
            assert_eq!(parse_csv(text.as_bytes()).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn labels_with_odd_characters_are_refused_by_their_line() {
        for label in ["a\u{7}b", "two\nlines", " padded", "padded ", &"x".repeat(129)] {
            let rows =
                format!("{{\"text\":\"a\",\"label\":\"b\"}}\n{}", serde_json::json!({"text": "c", "label": label}));
            let (line, reason) = parse_json_lines(rows.as_bytes()).unwrap_err();
            assert_eq!(line, 2, "{label:?}");
            assert!(reason.starts_with("label"), "{reason}");
        }
        let rows = serde_json::json!({"text": "c", "label": "Grüße & 日本 (2)"}).to_string();
        assert_eq!(parse_json_lines(rows.as_bytes()).unwrap().len(), 1);
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
        let texts = |name, content| read_texts(&path(name, content));
        assert_eq!(texts("b.txt", " one\n\ntwo \n").unwrap(), ["one", "two"]);
        assert_eq!(texts("b.jsonl", "{\"text\":\"one\",\"label\":\"x\"}\n").unwrap(), ["one"]);
        assert!(matches!(texts("c.jsonl", "\nnone\n").unwrap_err(), DataError::Line { line: 2, .. }));
        assert!(matches!(texts("c.txt", " \n").unwrap_err(), DataError::Empty { .. }));
        let error = read_examples(&folder.path().join("absent.csv")).unwrap_err();
        assert!(matches!(error, DataError::Io { .. }));
    }
}
