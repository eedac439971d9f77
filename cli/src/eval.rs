//! Judging the services on labelled data.

pub mod answers;
pub mod beir;
pub mod curves;
pub mod draws;
pub mod labelled;
pub mod questions;
pub mod recall;
pub mod recommend;
pub mod retrieval;
pub mod roads;
