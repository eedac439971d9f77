//! Measuring the running services from outside, in a closed loop.

pub mod latency;
pub mod load;
