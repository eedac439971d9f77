//! `trivium collections rerank`: the second stage of searches that do not say.

use trivium_proto::retriever::v1::{RerankMethod, SetRerankRequest};

use crate::{
    args::{RerankArg, RetrieverEndpoint, rerank_name},
    clients::Retriever,
    output,
};

/// Arguments of `trivium collections rerank`.
#[derive(Debug, clap::Args)]
#[group(id = "what", required = true, multiple = false, args = ["method", "reset"])]
pub struct Args {
    /// The collection
    name: String,
    /// How its first candidates are put in a new order where a search or its road does not say
    #[arg(value_enum)]
    method: Option<RerankArg>,
    /// Go back to the default: by late interaction, where the collection has token vectors
    #[arg(long)]
    reset: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// Sets the second stage, or takes it back.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.endpoint.url)?;
    let method = args.method.map_or(RerankMethod::Unspecified, RerankMethod::from);
    let request = SetRerankRequest { name: args.name.clone(), method: method.into() };
    let method = retriever.set_rerank(request).await?;
    if args.json {
        let own = (method != RerankMethod::Unspecified).then(|| rerank_name(method));
        return output::json(&serde_json::json!({ "collection": args.name, "rerank": own }));
    }
    let name = &args.name;
    Ok(output::line(match method {
        RerankMethod::Unspecified => format!("searches of {name} have the default second stage now"),
        RerankMethod::None => format!("searches of {name} have no second stage now, unless they ask for one"),
        method => format!("searches of {name} have {} as their second stage now", rerank_name(method)),
    })?)
}
