//! The roads that can be compared, and one query's way down one of them.

use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;
use trivium_proto::router::v1::{AnswerMode, CacheMode, QueryOptions, QueryRequest, QueryResponse, Road};
use trivium_service_kit::Error;

use crate::{bench::distinct::distinct, clients::Router};

/// A road that a caller can choose. The order is that of the command line, and says nothing of their worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredRoad {
    /// Full-text retrieval
    Lexical,
    /// Vector retrieval
    Semantic,
    /// Both, fused
    Hybrid,
    /// Straight to the generator
    Direct,
}

impl MeasuredRoad {
    /// The roads with passages.
    pub const RETRIEVAL: [Self; 3] = [Self::Lexical, Self::Semantic, Self::Hybrid];

    /// Its name on the command line and in routes files.
    pub fn name(self) -> &'static str {
        crate::view::road_name(self.into())
    }
}

impl From<MeasuredRoad> for Road {
    fn from(road: MeasuredRoad) -> Self {
        match road {
            MeasuredRoad::Lexical => Self::Lexical,
            MeasuredRoad::Semantic => Self::Semantic,
            MeasuredRoad::Hybrid => Self::Hybrid,
            MeasuredRoad::Direct => Self::Direct,
        }
    }
}

/// What is asked of a road beside the query.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The collection; the policy's for the direct road.
    pub collection: String,
    /// Passages to retrieve.
    pub k: u32,
    /// Whether an answer is wanted.
    pub answer: bool,
    /// The generator; empty for the policy's.
    pub generator: String,
}

/// What came back, and in what time.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The answer and its account.
    pub response: QueryResponse,
    /// Time that the caller waited, in milliseconds.
    pub elapsed_ms: f64,
}

/// Sends one query down a road.
///
/// The query is made distinct: a road that finds its vector made already by another would look faster than it is.
///
/// # Errors
/// What the router gives.
pub async fn take(router: &Router, query: &str, road: MeasuredRoad, ask: &Ask) -> Result<Taken, Error> {
    let mode = if ask.answer { AnswerMode::Generate } else { AnswerMode::None };
    let options = QueryOptions {
        collections: vec![ask.collection.clone()],
        road: Road::from(road).into(),
        k: Some(ask.k),
        answer_mode: mode.into(),
        generator: ask.generator.clone(),
        cache: CacheMode::Bypass.into(),
        ..QueryOptions::default()
    };
    let request = QueryRequest { query: distinct(query), options: Some(options), ..QueryRequest::default() };
    let started = Instant::now();
    let response = router.query(request).await?;
    Ok(Taken { response, elapsed_ms: started.elapsed().as_secs_f64() * 1_000.0 })
}

/// The documents of the passages, each once, best first.
pub fn documents(response: &QueryResponse) -> Vec<String> {
    let mut documents: Vec<String> = Vec::new();
    for hit in response.passages.iter().filter_map(|passage| passage.hit.as_ref()) {
        if !documents.contains(&hit.document_id) {
            documents.push(hit.document_id.clone());
        }
    }
    documents
}
