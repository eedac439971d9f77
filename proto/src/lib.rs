//! The contract between Trivium's services: generated messages, clients and servers, and nothing else.
//!
//! The sources are the `.proto` files under `trivium/`. The generated code is
//! committed, so that a build needs no `protoc`; a test regenerates it and
//! fails when it differs. `make proto` writes it anew.

#![forbid(unsafe_code)]

/// Everything under the package `trivium`, as the packages nest.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::disallowed_methods)]
mod generated {
    pub mod model {
        pub mod v1 {
            include!("gen/trivium.model.v1.rs");
        }
    }
    pub mod retriever {
        pub mod v1 {
            include!("gen/trivium.retriever.v1.rs");
        }
    }
    pub mod router {
        pub mod v1 {
            include!("gen/trivium.router.v1.rs");
        }
    }
}

pub use generated::{model, retriever, router};

/// The serialised `FileDescriptorSet` of all packages, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");
