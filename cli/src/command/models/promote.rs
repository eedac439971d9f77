//! Making another version serve.

use anyhow::bail;
use trivium_proto::{
    model::v1::{Model, ModelKind, ModelRef},
    router::v1::{CheckLabelsRequest, CheckLabelsResponse},
};
use trivium_service_kit::Reason;

use super::list::in_words;
use crate::{
    args::ModelHostEndpoint,
    clients::{ModelHost, Router},
    output,
};

/// Arguments of `trivium models promote`.
#[derive(Debug, clap::Args)]
pub struct PromoteArgs {
    /// Name of the model
    name: String,
    /// The version that is to serve
    version: String,
    #[command(flatten)]
    check: PolicyCheck,
    #[command(flatten)]
    endpoint: ModelHostEndpoint,
}

/// Arguments of `trivium models rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// Name of the model
    name: String,
    #[command(flatten)]
    endpoint: ModelHostEndpoint,
}

/// Whether the labels of an intent model must fit the router's policy.
#[derive(Debug, clap::Args)]
struct PolicyCheck {
    /// Promote it even if its labels differ from the policy's, or the router cannot be asked
    #[arg(long)]
    force: bool,
    /// Address of the router, whose policy must have a rule for each label
    #[arg(long = "router", env = "TRIVIUM_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:7700")]
    router_url: String,
}

/// Makes a version serve.
pub async fn promote(args: PromoteArgs) -> anyhow::Result<()> {
    let host = ModelHost::connect(&args.endpoint.url)?;
    let wanted = ModelRef { name: args.name, version: args.version };
    let described = host.models().await?.into_iter().find(|model| model.model.as_ref() == Some(&wanted));
    // One that is not there, or is damaged, is refused by the host, which says more about it.
    if let Some(intents) = described.filter(|model| model.kind() == ModelKind::Intent) {
        args.check.run(&in_words(&wanted), intents).await?;
    }
    let promoted = host.promote(wanted).await?;
    said(promoted.model.as_ref(), promoted.previous.as_ref(), promoted.serving)
}

/// Makes the version before serve. Its labels are not compared: it did serve.
pub async fn rollback(args: RollbackArgs) -> anyhow::Result<()> {
    let host = ModelHost::connect(&args.endpoint.url)?;
    let rolled_back = host.rollback(args.name).await?;
    said(rolled_back.model.as_ref(), rolled_back.previous.as_ref(), rolled_back.serving)
}

fn said(model: Option<&ModelRef>, previous: Option<&ModelRef>, serving: bool) -> anyhow::Result<()> {
    let model = model.map(in_words).unwrap_or_default();
    let before = previous.map(|previous| format!(", before it {}", in_words(previous))).unwrap_or_default();
    let state = match serving {
        true => format!("{model} serves{before}"),
        false => format!("{model} is named for production{before}; this host is not configured to serve it"),
    };
    Ok(output::line(state)?)
}

impl PolicyCheck {
    async fn run(&self, model: &str, intents: Model) -> anyhow::Result<()> {
        let request = CheckLabelsRequest { labels: intents.labels, out_of_scope_label: intents.out_of_scope_label };
        let found = match Router::connect(&self.router_url)?.check_labels(request).await {
            Ok(response) => differences(&response),
            Err(error) if error.reason() == Reason::RouterUnavailable => {
                let why = format!("the router at {} cannot be asked for its policy", self.router_url);
                vec![format!("{why}: {}", error.message())]
            }
            Err(error) => return Err(error.into()),
        };
        if found.is_empty() {
            return Ok(());
        }
        if !self.force {
            bail!("{model} is not promoted: {}; --force promotes it all the same", found.join("; "));
        }
        for line in found {
            eprintln!("note: {line}");
        }
        Ok(())
    }
}

/// Where model and policy differ, and what that would mean, in words.
fn differences(response: &CheckLabelsResponse) -> Vec<String> {
    let mut lines = Vec::new();
    if !response.unmapped.is_empty() {
        let labels = response.unmapped.join(", ");
        lines.push(format!("the policy has no rule for {labels}, whose queries take the default road"));
    }
    if !response.unknown.is_empty() {
        let labels = response.unknown.join(", ");
        lines.push(format!(
            "the model does not know {labels}, whose rules never apply, and the router refuses such a policy when it \
             starts again"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_said_with_their_consequence() {
        assert_eq!(differences(&CheckLabelsResponse::default()), Vec::<String>::new());
        let response = CheckLabelsResponse {
            unmapped: vec!["a".into(), "b".into()],
            unknown: vec!["c".into()],
            policy_version: String::new(),
        };
        let lines = differences(&response);
        assert_eq!(lines[0], "the policy has no rule for a, b, whose queries take the default road");
        assert!(lines[1].starts_with("the model does not know c, whose rules never apply"), "{}", lines[1]);
    }
}
