//! Training through its public interface: tiny encoders, the real engine, real files.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod finetune;
mod refusals;
mod support;
