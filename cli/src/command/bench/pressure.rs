//! What `trivium bench knee` and `trivium bench hold` have in common.

use std::path::PathBuf;

use crate::{
    args::{RetrieverBeside, RouterEndpoint},
    bench::{
        load::{Call, Target},
        offered::Row,
    },
    clients::Router,
};

/// What is called, and by how many.
#[derive(Debug, clap::Args)]
pub struct PressureArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// The collection to search
    #[arg(long, value_name = "NAME", default_value = "docs")]
    pub collection: String,
    /// Queries, one on each line [default: titles of the collection's documents]
    #[arg(long, value_name = "FILE")]
    pub queries: Option<PathBuf>,
    /// The kind of call: route, search_lexical, search_semantic, search_hybrid, query_routed, query_lexical, query_semantic,
    /// query_no_answer or query
    #[arg(long, value_name = "CALL", default_value = "query_no_answer", value_parser = Call::named)]
    pub call: Call,
    /// Clients, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub clients: u16,
    #[command(flatten)]
    pub retriever: RetrieverBeside,
    #[command(flatten)]
    pub endpoint: RouterEndpoint,
}

impl PressureArgs {
    /// One target for each client.
    pub async fn targets(&self) -> anyhow::Result<Vec<Target>> {
        let first =
            super::target(&self.collection, self.queries.as_deref(), &self.retriever.url, &self.endpoint).await?;
        let connect = |_| Ok(Target { router: Router::connect(&self.endpoint.url)?, ..first.clone() });
        (0..self.clients).map(connect).collect()
    }
}

/// The headings of [`cells`].
pub const HEADINGS: [&str; 9] =
    ["offered/s", "offered", "served", "refused", "failed", "p50 ms", "p95 ms", "p99 ms", "refusal p99 ms"];

/// A row of a table.
pub fn cells(row: &Row) -> [String; 9] {
    let figure = |ms: f64| format!("{ms:.2}");
    [
        format!("{:.1}", row.offered_per_second),
        row.offered.to_string(),
        row.served.to_string(),
        row.refused.to_string(),
        row.failed.to_string(),
        figure(row.p50_ms),
        figure(row.p95_ms),
        figure(row.p99_ms),
        figure(row.refusal_p99_ms),
    ]
}
