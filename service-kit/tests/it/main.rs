//! The kit through real sockets: a small gRPC service behind the real server and client.

mod deadlines;
mod propagation;
mod refusals;
mod shutdown;
mod support;
