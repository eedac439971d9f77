//! `trivium bench compare`: what one way to run the services costs over another.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::{read_queries, titles};
use crate::{
    args::Access,
    bench::{
        compare::{Row, Turns, compare},
        load::{Call, Target},
    },
    clients::{Retriever, Router},
    output,
    render::table::table,
};

/// Arguments of `trivium bench compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The servers: a TOML file with a table [[server]] for each, with its name, its endpoint and, in `access`, what the
    /// flags under Access say elsewhere. The others are compared with the first
    #[arg(value_name = "FILE")]
    servers: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The collection to search
    #[arg(long, value_name = "NAME", default_value = "docs")]
    collection: String,
    /// Queries, one on each line [default: titles of the collection's documents]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// The kind of call, as in `trivium bench knee`
    #[arg(long, value_name = "CALL", default_value = "query", value_parser = Call::named)]
    call: Call,
    /// How often each server has its turn
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Calls that are measured in each turn
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Rounds before that, which are not
    #[arg(long, value_name = "N", default_value_t = 3)]
    warm_up: u32,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    server: Vec<Server>,
}

/// One way to run the services.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    name: String,
    /// The router.
    endpoint: String,
    /// The retriever, for searches, and for the titles that stand in for queries.
    #[serde(default = "retriever_endpoint")]
    retriever_endpoint: String,
    #[serde(default)]
    access: Access,
}

fn retriever_endpoint() -> String {
    "127.0.0.1:7701".to_owned()
}

/// Measures the servers in turns, and reports.
pub async fn run(args: CompareArgs) -> anyhow::Result<()> {
    let targets = targets(&args).await?;
    let turns = Turns { call: args.call, rounds: args.warm_up as usize, calls: args.calls as usize };
    compare(&targets, turns).await?;
    let rows = compare(&targets, Turns { rounds: args.rounds as usize, ..turns }).await?;
    if args.json { output::json(&rows) } else { show(&rows) }
}

async fn targets(args: &CompareArgs) -> anyhow::Result<Vec<(String, Target)>> {
    let servers = read(&args.servers)?;
    let connect = |server: &Server| Retriever::connect_with(&server.retriever_endpoint, server.access.clone());
    let queries = match &args.queries {
        Some(file) => read_queries(file)?,
        None => titles(&connect(&servers[0])?, &args.collection).await?,
    };
    let target = |server: Server| {
        let retriever = connect(&server)?;
        let router = Router::connect_with(&server.endpoint, server.access)?;
        let (collection, queries) = (args.collection.clone(), queries.clone());
        Ok((server.name, Target { router, retriever, collection, queries, vectors: Vec::new() }))
    };
    servers.into_iter().map(target).collect()
}

/// The servers of a file, at least one.
fn read(path: &Path) -> anyhow::Result<Vec<Server>> {
    let text = fs_err::read_to_string(path)?;
    let servers: Servers =
        toml::from_str(&text).with_context(|| format!("{} is no list of servers", path.display()))?;
    ensure!(!servers.server.is_empty(), "{} names no server", path.display());
    Ok(servers.server)
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    let lines = rows.iter().map(|row| {
        let (low, high) = row.ratio_quartiles;
        [
            row.name.clone(),
            row.calls.to_string(),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p95_ms),
            format!("{:.3}", row.ratio),
            format!("{low:.3} to {high:.3}"),
        ]
    });
    Ok(output::line(table(["server", "calls", "p50 ms", "p95 ms", "ratio of p50", "half of the rounds"], lines))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Vec<Server>> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), text).expect("written");
        read(file.path())
    }

    #[test]
    fn servers_are_read_with_what_they_are_shown() {
        let text = "[[server]]\nname = \"plain\"\nendpoint = \"127.0.0.1:1\"\n\
                    [[server]]\nname = \"tls\"\nendpoint = \"127.0.0.1:2\"\naccess = { ca = \"ca.pem\", api_key_file = \"key\" }\n";
        let servers = parse(text).expect("read");
        assert_eq!((servers.len(), servers[0].access.ca.clone()), (2, None));
        assert_eq!(servers[1].access.ca, Some("ca.pem".into()));
    }

    #[test]
    fn what_is_no_list_of_servers_is_refused() {
        let spelt = "[[server]]\nname = \"a\"\nendpoint = \"a:1\"\naccess = { cacert = \"ca.pem\" }\n";
        for text in ["", "server = []", "[[server]]\nname = \"a\"\n", spelt] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
