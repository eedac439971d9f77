//! Sets in BEIR's layout: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.
//!
//! Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of
//! Information Retrieval Models", NeurIPS 2021.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use trivium_ranking::metrics::Judgements;

/// A query with what is relevant to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Which documents are relevant, and how much.
    pub judgements: Judgements<String>,
}

/// Why a set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BeirError {
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("{file}, line {line}: {why}")]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A query is judged, and not there.
    #[error("{file} judges query {id:?}, which queries.jsonl does not have")]
    NoSuchQuery {
        /// The judgements.
        file: PathBuf,
        /// The query's id.
        id: String,
    },
    /// No query has anything relevant to it.
    #[error("{0} names no relevant document for any query")]
    NothingJudged(PathBuf),
}

/// A folder in BEIR's layout.
#[derive(Debug, Clone)]
pub struct Set {
    folder: PathBuf,
}

impl Set {
    /// The set in `folder`; nothing is read yet.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file of the documents.
    pub fn corpus(&self) -> PathBuf {
        self.folder.join("corpus.jsonl")
    }

    /// A collection's name that stands for exactly these documents: the folder's
    /// name, and the beginning of the SHA-256 of the corpus.
    ///
    /// # Errors
    /// When the corpus cannot be read.
    pub fn collection_name(&self) -> Result<String, BeirError> {
        let mut hasher = Sha256::new();
        let mut reader = BufReader::new(fs_err::File::open(self.corpus())?);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let digest: String = hasher.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let folder = self.folder.canonicalize()?;
        let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(40).collect();
        Ok(format!("eval-{name}-{digest}"))
    }

    /// The judged queries of one split, in the order of their ids. Queries
    /// without a relevant document are left out: no ranking can be right or wrong about them.
    ///
    /// # Errors
    /// Names the file and the line that cannot be read.
    pub fn queries(&self, split: &str) -> Result<Vec<Query>, BeirError> {
        let judged = self.folder.join("qrels").join(format!("{split}.tsv"));
        let mut texts = read_texts(&self.folder.join("queries.jsonl"))?;
        let mut queries = Vec::new();
        for (id, grades) in read_judgements(&judged)? {
            let Ok(judgements) = Judgements::new(grades) else { continue };
            let Some(text) = texts.remove(&id) else { return Err(BeirError::NoSuchQuery { file: judged, id }) };
            queries.push(Query { id, text, judgements });
        }
        if queries.is_empty() { Err(BeirError::NothingJudged(judged)) } else { Ok(queries) }
    }
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

fn read_texts(file: &Path) -> Result<BTreeMap<String, String>, BeirError> {
    let mut texts = BTreeMap::new();
    for (number, line) in (1..).zip(BufReader::new(fs_err::File::open(file)?).lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let parsed: QueryLine = serde_json::from_str(&line).map_err(|error| BeirError::Line {
            file: file.to_owned(),
            line: number,
            why: error.to_string(),
        })?;
        texts.insert(parsed.id, parsed.text);
    }
    Ok(texts)
}

/// Grades by document, by query.
type Grades = BTreeMap<String, BTreeMap<String, u32>>;

/// Lines of query, document and grade after a line of headings. Grades below 0,
/// which some sets have for spam, count as 0.
fn read_judgements(file: &Path) -> Result<Grades, BeirError> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').quoting(false).from_reader(fs_err::File::open(file)?);
    let mut grades = Grades::new();
    for (line, record) in (2..).zip(reader.deserialize::<(String, String, i64)>()) {
        let (query, document, grade) =
            record.map_err(|error| BeirError::Line { file: file.to_owned(), line, why: error.to_string() })?;
        let grade = u32::try_from(grade.max(0)).unwrap_or(u32::MAX);
        grades.entry(query).or_default().insert(document, grade);
    }
    Ok(grades)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(queries: &str, judged: &str) -> (tempfile::TempDir, Set) {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::create_dir(folder.path().join("qrels")).expect("made");
        for (name, content) in [("queries.jsonl", queries), ("qrels/test.tsv", judged), ("corpus.jsonl", "{}\n")] {
            fs_err::write(folder.path().join(name), content).expect("written");
        }
        let set = Set::at(folder.path());
        (folder, set)
    }

    const QUERIES: &str = "{\"_id\":\"1\",\"text\":\"one\",\"metadata\":{}}\n{\"_id\":\"2\",\"text\":\"two\"}\n";

    #[test]
    fn queries_come_with_their_judgements() {
        let (_folder, set) = set(QUERIES, "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n2\tc\t0\n");
        let queries = set.queries("test").expect("good");
        let judgements = Judgements::new([("a".to_owned(), 2)]).expect("relevant");
        assert_eq!(queries, [Query { id: "1".into(), text: "one".into(), judgements }]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let table = [
            (QUERIES, "query-id\tcorpus-id\tscore\n1\ta\tmany\n", "line 2"),
            (QUERIES, "query-id\tcorpus-id\tscore\n9\ta\t1\n", "judges query \"9\""),
            (QUERIES, "query-id\tcorpus-id\tscore\n1\ta\t0\n", "names no relevant document"),
            ("nonsense\n", "query-id\tcorpus-id\tscore\n1\ta\t1\n", "line 1"),
        ];
        for (queries, judged, expected) in table {
            let (_folder, set) = set(queries, judged);
            let error = set.queries("test").expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_collection_is_named_after_folder_and_content() {
        let (folder, set) = set(QUERIES, "");
        let first = set.collection_name().expect("readable");
        assert!(first.starts_with("eval-") && first.len() <= 63, "{first}");
        assert!(first.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')));
        fs_err::write(folder.path().join("corpus.jsonl"), "{\"changed\":1}\n").expect("written");
        assert_ne!(set.collection_name().expect("readable"), first);
    }
}
