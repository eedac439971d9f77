//! How a model's weights were trained, for its manifest and report. Only what trained them
//! knows; nothing here is computed with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSummary {
    /// Seconds of the whole run.
    pub seconds: f64,
    /// The epoch, from 1, whose weights were kept; 0 if there were none.
    pub chosen_epoch: usize,
    /// What the run was told, by name: learning rates, batch size, seed and so on.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// What was found in the data, by name: examples, duplicates and so on.
    #[serde(default)]
    pub data: BTreeMap<String, usize>,
    /// What each epoch achieved, in order.
    #[serde(default)]
    pub epochs: Vec<EpochSummary>,
}

/// One pass over the training data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochSummary {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean loss over its steps.
    pub train_loss: f32,
    /// Mean loss on the validation data after it.
    pub valid_loss: f32,
    /// Share of the validation queries in scope that were decided rightly after it, 0 to 1.
    pub valid_accuracy: f32,
    /// Seconds that it took.
    pub seconds: f64,
}

/// The value of one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Count(i64),
    /// Any other number.
    Number(f64),
    /// A word.
    Text(String),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Count(count) => count.fmt(formatter),
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}
