//! Which road each intent should take, from what each road was worth on labelled queries. Pure.

use std::fmt::Write;

use serde::Serialize;
use trivium_ranking::metrics::mean;

use super::roads::MeasuredRoad;
use crate::bench::latency::Latencies;

/// Fewer queries of an intent recommend nothing: one query more could turn the order of the roads around.
pub const LEAST_QUERIES: usize = 10;

/// What quality is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Measure {
    /// Whether the answer contains a right one, 0 or 1.
    #[serde(rename = "contains_answer")]
    ContainsAnswer,
    /// nDCG@10 of the right documents.
    #[serde(rename = "ndcg@10")]
    Ndcg10,
}

impl Measure {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContainsAnswer => "answer contained",
            Self::Ndcg10 => "nDCG@10",
        }
    }
}

/// One query on one road.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Its quality, 0 to 1.
    pub quality: f64,
    /// Time that the caller waited.
    pub elapsed_ms: f64,
}

/// All queries of an intent on one road, in the same order on every road.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The road.
    pub road: MeasuredRoad,
    /// One for each query.
    pub samples: Vec<Sample>,
}

/// What one road is worth for an intent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RoadFigures {
    /// The road.
    pub road: MeasuredRoad,
    /// Mean quality.
    pub quality: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
}

/// What an intent's queries say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IntentFigures {
    /// The intent.
    pub intent: String,
    /// Its queries.
    pub queries: usize,
    /// What quality is measured by.
    pub measure: Measure,
    /// Each road.
    pub roads: Vec<RoadFigures>,
    /// The road to take; `None` with fewer than [`LEAST_QUERIES`] queries.
    pub recommended: Option<MeasuredRoad>,
}

impl IntentFigures {
    /// Puts the samples of an intent together.
    pub fn of(intent: String, measure: Measure, measured: &[Samples]) -> Self {
        let queries = measured.first().map_or(0, |road| road.samples.len());
        Self {
            intent,
            queries,
            measure,
            roads: measured.iter().map(figures).collect(),
            recommended: if queries < LEAST_QUERIES { None } else { recommended(measured) },
        }
    }
}

fn figures(road: &Samples) -> RoadFigures {
    let mut latencies = Latencies::default();
    for sample in &road.samples {
        latencies.push(std::time::Duration::from_secs_f64(sample.elapsed_ms.max(0.0) / 1_000.0));
    }
    RoadFigures {
        road: road.road,
        quality: quality(road),
        p50_ms: latencies.percentile_ms(0.5),
        p95_ms: latencies.percentile_ms(0.95),
    }
}

fn quality(road: &Samples) -> f64 {
    mean(&road.samples.iter().map(|sample| sample.quality).collect::<Vec<_>>()).unwrap_or_default()
}

/// Quality first: the best road, or of those that are not worse by more than the standard error of their paired
/// difference the one that is fastest.
fn recommended(measured: &[Samples]) -> Option<MeasuredRoad> {
    let best = measured.iter().max_by(|left, right| {
        let by_quality = quality(left).total_cmp(&quality(right));
        by_quality.then_with(|| figures(right).p50_ms.total_cmp(&figures(left).p50_ms))
    })?;
    let as_good = measured.iter().filter(|road| !is_worse(road, best));
    as_good.min_by(|left, right| figures(left).p50_ms.total_cmp(&figures(right).p50_ms)).map(|road| road.road)
}

fn is_worse(road: &Samples, best: &Samples) -> bool {
    let pairs = best.samples.iter().zip(&road.samples);
    let differences: Vec<f64> = pairs.map(|(best, road)| best.quality - road.quality).collect();
    let count = differences.len() as f64;
    let mean = mean(&differences).unwrap_or_default();
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let standard_error = (squares / (count - 1.0).max(1.0) / count.max(1.0)).sqrt();
    // Where one query alone makes the difference, both are equal, and rounding must not decide between them.
    mean > standard_error * (1.0 + 1e-9)
}

/// The routes file that says what is recommended, with the figures as comments. Intents without a recommendation take the
/// default road.
pub fn routes_file(intents: &[IntentFigures], collection: &str) -> String {
    let mut text = String::from(
        "# Which road each intent takes, as `trivium eval routes` measured it.\n\
         # `trivium routes check FILE` says whether a router would take it.\n\n\
         version = 1\n\n\
         [default]\nroute = \"hybrid\"\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "collections = [{}]", quoted(collection));
    for intent in intents {
        let _ = write!(text, "\n# {} queries, {}", intent.queries, intent.measure.name());
        for road in &intent.roads {
            let _ = write!(text, "; {} {:.3} in {:.1} ms", road.road.name(), road.quality, road.p50_ms);
        }
        let _ = match intent.recommended {
            Some(road) => write!(text, "\n[intents.{}]\nroute = \"{}\"\n", quoted(&intent.intent), road.name()),
            None => write!(text, "\n# Too few to recommend a road for {}.\n", quoted(&intent.intent)),
        };
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn road(road: MeasuredRoad, elapsed_ms: f64, qualities: impl IntoIterator<Item = f64>) -> Samples {
        let samples = qualities.into_iter().map(|quality| Sample { quality, elapsed_ms });
        Samples { road, samples: samples.collect() }
    }

    fn intent(measured: &[Samples]) -> IntentFigures {
        IntentFigures::of("lookup".into(), Measure::Ndcg10, measured)
    }

    #[test]
    fn quality_comes_first_and_ties_go_to_the_faster() {
        use MeasuredRoad::{Hybrid, Lexical, Semantic};
        let alternating = |high: f64| (0..20).map(move |n| if n % 2 == 0 { high } else { 0.5 });
        let table = [
            // Far better, though slower.
            (vec![road(Lexical, 1.0, [0.2; 20]), road(Hybrid, 9.0, [0.9; 20])], Some(Hybrid)),
            // Equal on every query.
            (vec![road(Hybrid, 9.0, [0.9; 20]), road(Lexical, 1.0, [0.9; 20])], Some(Lexical)),
            // One query of twenty makes the difference: that is noise.
            (
                vec![
                    road(Semantic, 9.0, (0..20).map(|n| if n == 0 { 1.0 } else { 0.5 })),
                    road(Lexical, 1.0, [0.5; 20]),
                ],
                Some(Lexical),
            ),
            // Half of them do, which is not.
            (vec![road(Semantic, 9.0, alternating(1.0)), road(Lexical, 1.0, [0.5; 20])], Some(Semantic)),
            (vec![road(Lexical, 1.0, [0.9; 9])], None),
            (Vec::new(), None),
        ];
        for (measured, expected) in table {
            assert_eq!(intent(&measured).recommended, expected, "{measured:?}");
        }
    }

    #[test]
    fn the_routes_file_is_one_that_a_router_takes() {
        let known = [road(MeasuredRoad::Lexical, 1.0, [0.75; 10]), road(MeasuredRoad::Hybrid, 2.5, [0.5; 10])];
        let mut odd = intent(&known);
        odd.intent = "odd \"name\"".into();
        odd.recommended = Some(MeasuredRoad::Direct);
        let mut few = intent(&known);
        few.recommended = None;
        let text = routes_file(&[intent(&known), odd, few], "handbook");
        trivium_router::policy::Policy::parse(&text, &["docs".to_owned()]).expect("a policy");
        for part in [
            "# 10 queries, nDCG@10; lexical 0.750 in 1.0 ms; hybrid 0.500 in 2.5 ms\n[intents.\"lookup\"]\nroute = \"lexical\"",
            "collections = [\"handbook\"]",
            "route = \"direct\"",
            "# Too few",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("[intents.").count(), 2);
    }
}
