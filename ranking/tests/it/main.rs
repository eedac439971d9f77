//! Properties of the public interface, over random rankings.

mod fusion;
mod metrics;
