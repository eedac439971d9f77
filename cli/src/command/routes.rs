//! `trivium routes check`: would the router take this file?

use std::path::{Path, PathBuf};

use clap::Subcommand;
use trivium_proto::model::v1::ModelKind;
use trivium_router::policy::Policy;
use trivium_service_kit::Reason;

use crate::{args::ModelHostEndpoint, clients::ModelHost, exit::BadConfiguration, output};

/// What to do with routes files.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a routes file, also against the intents of the model that serves
    Check {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        endpoint: ModelHostEndpoint,
    },
}

/// Runs one of them.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::Check { file, endpoint } = command;
    check(&file, &ModelHost::connect(&endpoint.url)?).await
}

async fn check(file: &Path, host: &ModelHost) -> anyhow::Result<()> {
    let refused = |why: String| BadConfiguration(format!("{}: {why}", file.display()));
    let text = fs_err::read_to_string(file)?;
    let collections = trivium_router::Options::default().collections;
    let policy = Policy::parse(&text, &collections).map_err(|error| refused(error.to_string()))?;
    match served_labels(host).await? {
        Labels::Known { labels, out_of_scope } => {
            policy.check_labels(&labels, &out_of_scope).map_err(|error| refused(error.to_string()))?;
            said(file, &policy, &format!("the serving model has all its intents ({})", labels.join(", ")))
        }
        Labels::Unreachable => said(file, &policy, "the model host does not run, so its intents were not compared"),
        Labels::NoModel => said(file, &policy, "no intent model serves, so its intents were not compared"),
    }
}

fn said(file: &Path, policy: &Policy, labels: &str) -> anyhow::Result<()> {
    let collections = policy.collections().join(", ");
    output::line(format!("{}: good, version {}", file.display(), policy.version()))?;
    output::line(format!("  searches {collections}"))?;
    Ok(output::line(format!("  {labels}"))?)
}

/// What the model host says of the intents.
enum Labels {
    Known { labels: Vec<String>, out_of_scope: String },
    NoModel,
    Unreachable,
}

async fn served_labels(host: &ModelHost) -> anyhow::Result<Labels> {
    let models = match host.models().await {
        Ok(models) => models,
        Err(error) if error.reason() == Reason::ModelHostUnavailable => return Ok(Labels::Unreachable),
        Err(error) => return Err(error.into()),
    };
    let serving = models.into_iter().find(|model| model.serving && model.kind() == ModelKind::Intent);
    Ok(serving.map_or(Labels::NoModel, |model| Labels::Known {
        labels: model.labels,
        out_of_scope: model.out_of_scope_label,
    }))
}
