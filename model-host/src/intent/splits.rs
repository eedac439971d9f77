//! Labelled queries for fitting, calibrating and reporting, checked against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Example, FitError};

/// Without validation data, every fifth query of each label is held out for it.
const HELD_OUT: usize = 5;

/// Labelled queries, split.
#[derive(Clone, Copy, Debug)]
pub struct Splits<'a> {
    /// Fitted on.
    pub train: &'a [Example],
    /// Regularisation, temperature and thresholds are chosen on it. Without it, a fifth of
    /// the training data is held out.
    pub valid: Option<&'a [Example]>,
    /// Reported on.
    pub test: Option<&'a [Example]>,
}

/// The splits, with the queries outside the scope apart where no label is for them.
pub(super) struct Queries<'a> {
    pub(super) train: Vec<&'a Example>,
    pub(super) valid: Vec<&'a Example>,
    /// Queries of the training and validation data that are outside the scope, and so on
    /// the evidence for a score. Empty where a label is for them.
    pub(super) outside: Vec<&'a Example>,
    /// With those outside the scope; empty when there is no test data.
    pub(super) test: Vec<&'a Example>,
    /// The labels of the training data, sorted.
    pub(super) labels: Vec<String>,
}

impl<'a> Queries<'a> {
    /// Takes the splits apart. `outside` is the label of queries outside the scope if they are
    /// told by a score, and `None` if a label is for them.
    pub(super) fn new(splits: Splits<'a>, outside: Option<&str>) -> Result<Self, FitError> {
        let (train, valid) = match splits.valid {
            Some(valid) => (splits.train.iter().collect(), valid.iter().collect()),
            None => hold_out(splits.train),
        };
        let test: Vec<&Example> = splits.test.unwrap_or_default().iter().collect();
        if splits.test.is_some() && test.is_empty() {
            return Err(FitError::EmptySplit("test"));
        }
        let is_outside = |example: &&Example| Some(example.label.as_str()) == outside;
        let (mut outsiders, train): (Vec<_>, Vec<_>) = train.into_iter().partition(is_outside);
        let (more, valid): (Vec<_>, Vec<_>) = valid.into_iter().partition(is_outside);
        outsiders.extend(more);
        let queries = Self { labels: labels_of(&train)?, train, valid, outside: outsiders, test };
        queries.check(outside)?;
        Ok(queries)
    }

    /// The index of each query's label; all queries are in scope.
    pub(super) fn label_indices(&self, examples: &[&Example]) -> Vec<usize> {
        examples.iter().map(|example| self.labels.binary_search(&example.label).unwrap_or(0)).collect()
    }

    fn check(&self, outside: Option<&str>) -> Result<(), FitError> {
        if self.valid.is_empty() {
            return Err(FitError::EmptySplit("validation"));
        }
        check_labels("validation", &self.valid, &self.labels, outside)?;
        check_labels("test", &self.test, &self.labels, outside)
    }
}

fn hold_out(train: &[Example]) -> (Vec<&Example>, Vec<&Example>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    train.iter().partition(|example| {
        let count = seen.entry(&example.label).or_default();
        *count += 1;
        !count.is_multiple_of(HELD_OUT)
    })
}

/// The labels of the training data, sorted.
fn labels_of(train: &[&Example]) -> Result<Vec<String>, FitError> {
    let labels: BTreeSet<&String> = train.iter().map(|example| &example.label).collect();
    if labels.len() < 2 {
        return Err(FitError::TooFewLabels(labels.len()));
    }
    Ok(labels.into_iter().cloned().collect())
}

fn check_labels(
    split: &'static str,
    examples: &[&Example],
    labels: &[String],
    outside: Option<&str>,
) -> Result<(), FitError> {
    let unknown =
        |example: &&&Example| Some(example.label.as_str()) != outside && labels.binary_search(&example.label).is_err();
    match examples.iter().find(unknown) {
        None => Ok(()),
        Some(example) => Err(FitError::UnknownLabel { label: example.label.clone(), split }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(labels: &[&str]) -> Vec<Example> {
        let numbered = labels.iter().enumerate();
        numbered.map(|(i, label)| Example { text: format!("query {i}"), label: (*label).to_owned() }).collect()
    }

    #[test]
    fn outsiders_are_set_apart_where_a_score_tells_them() {
        let train = examples(&["a", "b", "oos", "a"]);
        let valid = examples(&["a", "oos"]);
        let test = examples(&["b", "oos"]);
        let splits = Splits { train: &train, valid: Some(&valid), test: Some(&test) };
        let queries = Queries::new(splits, Some("oos")).unwrap();
        assert_eq!(queries.labels, ["a", "b"]);
        let sizes = [queries.train.len(), queries.valid.len(), queries.outside.len(), queries.test.len()];
        assert_eq!(sizes, [3, 1, 2, 2]);
        let queries = Queries::new(splits, None).unwrap();
        assert_eq!(queries.labels, ["a", "b", "oos"]);
        assert!(queries.outside.is_empty());
    }

    #[test]
    fn a_fifth_of_each_label_is_held_out() {
        let train = examples(&["a", "b"].repeat(10));
        let queries = Queries::new(Splits { train: &train, valid: None, test: None }, Some("oos")).unwrap();
        assert_eq!((queries.train.len(), queries.valid.len()), (16, 4));
    }

    #[test]
    fn validation_data_of_outsiders_alone_are_refused() {
        let (train, valid) = (examples(&["a", "b"]), examples(&["oos"]));
        let splits = Splits { train: &train, valid: Some(&valid), test: None };
        assert!(matches!(Queries::new(splits, Some("oos")), Err(FitError::EmptySplit("validation"))));
        assert!(matches!(Queries::new(splits, None), Err(FitError::UnknownLabel { .. })));
    }
}
