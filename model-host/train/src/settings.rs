//! What a training run is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trivium_model_host::intent::Setting;

/// Settings of a run. Two runs with the same settings, data, encoder and number of threads give
/// the same weights, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Passes over the training texts; at least 1.
    pub epochs: usize,
    /// Texts whose gradients make one step; at least 1.
    pub batch: usize,
    /// Highest learning rate of the encoder.
    pub encoder_rate: f32,
    /// Highest learning rate of the head.
    pub head_rate: f32,
    /// Share of the steps over which the learning rates rise from zero, 0 to 1; over the rest
    /// they fall back, both linearly.
    pub warm_up: f32,
    /// Weight decay of the matrices of linear layers.
    pub decay: f32,
    /// Largest norm of a step's gradient; a longer one is shortened to it.
    pub clip: f32,
    /// Share of the elements that dropout zeroes, 0 to below 1.
    pub dropout: f32,
    /// Part of the target that label smoothing spreads over all labels, 0 to below 1.
    pub smoothing: f32,
    /// Layers, from the first, that do not train, together with the embeddings; with 0,
    /// everything trains.
    pub frozen_layers: usize,
    /// Epochs without a better result on the validation texts after which the run stops early;
    /// at least 1.
    pub patience: usize,
    /// Decides the head's first weights, the order of the texts and what dropout drops.
    pub seed: u64,
    /// Most tokens of one pass; a batch with more is cut, and its gradients are added up. Bounds
    /// the memory, and changes nothing but rounding and what dropout drops.
    pub pass_tokens: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 4,
            batch: 64,
            encoder_rate: 1e-4,
            head_rate: 2e-3,
            warm_up: 0.1,
            decay: 0.01,
            clip: 1.0,
            dropout: 0.1,
            smoothing: 0.05,
            frozen_layers: 0,
            patience: 2,
            seed: 1,
            pass_tokens: 2048,
        }
    }
}

/// A setting that no run can work with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} is {found}, but must be {expected}")]
pub struct InvalidSetting {
    /// The setting's name.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What it can be.
    pub expected: &'static str,
}

impl Settings {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// Names the first setting that is outside its range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let counts = [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("patience", self.patience),
            ("pass_tokens", self.pass_tokens),
        ];
        for (field, found) in counts {
            refuse_unless(found >= 1, field, found, "at least 1")?;
        }
        let positive = [("encoder_rate", self.encoder_rate), ("head_rate", self.head_rate), ("clip", self.clip)];
        for (field, found) in positive {
            refuse_unless(found > 0.0 && found.is_finite(), field, found, "above 0")?;
        }
        for (field, found) in [("dropout", self.dropout), ("smoothing", self.smoothing)] {
            refuse_unless((0.0..1.0).contains(&found), field, found, "at least 0 and below 1")?;
        }
        refuse_unless((0.0..=1.0).contains(&self.warm_up), "warm_up", self.warm_up, "between 0 and 1")?;
        refuse_unless(self.decay >= 0.0 && self.decay.is_finite(), "decay", self.decay, "at least 0")
    }

    /// The settings by name, for the bundle's manifest.
    pub(crate) fn by_name(&self) -> BTreeMap<String, Setting> {
        let count = |number: usize| Setting::Count(i64::try_from(number).unwrap_or(i64::MAX));
        // Through the shortest decimal, so that 0.1 does not become 0.10000000149.
        let number = |number: f32| Setting::Number(number.to_string().parse().unwrap_or(f64::from(number)));
        let pairs = [
            ("epochs", count(self.epochs)),
            ("batch", count(self.batch)),
            ("encoder_rate", number(self.encoder_rate)),
            ("head_rate", number(self.head_rate)),
            ("warm_up", number(self.warm_up)),
            ("decay", number(self.decay)),
            ("clip", number(self.clip)),
            ("dropout", number(self.dropout)),
            ("smoothing", number(self.smoothing)),
            ("frozen_layers", count(self.frozen_layers)),
            ("patience", count(self.patience)),
            ("seed", Setting::Text(self.seed.to_string())),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn refuse_unless(
    fits: bool,
    field: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), InvalidSetting> {
    if fits { Ok(()) } else { Err(InvalidSetting { field, found: found.to_string(), expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_their_range_are_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let usual = Settings::default;
        for (settings, field) in [
            (Settings { epochs: 0, ..usual() }, "epochs"),
            (Settings { batch: 0, ..usual() }, "batch"),
            (Settings { encoder_rate: 0.0, ..usual() }, "encoder_rate"),
            (Settings { head_rate: f32::NAN, ..usual() }, "head_rate"),
            (Settings { dropout: 1.0, ..usual() }, "dropout"),
            (Settings { smoothing: -0.1, ..usual() }, "smoothing"),
            (Settings { warm_up: 1.5, ..usual() }, "warm_up"),
            (Settings { decay: f32::INFINITY, ..usual() }, "decay"),
        ] {
            assert_eq!(settings.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn numbers_keep_their_decimals() {
        let settings = Settings::default().by_name();
        assert_eq!(settings["dropout"], Setting::Number(0.1));
        assert_eq!(settings["epochs"], Setting::Count(4));
    }
}
