//! The model host through its public interfaces: real graphs, the real engine, real files,
//! real gRPC.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod batching;
mod bundles;
mod eight_bits;
mod few_shot;
mod fine_tuned;
mod format1;
mod generation;
mod grpc;
mod intents;
mod minilm;
mod onnx;
mod openai;
mod promotion;
mod pulling;
mod reranking;
mod shadowing;
mod support;
mod token_vectors;
