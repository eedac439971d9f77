//! `trivium route`: the decision alone.

use trivium_proto::router::v1::RouteRequest;

use crate::{
    args::RouterEndpoint,
    clients::Router,
    output,
    render::{decision, milliseconds, style::Style},
    view::RouteView,
};

/// Arguments of `trivium route`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The question
    query: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// Asks for the decision, and explains it.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let router = Router::connect(&args.endpoint.url)?;
    let response = router.route(RouteRequest { query: args.query, ..RouteRequest::default() }).await?;
    let view = RouteView::from(response);
    if args.json {
        return output::json(&view);
    }
    let style = Style::of_stdout();
    output::line(format!("\n{}", decision::decision(style, &view.decision, true)))?;
    let total = view.timings_ms.get("total").copied().unwrap_or_default();
    Ok(output::line(style.faint(&format!("\n  decided in {} · trace {}\n", milliseconds(total), view.trace_id)))?)
}
