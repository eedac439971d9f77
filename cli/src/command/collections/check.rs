//! `trivium collections check`: is everything in step?

use anyhow::bail;
use serde::Serialize;
use trivium_proto::retriever::v1::CheckCollectionResponse;

use crate::{args::RetrieverEndpoint, clients::Retriever, output, view::SnapshotView};

/// Arguments of `trivium collections check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection's name
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RetrieverEndpoint,
}

#[derive(Debug, PartialEq, Serialize)]
struct CheckView {
    snapshot: SnapshotView,
    table_rows: u64,
    lexical_rows: u64,
    vectors_in_memory: u64,
    problem_count: u64,
    problems: Vec<String>,
}

impl From<CheckCollectionResponse> for CheckView {
    fn from(response: CheckCollectionResponse) -> Self {
        Self {
            snapshot: response.snapshot.unwrap_or_default().into(),
            table_rows: response.table_rows,
            lexical_rows: response.lexical_rows,
            vectors_in_memory: response.vectors_in_memory,
            problem_count: response.problem_count,
            problems: response.problems,
        }
    }
}

/// Checks, and fails when there are problems, so that scripts notice.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let view = CheckView::from(Retriever::connect(&args.endpoint.url)?.check(&args.name).await?);
    if args.json {
        output::json(&view)?;
    } else {
        output::line(words(&view))?;
    }
    match view.problem_count {
        0 => Ok(()),
        count => bail!("{} has {count} {}", args.name, if count == 1 { "problem" } else { "problems" }),
    }
}

fn words(view: &CheckView) -> String {
    let memory = match view.vectors_in_memory {
        0 => "none in memory".to_owned(),
        vectors => format!("{vectors} vectors in memory"),
    };
    let SnapshotView { collection, version, .. } = &view.snapshot;
    let mut lines = vec![format!(
        "{collection} at version {version}: {} rows, {} in the lexical index, {memory}",
        view.table_rows, view.lexical_rows
    )];
    lines.extend(view.problems.iter().map(|problem| format!("  {problem}")));
    let unlisted = view.problem_count.saturating_sub(view.problems.len() as u64);
    if unlisted > 0 {
        lines.push(format!("  and {unlisted} more"));
    }
    if view.problem_count == 0 {
        lines.push("  no problems".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(problems: &[&str], problem_count: u64) -> CheckView {
        CheckView {
            snapshot: SnapshotView { collection: "docs".into(), version: 7, committed_at: None },
            table_rows: 3,
            lexical_rows: 2,
            vectors_in_memory: 0,
            problem_count,
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
        }
    }

    #[test]
    fn problems_are_listed_and_the_rest_counted() {
        let first = "docs at version 7: 3 rows, 2 in the lexical index, none in memory\n";
        assert_eq!(words(&view(&[], 0)), format!("{first}  no problems"));
        assert_eq!(words(&view(&["row 1"], 1)), format!("{first}  row 1"));
        assert_eq!(words(&view(&["row 1"], 9)), format!("{first}  row 1\n  and 8 more"));
    }
}
