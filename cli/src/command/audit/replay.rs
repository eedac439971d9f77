//! `trivium audit replay`: would the same come back?

use anyhow::bail;
use trivium_proto::router::v1::ReplayQueryRequest;

use crate::{args::RouterEndpoint, output, render, render::style::Style, view::ReplayView};

/// Arguments of `trivium audit replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The request id, from the answer's account
    id: String,
    /// The query, where the record does not hold it because content was not captured
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    query: String,
    /// The filter, where there was one and the record does not hold it
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// Replays, and fails when something else comes back, so that scripts notice.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let request = ReplayQueryRequest { request_id: args.id, query: args.query, filter: args.filter };
    let view = ReplayView::from(super::connect(&args.endpoint)?.replay(request).await?);
    if args.json {
        output::json(&view)?;
    } else {
        output::line(render::audit::replay(Style::of_stdout(), &view))?;
    }
    match view.verdict {
        "SAME" | "SAME_BUT_ROUNDING" => Ok(()),
        "NOT_RETAINED" => bail!("the request cannot be replayed: something it needs is not kept any more"),
        _ => bail!("the replay differs from the record"),
    }
}
