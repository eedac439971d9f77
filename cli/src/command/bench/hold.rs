//! `trivium bench hold`: a rate that is kept up, and what becomes of every call.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::pressure::{HEADINGS, PressureArgs, cells};
use crate::{
    bench::{
        memory::{Memory, Watch},
        offered::{Offer, Row, offer},
    },
    output,
    render::table::table,
};

/// Arguments of `trivium bench hold`.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    #[command(flatten)]
    pressure: PressureArgs,
    /// Calls a second
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: f64,
    /// For how many seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// A process on this machine whose memory is looked at once a second
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    call: &'static str,
    clients: u16,
    seconds: u32,
    #[serde(flatten)]
    row: Row,
    /// Calls that failed, by the reason of the error catalogue.
    reasons: BTreeMap<&'static str, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

fn positive(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("must be above 0".to_owned()) }
}

/// Offers the rate, and reports.
pub async fn run(args: HoldArgs) -> anyhow::Result<()> {
    let targets = args.pressure.targets().await?;
    let watch = args.pid.map(Watch::start).transpose()?;
    let lasting = Duration::from_secs(args.seconds.into());
    let tally = offer(&targets, Offer { call: args.pressure.call, per_second: args.rate, lasting }).await?;
    let report = Report {
        call: args.pressure.call.name(),
        clients: args.pressure.clients,
        seconds: args.seconds,
        row: tally.row(args.rate),
        reasons: tally.failed,
        memory: watch.map(Watch::stop),
    };
    if args.pressure.json { output::json(&report) } else { show(&report) }
}

fn show(report: &Report) -> anyhow::Result<()> {
    output::line(table(HEADINGS, [cells(&report.row)]))?;
    for (reason, calls) in &report.reasons {
        output::line(format!("{calls} failed with {reason}"))?;
    }
    if let Some(memory) = &report.memory {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        output::line(format!(
            "memory: {:.0} MiB at first, {:.0} settled, {:.0} at the end, {:.0} at most",
            mib(memory.first_bytes),
            mib(memory.settled_bytes),
            mib(memory.last_bytes),
            mib(memory.most_bytes)
        ))?;
    }
    Ok(())
}
