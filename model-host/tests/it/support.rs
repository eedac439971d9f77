//! A tiny encoder with random weights, made anew by every test that needs one.

pub mod completions;
pub mod host;
mod reference;
pub mod scorer;
mod tiny;
pub mod tuned;

pub use reference::hidden_states;
pub use tiny::TinyBert;

use trivium_model_host::bundle::{ModelRef, Registry};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::pull::import_encoder;

/// The longest input of the tiny encoder, in tokens.
pub const MAX_TOKENS: usize = 24;

/// A models folder that holds the tiny encoder as `tiny/1`, in production.
pub struct TinyModels {
    pub folder: tempfile::TempDir,
    pub registry: Registry,
}

impl TinyModels {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        import_encoder(&registry, tiny(), &TinyBert::random(7).files(), MAX_TOKENS).unwrap();
        Self { folder, registry }
    }

    pub fn encoder(&self) -> Encoder {
        Encoder::load(&self.registry.open(&tiny()).unwrap(), 1).unwrap()
    }
}

pub fn tiny() -> ModelRef {
    ModelRef::new("tiny", "1").unwrap()
}
