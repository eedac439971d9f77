//! Ranking for Trivium: fusing the rankings of several legs into one, grouping
//! chunks by document, the second stage that puts the first candidates in a new
//! order, and the measures by which retrieval is judged.
//!
//! Everything here is pure: no clock, no input or output, no global state. The
//! same input gives the same output on every machine, ties included.

#![forbid(unsafe_code)]

pub mod beginning;
pub mod calibrate;
pub mod fusion;
pub mod group;
pub mod late_interaction;
pub mod metrics;
pub mod random;
pub mod second_stage;
