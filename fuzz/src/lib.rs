//! What the fuzz targets check: each module has a function that takes any bytes, and panics where one of our promises
//! does not hold for them.
//!
//! The router, the contract and the service kit are ordinary dependencies. The retriever's parsers are included from
//! their sources instead, for that crate cannot be built without the vector engine, which takes the better part of an
//! hour with the fuzzer's flags. The same goes for the command line, which has all services in it. What the included
//! modules name of the rest of their crate stands at the root of this one, as re-exports or as stand-ins.

#![forbid(unsafe_code)]

pub mod callers;
pub mod documents;
pub mod filter;
pub mod requests;
pub mod routes;
mod stand_ins;

#[allow(dead_code, unused_imports, missing_docs, reason = "the modules are parts of other crates, and used in parts")]
#[path = "../../retriever/src"]
mod retriever {
    pub mod chunk;
    pub mod document;
    pub mod extract;
    pub mod filter;
    pub mod given_vector;
    pub mod hash;
    pub mod metadata;

    /// The conversion of metadata, which only the retriever's own edge may name.
    pub mod grpc {
        mod json;

        use prost_types::Struct;
        use serde_json::{Map, Value};

        pub fn to_json(given: Struct) -> Option<Map<String, Value>> {
            json::from_struct(given).ok()
        }

        pub fn to_struct(object: Map<String, Value>) -> Struct {
            json::to_struct(object)
        }
    }
}

#[allow(dead_code, missing_docs, reason = "as above")]
#[path = "../../cli/src/ingest"]
mod ingest {
    pub mod front_matter;
}

#[allow(dead_code, missing_docs, reason = "as above")]
#[path = "../../router/src"]
mod router {
    pub mod request;
}

// The names under which the included modules know each other and their crates.
use retriever::{chunk, document, extract, given_vector, hash, metadata};
use stand_ins::{audit, collection, embedder, vector};
use trivium_router::policy;
