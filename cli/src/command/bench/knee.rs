//! `trivium bench knee`: how many calls a second the services can bear.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use super::pressure::{HEADINGS, PressureArgs, cells};
use crate::{
    bench::{
        knee::{Search, is_borne, knee},
        offered::{Offer, Row, offer},
    },
    output,
    render::table::table,
};

/// The most steps of a search, for services whose latency jumps about.
const MOST_STEPS: usize = 40;

/// Arguments of `trivium bench knee`.
#[derive(Debug, clap::Args)]
pub struct KneeArgs {
    #[command(flatten)]
    pressure: PressureArgs,
    /// What 99 of 100 calls must keep, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..))]
    objective_ms: u32,
    /// Calls a second to begin with
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    from: u32,
    /// Seconds that each rate is offered
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    step_seconds: u32,
}

/// Offers more and more until the objective breaks.
pub async fn run(args: KneeArgs) -> anyhow::Result<()> {
    let rows = ramp(&args).await?;
    let objective_ms = f64::from(args.objective_ms);
    let found = knee(&rows, objective_ms);
    if args.pressure.json {
        let call = args.pressure.call.name();
        return output::json(
            &json!({"call": call, "objective_ms": args.objective_ms, "clients": args.pressure.clients, "knee": found, "steps": rows}),
        );
    }
    output::line(table(HEADINGS, rows.iter().map(cells)))?;
    let Some(found) = found else { bail!("no rate kept {} ms; begin with fewer calls by --from", args.objective_ms) };
    let rate = found.offered_per_second;
    Ok(output::line(format!("the knee is at {rate:.1} calls a second, p99 {:.1} ms", found.p99_ms))?)
}

async fn ramp(args: &KneeArgs) -> anyhow::Result<Vec<Row>> {
    let targets = args.pressure.targets().await?;
    let lasting = Duration::from_secs(args.step_seconds.into());
    let mut search = Search::new(args.from.into());
    // What is made once, connections above all, is made before anything counts.
    let warm_up = Offer { call: args.pressure.call, per_second: search.rate(), lasting };
    offer(&targets, warm_up).await?;
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < MOST_STEPS {
        let rate = search.rate();
        let row = offer(&targets, Offer { per_second: rate, ..warm_up }).await?.row(rate);
        let kept = is_borne(&row, args.objective_ms.into());
        rows.push(row);
        if !search.learn(kept) {
            break;
        }
    }
    Ok(rows)
}
