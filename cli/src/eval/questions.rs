//! Questions with right answers, and questions that have none.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use trivium_ranking::{metrics::Judgements, random::SplitMix64};

use super::{beir::Set, labelled};

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Its text.
    pub text: String,
    /// Right answers, any of which will do; none when nothing in the collection answers it.
    pub answers: Vec<String>,
    /// The documents that hold the answer, where they are known.
    pub judgements: Option<Judgements<String>>,
}

impl Question {
    /// Whether it has an answer.
    pub fn is_answerable(&self) -> bool {
        !self.answers.is_empty()
    }
}

/// A line of a set's `queries.jsonl`.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: String,
    text: String,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    is_impossible: bool,
}

/// The questions of a folder in BEIR's layout whose `queries.jsonl` has `answers` or `is_impossible`.
///
/// # Errors
/// Names the line that is wrong; and when there are no such questions.
pub fn of_set(folder: &Path, split: &str) -> anyhow::Result<Vec<Question>> {
    let judged = Set::at(folder).queries(split)?;
    let mut judgements: HashMap<String, Judgements<String>> =
        judged.into_iter().map(|query| (query.id, query.judgements)).collect();
    let file = folder.join("queries.jsonl");
    let mut questions = Vec::new();
    for (number, line) in (1_u64..).zip(BufReader::new(fs_err::File::open(&file)?).lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&line).with_context(|| format!("{}, line {number}", file.display()))?;
        let judgements = judgements.remove(&line.id);
        // Without answers, and not said to have none, nothing can be right or wrong about it.
        if line.is_impossible || !line.answers.is_empty() {
            let answers = if line.is_impossible { Vec::new() } else { line.answers };
            questions.push(Question { text: line.text, answers, judgements });
        }
    }
    checked(questions, &file)
}

/// The questions of a file of labelled queries.
///
/// # Errors
/// As [`of_set`].
pub fn of_file(file: &Path) -> anyhow::Result<Vec<Question>> {
    let known = labelled::read(file)?.into_iter().filter(|it| it.unanswerable || !it.answers.is_empty());
    let question = |it: labelled::Labelled| Question {
        judgements: it.judged().map(|query| query.judgements),
        text: it.query,
        answers: if it.unanswerable { Vec::new() } else { it.answers },
    };
    checked(known.map(question).collect(), file)
}

fn checked(questions: Vec<Question>, file: &Path) -> anyhow::Result<Vec<Question>> {
    if questions.is_empty() {
        bail!("{} has no question with \"answers\" or \"is_impossible\"", file.display());
    }
    Ok(questions)
}

/// Keeps `count` of the questions, drawn by the seed, in their order.
pub fn sample<T>(items: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    let mut random = SplitMix64::new(seed);
    let mut chosen: Vec<usize> = (0..items.len()).collect();
    for place in 0..count.min(items.len()) {
        chosen.swap(place, place + random.below(items.len() - place));
    }
    chosen.truncate(count);
    chosen.sort_unstable();
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    chosen.into_iter().filter_map(|place| items[place].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_questions_with_and_without_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::create_dir(folder.path().join("qrels")).expect("made");
        let queries = concat!(
            "{\"_id\":\"1\",\"text\":\"one\",\"answers\":[\"a\"],\"is_impossible\":false}\n",
            "{\"_id\":\"2\",\"text\":\"two\",\"answers\":[\"b\"],\"is_impossible\":true}\n",
            "{\"_id\":\"3\",\"text\":\"three\"}\n",
        );
        fs_err::write(folder.path().join("queries.jsonl"), queries).expect("written");
        let judged = "query-id\tcorpus-id\tscore\n1\td\t1\n3\td\t1\n";
        fs_err::write(folder.path().join("qrels/test.tsv"), judged).expect("written");
        let questions = of_set(folder.path(), "test").expect("good");
        let judgements = Judgements::new([("d".to_owned(), 1)]).ok();
        let one = Question { text: "one".into(), answers: vec!["a".into()], judgements };
        let two = Question { text: "two".into(), answers: Vec::new(), judgements: None };
        assert_eq!(questions, [one, two]);
    }

    #[test]
    fn a_file_without_answers_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), "{\"query\":\"q\",\"documents\":[\"d\"]}\n").expect("written");
        assert!(of_file(file.path()).is_err_and(|error| error.to_string().contains("no question with \"answers\"")));
        let lines = "{\"query\":\"q\",\"answers\":[\"x\"]}\n{\"query\":\"r\",\"is_impossible\":true}\n";
        fs_err::write(file.path(), lines).expect("written");
        let questions = of_file(file.path()).expect("two");
        assert_eq!(questions.iter().map(Question::is_answerable).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_sample_is_drawn_by_its_seed_and_keeps_the_order() {
        let drawn = sample((0..100).collect(), 10, 3);
        assert_eq!(drawn.len(), 10);
        assert!(drawn.is_sorted());
        assert_eq!(drawn, sample((0..100).collect(), 10, 3));
        assert_ne!(drawn, sample((0..100).collect(), 10, 4));
        assert_eq!(sample(vec![1, 2], 10, 3), [1, 2]);
    }
}
