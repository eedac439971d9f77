//! Sample queries from a file.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// A query, and the intent that a person gave it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Query {
    /// The query.
    pub text: String,
    /// The intent, where somebody said it.
    #[serde(default)]
    pub label: Option<String>,
}

/// Reads queries, one on a line; a line that begins with a brace is JSON.
///
/// # Errors
/// When the file cannot be read, holds no query, or a line of JSON is none. The line is named.
pub fn read(file: &Path) -> anyhow::Result<Vec<Query>> {
    let queries = parse(&fs_err::read_to_string(file)?).with_context(|| file.display().to_string())?;
    anyhow::ensure!(!queries.is_empty(), "{} holds no query", file.display());
    Ok(queries)
}

fn parse(text: &str) -> anyhow::Result<Vec<Query>> {
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    let query = |(line, number): (&str, usize)| match line.starts_with('{') {
        true => serde_json::from_str(line).with_context(|| format!("line {number}")),
        false => Ok(Query { text: line.to_owned(), label: None }),
    };
    lines.filter(|(line, _)| !line.is_empty()).map(query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_queries_or_json() {
        let text = "how do I reset it?\n\n  ERR_CONN_RESET \n{\"text\": \"hi\", \"label\": \"small_talk\", \"more\": 1}\n{\"text\": \"a\"}\n";
        let query = |text: &str, label: Option<&str>| Query { text: text.into(), label: label.map(str::to_owned) };
        let expected = [
            query("how do I reset it?", None),
            query("ERR_CONN_RESET", None),
            query("hi", Some("small_talk")),
            query("a", None),
        ];
        assert_eq!(parse(text).expect("right"), expected);
    }

    #[test]
    fn a_line_that_is_no_json_is_named() {
        let error = parse("a\n{\"label\": \"x\"}\n").expect_err("no text");
        assert!(format!("{error:#}").starts_with("line 2: missing field `text`"), "{error:#}");
    }
}
