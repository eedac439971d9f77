//! `trivium feedback`: what somebody says of an answer.

use trivium_proto::router::v1::{DocumentRef, Feedback, Road, SubmitFeedbackRequest};

use super::ask::RoadArg;
use crate::{args::RouterEndpoint, clients::Router, output};

/// Arguments of `trivium feedback`.
#[derive(Debug, clap::Args)]
#[group(id = "said", required = true, multiple = true, args = ["helpful", "unhelpful", "intent", "road", "documents"])]
pub struct Args {
    /// The request id, from the answer's account
    id: String,
    /// The answer helped
    #[arg(long, conflicts_with = "unhelpful")]
    helpful: bool,
    /// The answer did not help
    #[arg(long)]
    unhelpful: bool,
    /// The query was taken for another intent than this, its right one
    #[arg(long = "wrong-road", visible_alias = "intent", value_name = "INTENT")]
    intent: Option<String>,
    /// The road that the query should have taken
    #[arg(long)]
    road: Option<RoadArg>,
    /// A document that answers the query, by its id
    #[arg(long = "document", value_name = "ID")]
    documents: Vec<String>,
    /// The collection of the documents, where several were searched
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    collection: String,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// Hands it in.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let document = |id: &String| DocumentRef { collection: args.collection.clone(), document_id: id.clone() };
    let feedback = Feedback {
        recorded_at: None,
        helpful: (args.helpful || args.unhelpful).then_some(args.helpful),
        right_intent: args.intent.clone().unwrap_or_default(),
        right_road: args.road.map_or(Road::Unspecified, Road::from).into(),
        right_documents: args.documents.iter().map(document).collect(),
    };
    let request = SubmitFeedbackRequest { request_id: args.id.clone(), feedback: Some(feedback) };
    Router::connect(&args.endpoint.url)?.submit_feedback(request).await?;
    Ok(output::line(format!("noted for {}", args.id))?)
}
