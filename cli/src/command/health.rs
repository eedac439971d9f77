//! `trivium health`: whether a service serves, for probes of containers and for scripts.

use std::time::Duration;

use anyhow::{anyhow, bail};

use crate::{clients, output};

/// Arguments of `trivium health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of a service, or of its port for probes (`server.health_addr`)
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:7700")]
    url: String,
    /// How long the answer may take
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

/// Prints `serving`, or fails and says why.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let url = args.url;
    match clients::is_serving(&url, Duration::from_millis(args.timeout_ms)).await? {
        Ok(true) => Ok(output::line("serving")?),
        Ok(false) => bail!("{url} answers, and says that it does not serve: it is starting or stopping"),
        // Which service it is cannot be told from an address, so the catalogue's advice would be a guess.
        Err(error) => {
            let why = error.message();
            Err(anyhow!("{url} does not answer: {}", why.strip_prefix("the router cannot be reached: ").unwrap_or(why)))
        }
    }
}
