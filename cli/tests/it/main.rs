//! Trivium as its users meet it: real processes, real models, real files.

mod abandoned;
mod bad_config;
mod collector;
mod contract;
mod crash;
mod crash_rounds;
mod disk_full;
mod evaluating;
mod faults;
mod filters;
mod hostile;
mod ingest;
mod metrics;
mod models;
mod process;
mod replay;
mod secrets;
mod snapshots;
mod telemetry;
mod tenants;
mod trace_tree;
mod training;
mod walls;
