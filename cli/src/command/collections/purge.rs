//! `trivium collections purge`: documents that must be gone for good.

use anyhow::bail;
use serde::Serialize;
use trivium_proto::retriever::v1::{PurgeDocumentsRequest, PurgeDocumentsResponse};

use super::confirmed;
use crate::{args::RetrieverEndpoint, clients::Retriever, output, view::SnapshotView};

/// Arguments of `trivium collections purge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection's name
    name: String,
    /// Ids of the documents; one that is not there now is erased from earlier states all the same
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

#[derive(Debug, PartialEq, Serialize)]
struct PurgeView {
    snapshot: SnapshotView,
    deleted: u32,
    removed_versions: Vec<u64>,
    removed_tags: Vec<String>,
    removed_bytes: u64,
}

impl From<PurgeDocumentsResponse> for PurgeView {
    fn from(response: PurgeDocumentsResponse) -> Self {
        Self {
            snapshot: response.snapshot.unwrap_or_default().into(),
            deleted: response.deleted,
            removed_versions: response.removed_versions,
            removed_tags: response.removed_tags,
            removed_bytes: response.removed_bytes,
        }
    }
}

/// Erases documents, and says what it cost.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let what = format!("erasing {} documents of {} with all its earlier states", args.ids.len(), args.name);
    if !args.yes && !confirmed(&what, &args.name)? {
        bail!("nothing was erased");
    }
    let message = PurgeDocumentsRequest { collection: args.name, document_ids: args.ids };
    let view = PurgeView::from(Retriever::connect(&args.endpoint.url)?.purge(message).await?);
    if args.json {
        return output::json(&view);
    }
    Ok(output::line(words(&view))?)
}

fn words(view: &PurgeView) -> String {
    let SnapshotView { collection, version, .. } = &view.snapshot;
    let tags = if view.removed_tags.is_empty() { "no tags".to_owned() } else { view.removed_tags.join(", ") };
    format!(
        "{collection} is at version {version} without them; {} were there\nlost: {} earlier versions, {tags}; {} bytes freed",
        view.deleted,
        view.removed_versions.len(),
        view.removed_bytes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_told() {
        let view = PurgeView {
            snapshot: SnapshotView { collection: "docs".into(), version: 9, committed_at: None },
            deleted: 1,
            removed_versions: vec![3, 4],
            removed_tags: vec!["a".into(), "b".into()],
            removed_bytes: 77,
        };
        let expected =
            "docs is at version 9 without them; 1 were there\nlost: 2 earlier versions, a, b; 77 bytes freed";
        assert_eq!(words(&view), expected);
    }
}
