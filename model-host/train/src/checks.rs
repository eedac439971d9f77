//! Looks through labelled queries before they are trained on.

mod suspects;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use trivium_model_host::intent::Example;

pub use suspects::Suspect;
pub(crate) use suspects::suspects;

/// A label with fewer training queries than this is reported: what the model makes of it is
/// chance.
const FEW: usize = 10;

/// Where a query was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The training data.
    Train,
    /// The validation data.
    Valid,
    /// The test data.
    Test,
}

impl std::fmt::Display for Split {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Train => "training",
            Self::Valid => "validation",
            Self::Test => "test",
        })
    }
}

/// A query by its place: the split, and its number there, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The split.
    pub split: Split,
    /// Its number among the queries of the file, from 1. Blank lines do not count.
    pub number: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.split, self.number)
    }
}

/// One query that is in the data more than once with one label, whether or not case,
/// punctuation and white space count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The query as it is written first.
    pub text: String,
    /// Its label.
    pub label: String,
    /// Its places; at least two.
    pub places: Vec<Place>,
}

/// One query with several labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// The query as it is written first.
    pub text: String,
    /// Its labels with the place of each; at least two different ones.
    pub labels: Vec<(String, Place)>,
}

/// A label with few training queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rare {
    /// The label.
    pub label: String,
    /// Its training queries.
    pub examples: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    /// Training queries that are there more than once.
    pub duplicates: Vec<Duplicate>,
    /// Validation and test queries that are also in the training data: what is measured on them
    /// is memory.
    pub leaks: Vec<Duplicate>,
    /// Queries with several labels, in any split.
    pub contradictions: Vec<Contradiction>,
    /// Labels with few training queries.
    pub rare: Vec<Rare>,
    /// Training queries that are likely to have the wrong label, surest first.
    pub suspects: Vec<Suspect>,
}

impl Findings {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many of each kind, by name, for a manifest.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        [
            ("duplicates", self.duplicates.len()),
            ("leaks", self.leaks.len()),
            ("contradictions", self.contradictions.len()),
            ("rare_labels", self.rare.len()),
            ("suspects", self.suspects.len()),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
    }
}

/// The splits that are looked through.
#[derive(Clone, Copy)]
pub(crate) struct Looked<'a> {
    pub(crate) train: &'a [Example],
    pub(crate) valid: &'a [Example],
    pub(crate) test: &'a [Example],
}

/// Everything that can be found without a model. `outside` is the label of queries outside the
/// scope, of which few are enough.
pub(crate) fn look_through(data: Looked<'_>, outside: Option<&str>) -> Findings {
    let mut findings = Findings { rare: rare(data.train, outside), ..Findings::default() };
    for group in groups(data) {
        let labels: BTreeMap<&str, Place> =
            group.iter().rev().map(|(place, example)| (example.label.as_str(), *place)).collect();
        let (_, first) = group[0];
        if labels.len() > 1 {
            let labels = labels.into_iter().map(|(label, place)| (label.to_owned(), place)).collect();
            findings.contradictions.push(Contradiction { text: first.text.clone(), labels });
            continue;
        }
        let places: Vec<Place> = group.iter().map(|(place, _)| *place).collect();
        let trained = places.iter().filter(|place| place.split == Split::Train).count();
        let duplicate = Duplicate { text: first.text.clone(), label: first.label.clone(), places };
        if trained > 0 && trained < duplicate.places.len() {
            findings.leaks.push(duplicate);
        } else if trained > 1 {
            findings.duplicates.push(duplicate);
        }
    }
    findings
}

/// Queries that are there more than once, in the order of their first places.
fn groups<'a>(data: Looked<'a>) -> Vec<Vec<(Place, &'a Example)>> {
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<(Place, &Example)>> = Vec::new();
    for (split, examples) in [(Split::Train, data.train), (Split::Valid, data.valid), (Split::Test, data.test)] {
        for (example, number) in examples.iter().zip(1..) {
            let group = *known.entry(plain(&example.text)).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push((Place { split, number }, example));
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// The letters and digits in lower case, words apart. A text with none of them is itself.
fn plain(text: &str) -> String {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    if words.is_empty() { text.to_owned() } else { words.join(" ") }
}

fn rare(train: &[Example], outside: Option<&str>) -> Vec<Rare> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for example in train.iter().filter(|example| Some(example.label.as_str()) != outside) {
        *counts.entry(&example.label).or_default() += 1;
    }
    let rare = counts.into_iter().filter(|(_, examples)| *examples < FEW);
    rare.map(|(label, examples)| Rare { label: label.to_owned(), examples }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(pairs: &[(&str, &str)]) -> Vec<Example> {
        pairs.iter().map(|(text, label)| Example { text: (*text).to_owned(), label: (*label).to_owned() }).collect()
    }

    fn look(train: &[(&str, &str)], valid: &[(&str, &str)], test: &[(&str, &str)]) -> Findings {
        let (train, valid, test) = (examples(train), examples(valid), examples(test));
        look_through(Looked { train: &train, valid: &valid, test: &test }, Some("oos"))
    }

    #[test]
    fn each_kind_is_found_with_its_places() {
        let findings = look(
            &[("Hello there!", "chat"), ("hello, there", "chat"), ("pay", "bill"), ("when?", "bill"), ("x", "oos")],
            &[("PAY", "bill")],
            &[("When", "chat"), ("new", "chat")],
        );
        let place = |split, number| Place { split, number };
        assert_eq!(findings.duplicates.len(), 1);
        assert_eq!(findings.duplicates[0].places, [place(Split::Train, 1), place(Split::Train, 2)]);
        assert_eq!(findings.leaks.len(), 1);
        assert_eq!(findings.leaks[0].places, [place(Split::Train, 3), place(Split::Valid, 1)]);
        assert_eq!(findings.contradictions.len(), 1);
        let labels = [("bill".to_owned(), place(Split::Train, 4)), ("chat".to_owned(), place(Split::Test, 1))];
        assert_eq!(findings.contradictions[0].labels, labels);
        assert_eq!(
            findings.rare.iter().map(|rare| (rare.label.as_str(), rare.examples)).collect::<Vec<_>>(),
            [("bill", 2), ("chat", 2)]
        );
        assert_eq!(findings.counts()["leaks"], 1);
    }

    #[test]
    fn queries_of_signs_alone_differ_by_their_signs() {
        assert!(look(&[("??", "a"), ("!!", "a")], &[], &[]).duplicates.is_empty());
        assert_eq!(look(&[("??", "a"), ("??", "a")], &[], &[]).duplicates.len(), 1);
    }

    #[test]
    fn clean_data_gives_no_findings() {
        let texts: Vec<String> = (0..20).map(|number| format!("query {number}")).collect();
        let train: Vec<(&str, &str)> =
            texts.iter().enumerate().map(|(n, text)| (text.as_str(), if n % 2 == 0 { "a" } else { "b" })).collect();
        assert!(look(&train, &[("other", "a")], &[("more", "b")]).is_empty());
    }
}
