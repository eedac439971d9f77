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

use trivium_proto::retriever::v1::{Rerank, RerankMethod};

/// What is measured of the first stage is not to be moved by the second one.
const WITHOUT_SECOND_STAGE: Rerank = Rerank { method: RerankMethod::None as i32, depth: None, weight: None };
