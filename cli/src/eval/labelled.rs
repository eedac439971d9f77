//! Labelled queries in JSON lines: what a user has at hand, and what feedback exports.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use trivium_ranking::metrics::Judgements;

use super::beir::Query;

/// One query with what is known of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labelled {
    /// The query.
    pub query: String,
    /// Its intent; empty when the line names none.
    pub intent: String,
    /// The right documents, with grades above 0.
    pub documents: BTreeMap<String, u32>,
    /// Right answers, any of which will do.
    pub answers: Vec<String>,
    /// Whether nothing in the collection answers it.
    pub unanswerable: bool,
}

/// Why labelled queries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LabelledError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("{}, line {line}: {why}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// There is nothing to use.
    #[error("{} holds no labelled query; {needed}", file.display())]
    Nothing {
        /// The file.
        file: PathBuf,
        /// What a line must have.
        needed: &'static str,
    },
}

/// A line: a query with all of its documents, or with one of them.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "text")]
    query: String,
    #[serde(default, alias = "label")]
    intent: String,
    #[serde(default)]
    documents: Vec<String>,
    document: Option<String>,
    #[serde(default = "relevant")]
    grade: u32,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    is_impossible: bool,
}

fn relevant() -> u32 {
    1
}

/// Reads a file. Lines of the same query and intent are put together, in the order of their first one.
///
/// # Errors
/// Names the line that is wrong.
pub fn read(file: &Path) -> Result<Vec<Labelled>, LabelledError> {
    let mut read: Vec<Labelled> = Vec::new();
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (number, line) in (1..).zip(BufReader::new(fs_err::File::open(file)?).lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let bad = |why: String| LabelledError::Line { file: file.to_owned(), line: number, why };
        let line: Line = serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
        if line.query.trim().is_empty() {
            return Err(bad("its query is empty".to_owned()));
        }
        let place = *places.entry((line.query.clone(), line.intent.clone())).or_insert_with(|| {
            read.push(Labelled { query: line.query, intent: line.intent, ..Labelled::default() });
            read.len() - 1
        });
        let documents = line.documents.into_iter().chain(line.document);
        read[place].documents.extend(documents.map(|id| (id, line.grade)).filter(|(_, grade)| *grade > 0));
        read[place].unanswerable |= line.is_impossible;
        read[place].answers.extend(line.answers.into_iter().filter(|answer| !answer.trim().is_empty()));
    }
    Ok(read)
}

/// The queries of a file that name documents.
///
/// # Errors
/// As [`read`], and when there are none.
pub fn queries(file: &Path) -> Result<Vec<Query>, LabelledError> {
    let queries: Vec<Query> = read(file)?.iter().filter_map(Labelled::judged).collect();
    let needed = "a line is {\"query\": \"...\", \"documents\": [\"id\", ...]}";
    if queries.is_empty() { Err(LabelledError::Nothing { file: file.to_owned(), needed }) } else { Ok(queries) }
}

impl Labelled {
    /// The query with its documents; `None` when it names none.
    pub fn judged(&self) -> Option<Query> {
        let judgements = Judgements::new(self.documents.clone()).ok()?;
        Some(Query { id: String::new(), text: self.query.clone(), judgements })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn lines_of_one_query_are_put_together() {
        let text = concat!(
            "{\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"intent\":\"i\"}\n\n",
            "{\"query\":\"r\",\"answers\":[\"yes\",\" \"]}\n",
            "{\"query\":\"q\",\"document\":\"c\",\"grade\":2,\"label\":\"i\"}\n",
            "{\"text\":\"s\",\"document\":\"c\",\"grade\":0}\n",
        );
        let file = file(text);
        let read = read(file.path()).expect("good");
        let documents = [("a".to_owned(), 1), ("b".to_owned(), 1), ("c".to_owned(), 2)].into();
        let first = Labelled { query: "q".into(), intent: "i".into(), documents, ..Labelled::default() };
        assert_eq!(read[0], first);
        assert_eq!(read[1].answers, ["yes"]);
        assert_eq!((read.len(), read[2].judged()), (3, None));
        assert_eq!(queries(file.path()).expect("one").len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let table = [
            ("{\"query\":\"q\"}\nnonsense\n", "line 2"),
            ("{\"documents\":[\"a\"]}\n", "missing field `query`"),
            ("{\"query\":\" \",\"documents\":[\"a\"]}\n", "its query is empty"),
            ("{\"query\":\"q\",\"grade\":-1}\n", "line 1"),
            ("{\"query\":\"q\"}\n", "holds no labelled query"),
            ("", "holds no labelled query"),
        ];
        for (text, expected) in table {
            let error = queries(file(text).path()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
