//! The models in memory, for whoever reads the metrics.

use trivium_service_kit::telemetry::metrics::Readings;
use trivium_service_kit::telemetry::names::{attribute as key, metric};

use super::Models;
use super::load::Loaded;

impl Models {
    /// Tells which versions are in memory, and which of them serve. The number of versions is bounded by the options.
    pub fn tell(&self, readings: &mut Readings) {
        let serving = self.serving();
        for (model, loaded) in serving.all() {
            let kind = match loaded {
                Loaded::Encoder(_) => "encoder",
                Loaded::Intent(_) => "intent",
                Loaded::CrossEncoder(_) => "cross-encoder",
                Loaded::Projection(_) => "projection",
            };
            let state = if serving.production(&model.name) == Some(model) { "serving" } else { "loaded" };
            let labels = [
                (key::TRIVIUM_MODEL_NAME, model.name.as_str()),
                (key::TRIVIUM_MODEL_VERSION, model.version.as_str()),
                (key::TRIVIUM_MODEL_KIND, kind),
                (key::STATE, state),
            ];
            readings.tell(&metric::TRIVIUM_MODEL_INFO, 1.0, &labels);
        }
    }
}
