//! Trains intent models: fine-tunes an encoder with a classification head on labelled queries.
//!
//! The encoder is one fixed architecture, so its forward and backward passes are written out by
//! hand over the serving engine's matrix products; see `docs/adr/0013-trainer.md`.
//! [`finetune`] is the way in. Nothing here reads a clock, the environment or the network.

#![forbid(unsafe_code)]

mod batches;
mod checkpoint;
mod checks;
mod data;
mod finetune;
mod head_only;
mod kernels;
mod layout;
mod network;
mod ops;
mod optimiser;
mod regression;
mod run;
mod settings;
mod weights;

#[cfg(test)]
mod testing;

pub use checkpoint::CheckpointError;
pub use checks::{Contradiction, Duplicate, Findings, Place, Rare, Split, Suspect};
pub use data::DataError;
pub use finetune::{Event, FinetuneError, Options, Outcome, finetune};

pub use layout::{Architecture, Variable};
pub use run::{EpochResult, RunError, RunEvent};
pub use settings::{InvalidSetting, Settings};
