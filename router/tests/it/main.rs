//! The router over real gRPC, against stand-ins for the services below it that
//! answer as each test tells them.

mod answers;
mod audit;
mod bad_input;
mod cache;
mod deadlines;
mod degradation;
mod fake_model_host;
mod fake_retriever;
mod guards;
mod labels;
mod policies;
mod readiness;
mod retrieval;
mod roads;
mod traces;
mod world;
