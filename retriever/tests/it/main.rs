//! The retriever through its gRPC interface, with real Lance and real Tantivy.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test, as the test itself would")]

mod bad_input;
mod beginnings;
mod blend;
mod collections;
mod documents;
mod explaining;
mod filter_engines;
mod filters;
mod hashing_embedder;
mod healing;
mod indexing;
mod maintenance;
mod own_rerank;
mod own_vectors;
mod partial;
mod purging;
mod reembedding;
mod reranking;
mod searching;
mod service;
mod snapshots;
mod state;
mod writing;
