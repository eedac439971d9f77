//! Measuring the quality of retrieval on a judged set of queries.

pub mod beir;
pub mod recall;
pub mod retrieval;
