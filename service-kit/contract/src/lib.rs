//! The telemetry contract: what leaves a service as a span, a metric or a log event.
//!
//! `telemetry.toml` beside this crate is the source. [`Contract`] is the file as data, for whoever compares it with what is
//! emitted ([`check`]) or writes about it ([`render`]): the constants that the services use, in
//! `service-kit/src/telemetry/names.rs`, and `docs/telemetry.md`. No service depends on this crate.
#![forbid(unsafe_code)]

pub mod check;
mod model;
pub mod render;

pub use model::{Attribute, Contract, ContractError, Label, Log, Metric, MetricKind, Span, Type, When};
