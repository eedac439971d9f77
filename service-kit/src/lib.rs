//! What every hop of Trivium needs, once: configuration, errors, telemetry,
//! propagation, deadlines, and the set-up of servers and clients.
//!
//! Besides the gRPC edge of each service, this is the only crate that names tonic.

#![forbid(unsafe_code)]

pub mod auth;
pub mod client;
pub mod config;
pub mod deadline;
pub mod error;
pub mod health;
pub mod layer;
mod method;
pub mod propagation;
mod reload;
pub mod server;
pub mod service;
pub mod telemetry;
pub mod tls;
pub mod validate;

pub use auth::{AuthOptions, Caller, QuotaOptions, Tenant};
pub use client::{BreakerOptions, ClientOptions, GrpcChannel};
pub use config::ConfigError;
pub use deadline::Deadline;
pub use error::{Error, Reason};
pub use method::Class;
pub use server::{Connection, Handle, Server, ServerOptions};
pub use service::Service;
pub use tls::{ClientTlsOptions, Peer, ServerTlsOptions};
