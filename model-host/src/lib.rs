//! The model host: versioned bundles of models, and what they compute.
//!
//! A request for a vector or an intent passes the tokenizer, a bounded queue with two lanes,
//! and a forward pass that it shares with others of its length. [`start`] runs the service;
//! [`pull`] and [`intent::fit`] make the bundles that it serves.

#![forbid(unsafe_code)]

mod analyses;
mod batch;
pub mod batcher;
pub mod bundle;
pub mod cross_encoder;
pub mod encoder;
pub mod engine;
pub mod generate;
mod grpc;
pub mod import;
pub mod intent;
mod models;
pub mod onnx;
mod options;
mod pooling;
pub mod projection;
pub mod pull;
mod runtime;
mod service;
mod start;
mod tensors;
pub mod tokenize;
mod trace;

pub use batch::{Caller, Cores, Lane, Limits};
pub use generate::{ExtractiveOptions, OpenAiOptions, PromptOptions};
pub use grpc::SERVICE_NAME;
pub use options::{DEFAULT_PORT, MAX_TEXTS, ModelOptions, Options};
pub use start::{StartError, start};
pub use trace::RequestTrace;
