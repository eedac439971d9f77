//! `trivium audit show`: what is on record of one request.

use crate::{args::RouterEndpoint, output, render, render::style::Style, view::RecordView};

/// Arguments of `trivium audit show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The request id, from the answer's account
    id: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// Prints the record.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let view = RecordView::from(super::connect(&args.endpoint)?.record(&args.id).await?);
    if args.json {
        return output::json(&view);
    }
    Ok(output::line(render::audit::record(Style::of_stdout(), &view, output::columns()))?)
}
