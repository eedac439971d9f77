//! The telemetry contract: what leaves a service as a span, a metric or a log event.
//!
//! `telemetry.toml` beside this crate is the source. [`names`] holds the constants that the services use, generated from
//! it; [`Contract`] is the file itself, for whoever compares it with what is emitted ([`check`]) or writes about it
//! ([`render`]).
#![forbid(unsafe_code)]

pub mod check;
mod model;
// Generated, and compared byte by byte.
#[rustfmt::skip]
pub mod names;
pub mod render;

pub use model::{Attribute, Contract, ContractError, Label, Log, Metric, MetricKind, Span, Type, When};
