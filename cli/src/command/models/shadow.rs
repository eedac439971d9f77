//! A second version of the intent model beside the one that serves.

use serde::Serialize;
use trivium_proto::model::v1::{
    ShadowDisagreement, ShadowModelRequest, ShadowReport, ShadowSettings, shadow_model_request::Action,
};

use super::list::in_words;
use crate::{args::ModelHostEndpoint, clients::ModelHost, output, render::table::table};

/// Arguments of `trivium models shadow`.
#[derive(Debug, clap::Args)]
pub struct ShadowArgs {
    /// Name of the intent model
    name: String,
    /// The version that is to see a share of the queries [default: say what the present one found]
    #[arg(conflicts_with = "off")]
    version: Option<String>,
    /// Share of the queries, above 0 and at most 1
    #[arg(long, default_value_t = 0.1, requires = "version")]
    share: f64,
    /// End the shadow, and print its last report
    #[arg(long)]
    off: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: ModelHostEndpoint,
}

/// What a shadow found, for machines.
#[derive(Serialize)]
pub struct ShadowView {
    serving: String,
    shadow: String,
    share: f64,
    agreements: u64,
    disagreements: u64,
    skipped: u64,
    pairs: Vec<PairView>,
}

#[derive(Serialize)]
struct PairView {
    serving_label: String,
    shadow_label: String,
    count: u64,
    examples: Vec<String>,
}

impl From<ShadowReport> for ShadowView {
    fn from(report: ShadowReport) -> Self {
        Self {
            serving: report.serving.as_ref().map(in_words).unwrap_or_default(),
            shadow: report.shadow.as_ref().map(in_words).unwrap_or_default(),
            share: report.share,
            agreements: report.agreements,
            disagreements: report.disagreements,
            skipped: report.skipped,
            pairs: report.pairs.into_iter().map(PairView::from).collect(),
        }
    }
}

impl From<ShadowDisagreement> for PairView {
    fn from(pair: ShadowDisagreement) -> Self {
        let ShadowDisagreement { serving_label, shadow_label, count, examples } = pair;
        Self { serving_label, shadow_label, count, examples }
    }
}

/// Sets, ends or reports the shadow.
pub async fn run(args: ShadowArgs) -> anyhow::Result<()> {
    let action = match (args.version, args.off) {
        (Some(version), _) => Some(Action::Set(ShadowSettings { version, share: args.share })),
        (None, true) => Some(Action::Off(true)),
        (None, false) => None,
    };
    let host = ModelHost::connect(&args.endpoint.url)?;
    let report = host.shadow(ShadowModelRequest { name: args.name, action }).await?.map(ShadowView::from);
    if args.json {
        return output::json(&report);
    }
    match report {
        Some(report) => show(&report),
        None => Ok(output::line("there is no shadow")?),
    }
}

fn show(report: &ShadowView) -> anyhow::Result<()> {
    let ShadowView { serving, shadow, share, agreements, disagreements, skipped, .. } = report;
    output::line(format!("{shadow} beside {serving}, {:.1} % of the queries", share * 100.0))?;
    output::line(format!("  {agreements} agreements, {disagreements} disagreements, {skipped} skipped"))?;
    if report.pairs.is_empty() {
        return Ok(());
    }
    let rows = report.pairs.iter().map(|pair| {
        let examples = pair.examples.join(" | ");
        [pair.serving_label.clone(), pair.shadow_label.clone(), pair.count.to_string(), examples]
    });
    Ok(output::line(table(["serving says", "shadow says", "times", ""], rows))?)
}
