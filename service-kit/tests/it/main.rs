//! The kit through real sockets: a small gRPC service behind the real server and client.

mod authority;
mod balance;
mod breakers;
mod callers;
mod deadlines;
mod flood;
mod issuer;
mod log;
mod propagation;
mod published_keys;
mod refusals;
mod retries;
mod rotation;
mod shutdown;
mod support;
mod tls;
