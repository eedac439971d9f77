//! `trivium collections snapshots`, `tag` and `untag`: earlier states.

use serde::Serialize;
use trivium_proto::retriever::v1::{DeleteTagRequest, RetainedSnapshot, TagSnapshotRequest};

use crate::{args::RetrieverEndpoint, clients::Retriever, output, render::table::table, view::SnapshotView};

/// Arguments of `trivium collections snapshots`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// The collection's name
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// Arguments of `trivium collections tag`.
#[derive(Debug, clap::Args)]
pub struct Tag {
    /// The collection's name
    name: String,
    /// The tag: letters, digits, ".", "-" and "_", not digits alone; one that exists is moved
    tag: String,
    /// The version to name [default: the published one]
    #[arg(long, value_name = "V", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

/// Arguments of `trivium collections untag`.
#[derive(Debug, clap::Args)]
pub struct Untag {
    /// The collection's name
    name: String,
    /// The tag
    tag: String,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

#[derive(Debug, PartialEq, Serialize)]
struct RetainedView {
    #[serde(flatten)]
    snapshot: SnapshotView,
    tags: Vec<String>,
    documents: u64,
    chunks: u64,
    published: bool,
}

impl From<RetainedSnapshot> for RetainedView {
    fn from(retained: RetainedSnapshot) -> Self {
        Self {
            snapshot: retained.snapshot.unwrap_or_default().into(),
            tags: retained.tags,
            documents: retained.documents,
            chunks: retained.chunks,
            published: retained.published,
        }
    }
}

/// Lists the kept states, the newest first.
pub async fn list(args: List) -> anyhow::Result<()> {
    let kept = Retriever::connect(&args.endpoint.url)?.snapshots(&args.name).await?;
    let kept: Vec<RetainedView> = kept.into_iter().map(RetainedView::from).collect();
    if args.json {
        return output::json(&kept);
    }
    Ok(output::line(table(["version", "committed", "documents", "chunks", "tags"], kept.into_iter().map(row)))?)
}

fn row(kept: RetainedView) -> [String; 5] {
    let version = kept.snapshot.version.to_string();
    [
        if kept.published { format!("{version} (published)") } else { version },
        kept.snapshot.committed_at.unwrap_or_default(),
        kept.documents.to_string(),
        kept.chunks.to_string(),
        kept.tags.join(", "),
    ]
}

/// Names a state.
pub async fn tag(args: Tag) -> anyhow::Result<()> {
    let message = TagSnapshotRequest {
        collection: args.name.clone(),
        tag: args.tag.clone(),
        version: args.version.unwrap_or_default(),
    };
    let tagged = Retriever::connect(&args.endpoint.url)?.tag(message).await?;
    let version = tagged.snapshot.unwrap_or_default().version;
    Ok(output::line(format!("{} is version {version} of {}", args.tag, args.name))?)
}

/// Takes a name away.
pub async fn untag(args: Untag) -> anyhow::Result<()> {
    let message = DeleteTagRequest { collection: args.name.clone(), tag: args.tag.clone() };
    Retriever::connect(&args.endpoint.url)?.untag(message).await?;
    Ok(output::line(format!("deleted the tag {} of {}", args.tag, args.name))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_published_state_apart() {
        let kept = |published| RetainedView {
            snapshot: SnapshotView { version: 7, ..SnapshotView::default() },
            tags: vec!["a".into(), "b".into()],
            documents: 2,
            chunks: 3,
            published,
        };
        assert_eq!(row(kept(false)), ["7", "", "2", "3", "a, b"]);
        assert_eq!(row(kept(true))[0], "7 (published)");
    }
}
