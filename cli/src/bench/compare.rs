//! The same calls to several servers in turns, so that whatever changes on the machine meanwhile changes for all of them.

use std::time::Instant;

use serde::Serialize;
use trivium_service_kit::Error;

use super::{
    latency::Latencies,
    load::{Call, Target},
};

/// How the turns are taken.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    /// The kind of call.
    pub call: Call,
    /// How often each server has its turn.
    pub rounds: usize,
    /// Calls of each turn, one after the other. The first of them, which finds the processor's caches full of another
    /// server's data, is not measured.
    pub calls: usize,
}

/// What was measured of one server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// Calls that were measured.
    pub calls: usize,
    /// Median latency of all calls.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// The median over the rounds of this server's median latency, as a share of the first server's in the same round.
    pub ratio: f64,
    /// Half of the rounds' ratios lie between these: the first and the third quartile.
    pub ratio_quartiles: (f64, f64),
}

/// The latencies of each server, by round.
type Rounds = Vec<Vec<Latencies>>;

/// Makes the calls.
///
/// # Errors
/// The first call that fails: figures of failing calls mean nothing.
pub async fn compare(targets: &[(String, Target)], turns: Turns) -> Result<Vec<Row>, Error> {
    let mut rounds: Rounds = Vec::with_capacity(turns.rounds);
    let mut number = 0;
    for round in 0..turns.rounds {
        let mut latencies = vec![Latencies::default(); targets.len()];
        for place in order(round, targets.len()) {
            let (_, target) = &targets[place];
            for nth in 0..=turns.calls {
                let started = Instant::now();
                // All servers are asked the same in the same round.
                target.call(turns.call, number + nth).await?;
                if nth > 0 {
                    latencies[place].push(started.elapsed());
                }
            }
        }
        number += turns.calls;
        rounds.push(latencies);
    }
    Ok(rows(targets.iter().map(|(name, _)| name.clone()), &rounds))
}

/// In which order the servers have their turns: every other round goes backwards, so that none always comes after the same
/// one, and after two rounds another one begins.
fn order(round: usize, servers: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers).map(|nth| (nth + round / 2) % servers).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn rows(names: impl Iterator<Item = String>, rounds: &Rounds) -> Vec<Row> {
    let row = |(place, name): (usize, String)| {
        let mut all = Latencies::default();
        rounds.iter().for_each(|round| all.extend(round[place].clone()));
        let mut ratios: Vec<f64> = rounds
            .iter()
            .map(|round| round[place].percentile_ms(0.5) / round[0].percentile_ms(0.5))
            .filter(|ratio| ratio.is_finite())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let nth = (share * ratios.len() as f64).ceil().max(1.0) as usize;
            ratios.get(nth - 1).copied().unwrap_or(1.0)
        };
        Row {
            name,
            calls: all.len(),
            p50_ms: all.percentile_ms(0.5),
            p95_ms: all.percentile_ms(0.95),
            ratio: quantile(0.5),
            ratio_quartiles: (quantile(0.25), quantile(0.75)),
        }
    };
    names.enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everybody_has_a_turn_in_each_round_and_each_begins_as_often() {
        let mut begins = [0; 4];
        for round in 0..8 {
            let mut order = order(round, 4);
            begins[order[0]] += 1;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
        assert_eq!(begins, [2; 4]);
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        // The machine becomes ten times slower after the first round, and the second server takes a fifth more in each.
        let of = |ms: u64| {
            let mut latencies = Latencies::default();
            latencies.push(Duration::from_millis(ms));
            latencies
        };
        let rounds = vec![vec![of(10), of(12)], vec![of(100), of(120)], vec![of(100), of(120)]];
        let rows = rows(["plain", "more"].map(str::to_owned).into_iter(), &rounds);
        assert_eq!((rows[0].ratio, rows[0].calls, rows[0].p50_ms), (1.0, 3, 100.0));
        assert!((rows[1].ratio - 1.2).abs() < 1e-9 && (rows[1].ratio_quartiles.0 - 1.2).abs() < 1e-9, "{rows:?}");
    }
}
