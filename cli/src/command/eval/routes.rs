//! `trivium eval routes`: which road each intent should take, measured on labelled queries.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use trivium_proto::router::v1::QueryResponse;
use trivium_ranking::metrics::ndcg_at;
use trivium_router::policy::Policy;
use trivium_service_kit::{Error, Reason};

use super::bar;
use crate::{
    args::RouterEndpoint,
    clients::Router,
    eval::{
        answers::contains,
        labelled::{self, Labelled},
        recommend::{IntentFigures, LEAST_QUERIES, Measure, Sample, Samples, routes_file},
        roads::{Ask, MeasuredRoad, documents, take},
    },
    output,
    render::table::table,
};

/// Passages for each query: nDCG looks at ten documents.
const K: u32 = 10;

/// Arguments of `trivium eval routes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled queries, one JSON object on each line: {"query", "intent", "documents": [...] or "answers": [...]}
    file: PathBuf,
    /// The collection that they are about
    #[arg(long, value_name = "NAME", default_value = "docs")]
    collection: String,
    /// Roads to compare [default: those with passages, and the direct one where queries have answers and a generator is
    /// configured for it]
    #[arg(long, value_name = "ROAD", value_delimiter = ',')]
    roads: Vec<MeasuredRoad>,
    /// Who writes the answers [default: the policy's choice]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    generator: String,
    /// Write the routes file that says what is recommended
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

#[derive(Serialize)]
struct Report {
    collection: String,
    queries: usize,
    /// Lines that name no intent, or neither documents nor answers.
    left_out: usize,
    intents: Vec<IntentFigures>,
    /// The routes file that says what is recommended.
    routes: String,
}

/// Sends every query down every road, and compares the roads for each intent.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let router = Router::connect(&args.endpoint.url)?;
    let file = args.file.clone();
    let labelled = tokio::task::spawn_blocking(move || labelled::read(&file)).await??;
    let lines = labelled.len();
    let intents = by_intent(labelled);
    let queries = intents.iter().map(|intent| intent.queries.len()).sum();
    if queries == 0 {
        bail!("{} has no line with an intent and documents or answers", args.file.display());
    }
    let figures = measured(&router, &args, intents, queries).await?;
    let routes = routes_file(&figures, &args.collection);
    Policy::parse(&routes, std::slice::from_ref(&args.collection)).context("the recommendation is no routes file")?;
    if let Some(out) = &args.out {
        fs_err::write(out, &routes)?;
    }
    let report =
        Report { collection: args.collection.clone(), queries, left_out: lines - queries, intents: figures, routes };
    if args.json { output::json(&report) } else { show(&report, args.out.as_deref()) }
}

/// The queries of one intent that the same measure fits.
struct Intent {
    name: String,
    measure: Measure,
    queries: Vec<Labelled>,
}

/// Sorts the queries by intent. An intent is measured by answers if most of its queries have some, and else by documents;
/// queries that the measure does not fit are left out.
fn by_intent(labelled: Vec<Labelled>) -> Vec<Intent> {
    let mut intents: BTreeMap<String, Vec<Labelled>> = BTreeMap::new();
    for query in labelled.into_iter().filter(|query| !query.intent.is_empty()) {
        intents.entry(query.intent.clone()).or_default().push(query);
    }
    let sorted = intents.into_iter().map(|(name, mut queries)| {
        let answered = queries.iter().filter(|query| !query.answers.is_empty()).count();
        let documented = queries.iter().filter(|query| !query.documents.is_empty()).count();
        let measure = if answered >= documented { Measure::ContainsAnswer } else { Measure::Ndcg10 };
        queries.retain(|query| match measure {
            Measure::ContainsAnswer => !query.answers.is_empty(),
            Measure::Ndcg10 => !query.documents.is_empty(),
        });
        Intent { name, measure, queries }
    });
    sorted.filter(|intent| !intent.queries.is_empty()).collect()
}

async fn measured(
    router: &Router,
    args: &Args,
    intents: Vec<Intent>,
    queries: usize,
) -> anyhow::Result<Vec<IntentFigures>> {
    let bar = bar("asking", queries as u64);
    let mut figures = Vec::with_capacity(intents.len());
    for intent in intents {
        let mut roads = Vec::new();
        for road in roads_of(args, intent.measure) {
            match on_road(router, args, &intent, road).await {
                Ok(samples) => roads.push(Samples { road, samples }),
                // Nobody asked for this road by name, so it is compared where it can be taken.
                Err(error) if error.reason() == Reason::NoGenerator && args.roads.is_empty() => {}
                Err(error) => return Err(error.into()),
            }
        }
        bar.inc(intent.queries.len() as u64);
        figures.push(IntentFigures::of(intent.name, intent.measure, &roads));
    }
    bar.finish_and_clear();
    Ok(figures)
}

/// Documents say nothing of a road without passages.
fn roads_of(args: &Args, measure: Measure) -> Vec<MeasuredRoad> {
    let mut roads = args.roads.clone();
    if roads.is_empty() {
        roads.extend(MeasuredRoad::RETRIEVAL);
        roads.push(MeasuredRoad::Direct);
    }
    roads.retain(|road| measure == Measure::ContainsAnswer || *road != MeasuredRoad::Direct);
    roads
}

async fn on_road(router: &Router, args: &Args, intent: &Intent, road: MeasuredRoad) -> Result<Vec<Sample>, Error> {
    let ask = Ask {
        collection: args.collection.clone(),
        k: K,
        answer: intent.measure == Measure::ContainsAnswer,
        generator: args.generator.clone(),
    };
    let mut samples = Vec::with_capacity(intent.queries.len());
    for query in &intent.queries {
        let taken = take(router, &query.query, road, &ask).await?;
        samples.push(Sample { quality: quality(query, intent.measure, &taken.response), elapsed_ms: taken.elapsed_ms });
    }
    Ok(samples)
}

fn quality(query: &Labelled, measure: Measure, response: &QueryResponse) -> f64 {
    match measure {
        Measure::ContainsAnswer => {
            f64::from(u8::from(query.answers.iter().any(|answer| contains(&response.answer, answer))))
        }
        Measure::Ndcg10 => {
            query.judged().map_or(0.0, |judged| ndcg_at(&documents(response), &judged.judgements, K as usize))
        }
    }
}

fn show(report: &Report, out: Option<&std::path::Path>) -> anyhow::Result<()> {
    let rows = report.intents.iter().flat_map(|intent| {
        intent.roads.iter().map(|road| {
            [
                intent.intent.clone(),
                intent.queries.to_string(),
                intent.measure.name().to_owned(),
                road.road.name().to_owned(),
                format!("{:.3}", road.quality),
                format!("{:.1}", road.p50_ms),
                format!("{:.1}", road.p95_ms),
                if intent.recommended == Some(road.road) { "<".to_owned() } else { String::new() },
            ]
        })
    });
    let titles = ["intent", "queries", "measure", "road", "quality", "p50 ms", "p95 ms", "take"];
    output::line(table(titles, rows))?;
    if report.left_out > 0 {
        output::line(format!("{} lines name no intent or nothing to judge by, and were left out", report.left_out))?;
    }
    let few: Vec<&str> =
        report.intents.iter().filter(|it| it.recommended.is_none()).map(|it| it.intent.as_str()).collect();
    if !few.is_empty() {
        output::line(format!("fewer than {LEAST_QUERIES} queries recommend nothing: {}", few.join(", ")))?;
    }
    match out {
        Some(file) => Ok(output::line(format!("wrote {}", file.display()))?),
        None => Ok(output::line("--out FILE writes the routes file that says so")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(intent: &str, documents: &[&str], answers: &[&str]) -> Labelled {
        Labelled {
            query: "q".into(),
            intent: intent.into(),
            documents: documents.iter().map(|&id| (id.to_owned(), 1)).collect(),
            answers: answers.iter().map(|&answer| answer.to_owned()).collect(),
            ..Labelled::default()
        }
    }

    #[test]
    fn intents_are_measured_by_what_most_of_their_queries_have() {
        let intents = by_intent(vec![
            labelled("a", &["d"], &[]),
            labelled("a", &["d"], &[]),
            labelled("a", &[], &["x"]),
            labelled("b", &["d"], &["x"]),
            labelled("c", &[], &[]),
            labelled("", &["d"], &[]),
        ]);
        let found: Vec<(&str, Measure, usize)> =
            intents.iter().map(|intent| (intent.name.as_str(), intent.measure, intent.queries.len())).collect();
        assert_eq!(found, [("a", Measure::Ndcg10, 2), ("b", Measure::ContainsAnswer, 1)]);
    }
}
