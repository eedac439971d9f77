//! Measuring the running services from outside: in a closed loop, where each client waits for its answer, and in an open
//! one, where calls come at their times whether earlier ones were answered or not.

pub mod compare;
pub mod distinct;
pub mod freshness;
pub mod generate;
pub mod knee;
pub mod latency;
pub mod load;
pub mod memory;
pub mod offered;
pub mod open_loop;
