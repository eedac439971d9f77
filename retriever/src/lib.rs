//! Trivium's retriever: collections of documents, found by words and by meaning.
//!
//! A collection is a Lance dataset, which is the only truth, and a Tantivy index, which is derived from it. Both legs
//! of a search read one published pair of snapshots, so that no search sees a document in one leg only.

#![forbid(unsafe_code)]

pub mod chunk;
mod clients;
pub mod collection;
pub mod context;
pub mod document;
pub mod embedder;
pub mod extract;
pub mod failpoint;
pub mod filter;
mod gauges;
pub mod given_vector;
mod grpc;
pub mod hash;
pub mod ingest;
pub mod lexical;
pub mod metadata;
pub mod options;
pub mod row_ids;
pub mod search;
pub mod second_stage;
mod server;
pub mod service;
pub mod stored;
pub mod vector;

pub use options::Options;
pub use server::{Handle, StartError, start, start_with};
