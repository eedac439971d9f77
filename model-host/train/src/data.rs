//! The splits of a run, checked against each other.

use std::collections::BTreeMap;

use trivium_model_host::intent::{Example, Splits};

/// Without validation data, every fifth query of each label is held out for it.
const HELD_OUT: usize = 5;
/// At most so many labels are named in an error.
const NAMED: usize = 10;

/// Why queries cannot be trained on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A split has no queries in scope.
    #[error("the {0} data holds no queries in scope; at least two labels with two queries each are needed")]
    Empty(&'static str),
    /// There is nothing to tell apart.
    #[error("all training queries in scope have the label {0:?}; at least two labels are needed")]
    OneLabel(String),
    /// A label has a single training query.
    #[error("label {0:?} has a single training query; write more for it, or leave it out")]
    LoneQuery(String),
    /// Labels occur in validation or test data only.
    #[error(
        "the {split} data has {count} labels that the training data has not: {labels}; correct them or leave them out"
    )]
    Unseen {
        /// `validation` or `test`.
        split: &'static str,
        /// How many there are.
        count: usize,
        /// The first of them.
        labels: String,
    },
}

/// Splits that a run can work with.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) train: Vec<Example>,
    pub(crate) valid: Vec<Example>,
    pub(crate) test: Option<Vec<Example>>,
    /// The labels in scope, sorted.
    pub(crate) labels: Vec<String>,
}

impl Data {
    /// Checks the splits. Queries with the label `outside` are out of scope, and no label is
    /// learned for them; with `None`, every label is learned.
    pub(crate) fn new(splits: Splits<'_>, outside: Option<&str>) -> Result<Self, DataError> {
        let labels = labels(splits.train, outside)?;
        let (train, valid) = match splits.valid {
            Some(valid) => (splits.train.to_vec(), valid.to_vec()),
            None => hold_out(splits.train),
        };
        let test = splits.test.map(<[Example]>::to_vec);
        let data = Self { train, valid, test, labels };
        data.check("validation", &data.valid, outside)?;
        if let Some(test) = &data.test {
            data.check("test", test, outside)?;
        }
        Ok(data)
    }

    /// The splits, as the assembly of a bundle takes them.
    pub(crate) fn splits(&self) -> Splits<'_> {
        Splits { train: &self.train, valid: Some(&self.valid), test: self.test.as_deref() }
    }

    /// The number of a label; `None` if it is out of scope.
    pub(crate) fn label(&self, example: &Example) -> Option<usize> {
        self.labels.binary_search(&example.label).ok()
    }

    fn check(&self, split: &'static str, examples: &[Example], outside: Option<&str>) -> Result<(), DataError> {
        if !examples.iter().any(|example| self.label(example).is_some()) {
            return Err(DataError::Empty(split));
        }
        let unseen =
            examples.iter().filter(|example| Some(example.label.as_str()) != outside && self.label(example).is_none());
        let unseen: BTreeMap<&str, ()> = unseen.map(|example| (example.label.as_str(), ())).collect();
        if unseen.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = unseen.keys().take(NAMED).map(|label| format!("{label:?}")).collect();
        Err(DataError::Unseen { split, count: unseen.len(), labels: named.join(", ") })
    }
}

/// The labels in scope of the training data, sorted.
fn labels(train: &[Example], outside: Option<&str>) -> Result<Vec<String>, DataError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for example in train.iter().filter(|example| Some(example.label.as_str()) != outside) {
        *counts.entry(&example.label).or_default() += 1;
    }
    if let Some((label, _)) = counts.iter().find(|(_, count)| **count < 2) {
        return Err(DataError::LoneQuery((*label).to_owned()));
    }
    let labels: Vec<String> = counts.into_keys().map(str::to_owned).collect();
    match labels.as_slice() {
        [] => Err(DataError::Empty("training")),
        [label] => Err(DataError::OneLabel(label.clone())),
        _ => Ok(labels),
    }
}

/// Every fifth query of a label, and the last of one with fewer: each label is in both parts.
fn hold_out(train: &[Example]) -> (Vec<Example>, Vec<Example>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for example in train {
        *counts.entry(&example.label).or_default() += 1;
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let (kept, held): (Vec<&Example>, Vec<&Example>) = train.iter().partition(|example| {
        let place = seen.entry(&example.label).or_default();
        *place += 1;
        let last_of_few = counts[example.label.as_str()] < HELD_OUT && *place == counts[example.label.as_str()];
        !(last_of_few || place.is_multiple_of(HELD_OUT))
    });
    (kept.into_iter().cloned().collect(), held.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(labels: &[&str]) -> Vec<Example> {
        let example =
            |(number, label): (usize, &&str)| Example { text: format!("query {number}"), label: (*label).to_owned() };
        labels.iter().enumerate().map(example).collect()
    }

    fn data(train: &[&str], valid: Option<&[&str]>, test: Option<&[&str]>) -> Result<Data, DataError> {
        let (train, valid, test) = (examples(train), valid.map(examples), test.map(examples));
        Data::new(Splits { train: &train, valid: valid.as_deref(), test: test.as_deref() }, Some("oos"))
    }

    #[test]
    fn data_that_cannot_be_trained_on_is_refused_by_what_is_wrong() {
        for (train, valid, expected) in [
            (&[][..], None, DataError::Empty("training")),
            (&["oos", "oos"], None, DataError::Empty("training")),
            (&["a", "a", "oos"], None, DataError::OneLabel("a".to_owned())),
            (&["a", "a", "b"], None, DataError::LoneQuery("b".to_owned())),
            (&["a", "a", "b", "b"], Some(&[][..]), DataError::Empty("validation")),
            (&["a", "a", "b", "b"], Some(&["oos"]), DataError::Empty("validation")),
            (
                &["a", "a", "b", "b"],
                Some(&["a", "d", "c", "d"]),
                DataError::Unseen { split: "validation", count: 2, labels: "\"c\", \"d\"".to_owned() },
            ),
        ] {
            assert_eq!(data(train, valid, None).unwrap_err(), expected);
        }
        let error = data(&["a", "a", "b", "b"], Some(&["a"]), Some(&["a", "z"])).unwrap_err();
        assert!(matches!(error, DataError::Unseen { split: "test", .. }), "{error}");
    }

    #[test]
    fn out_of_scope_queries_are_allowed_everywhere_and_learned_nowhere() {
        let data = data(&["a", "a", "b", "b", "oos"], Some(&["a", "oos"]), Some(&["oos", "b"])).unwrap();
        assert_eq!(data.labels, ["a", "b"]);
        assert_eq!(data.train.len(), 5);
        assert_eq!(data.label(&data.train[4]), None);
    }

    #[test]
    fn without_validation_data_each_label_lends_some() {
        let data = data(&["a", "a", "a", "a", "a", "a", "b", "b"], None, None).unwrap();
        let labels = |examples: &[Example]| examples.iter().map(|e| e.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels(&data.valid), ["a", "b"]);
        assert_eq!(labels(&data.train), ["a", "a", "a", "a", "a", "b"]);
    }
}
