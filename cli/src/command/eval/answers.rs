//! `trivium eval answers`: questions whose right answers are known, down each road.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use trivium_model_host::generate::{EXTRACTIVE, Screened};
use trivium_proto::{
    model::v1::{EmbedPriority, EmbedRequest, ModelRef},
    retriever::v1::Collection,
    router::v1::QueryResponse,
};
use trivium_service_kit::Error;

use super::{
    bar,
    set::{SetArgs, SetOptions},
};
use crate::{
    args::{ModelHostBeside, RetrieverBeside, RouterEndpoint},
    clients::{ModelHost, Retriever, Router},
    eval::{
        answers::{Figures, Judged},
        questions::{Question, of_file, of_set, sample},
        roads::{Ask, MeasuredRoad, Taken, take},
    },
    output,
    render::table::table,
};

/// Arguments of `trivium eval answers`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder in BEIR's layout whose queries have "answers" and "is_impossible", or a file of labelled queries
    #[arg(value_name = "DIR|FILE")]
    questions: PathBuf,
    #[command(flatten)]
    set: SetOptions,
    /// Roads to take
    #[arg(long, value_name = "ROAD", value_delimiter = ',', default_value = "lexical,semantic,hybrid")]
    roads: Vec<MeasuredRoad>,
    /// Passages for each answer
    #[arg(short = 'k', value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    k: u32,
    /// Ask at most this many questions, drawn by the seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The seed of the draw
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Who writes the answers [default: the policy's choice]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    generator: String,
    /// Questions that are asked at the same time; more than 1 spoils the latencies
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: RouterEndpoint,
    #[command(flatten)]
    retriever: RetrieverBeside,
    #[command(flatten)]
    model_host: ModelHostBeside,
}

#[derive(Serialize)]
struct Report {
    questions: usize,
    answerable: usize,
    unanswerable: usize,
    collection: String,
    roads: BTreeMap<&'static str, Figures>,
}

/// What the questions are put to.
struct Target {
    router: Router,
    host: ModelHost,
    ask: Ask,
    clients: usize,
}

/// Asks every question down every road.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let retriever = Retriever::connect(&args.retriever.url)?;
    let questions = questions(&args).await?;
    let work = async |collection: &Collection| {
        let ask =
            Ask { collection: collection.name.clone(), k: args.k, answer: true, generator: args.generator.clone() };
        let target = Target {
            router: Router::connect(&args.endpoint.url)?,
            host: ModelHost::connect(&args.model_host.url)?,
            ask,
            clients: args.clients.into(),
        };
        Ok((target.ask.collection.clone(), target.roads(&questions, &args.roads).await?))
    };
    let (collection, roads) = if args.questions.is_dir() {
        SetArgs { folder: args.questions.clone(), options: args.set.clone() }.with_collection(&retriever, work).await?
    } else {
        let name = args.set.collection.clone().unwrap_or_else(|| "docs".to_owned());
        let Some(collection) = retriever.collection(&name).await? else {
            bail!("there is no collection {name:?}; --collection names the one that the questions are about");
        };
        work(&collection).await?
    };
    let answerable = questions.iter().filter(|question| question.is_answerable()).count();
    let unanswerable = questions.len() - answerable;
    let report = Report { questions: questions.len(), answerable, unanswerable, collection, roads };
    if args.json { output::json(&report) } else { show(&report) }
}

async fn questions(args: &Args) -> anyhow::Result<Vec<Question>> {
    let (path, split) = (args.questions.clone(), args.set.split.clone());
    let read = move || if path.is_dir() { of_set(&path, &split) } else { of_file(&path) };
    let questions = tokio::task::spawn_blocking(read).await??;
    Ok(match args.limit {
        Some(limit) => sample(questions, limit as usize, args.seed),
        None => questions,
    })
}

impl Target {
    async fn roads(
        &self,
        questions: &[Question],
        roads: &[MeasuredRoad],
    ) -> anyhow::Result<BTreeMap<&'static str, Figures>> {
        let bar = bar("asking", (questions.len() * roads.len()) as u64);
        let mut figures = BTreeMap::new();
        for road in roads.iter().copied() {
            let judged = questions.iter().map(|question| async {
                let judged = self.judged(question, road).await;
                bar.inc(1);
                judged
            });
            let judged: Vec<Judged> = stream::iter(judged).buffered(self.clients).try_collect().await?;
            figures.insert(road.name(), Figures::of(&judged));
        }
        bar.finish_and_clear();
        Ok(figures)
    }

    async fn judged(&self, question: &Question, road: MeasuredRoad) -> Result<Judged, Error> {
        let taken = take(&self.router, &question.text, road, &self.ask).await?;
        let confidence = self.confidence(question, &taken).await?;
        Ok(Judged::of(question, road, &taken, confidence))
    }

    /// The built-in generator's confidence, made again from the passages that it had: the answer does not tell it.
    async fn confidence(&self, question: &Question, taken: &Taken) -> Result<Option<f64>, Error> {
        let account = taken.response.account.as_ref();
        if account.is_none_or(|account| account.generator != EXTRACTIVE) {
            return Ok(None);
        }
        let texts = texts(&taken.response);
        let screened = Screened::of(&question.text, &texts);
        if screened.is_empty() {
            return Ok(Some(0.0));
        }
        let request = EmbedRequest {
            texts: screened.texts().into_iter().map(str::to_owned).collect(),
            model: generator_model(&taken.response),
            priority: EmbedPriority::Query.into(),
            token_vectors: None,
        };
        let vectors = self.host.embed(request).await?.embeddings.into_iter().map(|embedding| embedding.values);
        Ok(Some(screened.confidence(vectors.collect()).into()))
    }
}

/// The passages as the generator had them, best first.
fn texts(response: &QueryResponse) -> Vec<&str> {
    response.passages.iter().filter_map(|passage| passage.hit.as_ref()).map(|hit| hit.text.as_str()).collect()
}

/// The encoder that the built-in generator ranked sentences with.
fn generator_model(response: &QueryResponse) -> Option<ModelRef> {
    let models = &response.account.as_ref()?.models;
    models.iter().find(|used| used.role == "generator").and_then(|used| used.model.clone())
}

fn show(report: &Report) -> anyhow::Result<()> {
    let percent = |value: Option<f64>| value.map(|value| format!("{:.1} %", value * 100.0)).unwrap_or_default();
    let rows = report.roads.iter().map(|(road, figures)| {
        [
            (*road).to_owned(),
            percent(figures.recall_5),
            percent(figures.contains_answer),
            percent(figures.declined_answerable),
            percent(figures.declined_unanswerable),
            percent(figures.citations_hold),
            format!("{:.1}", figures.p50_ms),
            format!("{:.1}", figures.p95_ms),
        ]
    });
    let titles = [
        "road",
        "recall@5",
        "answer contained",
        "answerable declined",
        "unanswerable declined",
        "citations hold",
        "p50 ms",
        "p95 ms",
    ];
    output::line(table(titles, rows))?;
    let Report { questions, answerable, unanswerable, .. } = report;
    output::line(format!("over {questions} questions, {answerable} with an answer and {unanswerable} without"))?;
    for (road, figures) in report.roads.iter().filter(|(_, figures)| !figures.sweep.is_empty()) {
        let rows = figures.sweep.iter().map(|it| {
            [
                format!("{:.3}", it.least_confidence),
                percent(Some(it.declined_answerable)),
                percent(it.declined_unanswerable),
                percent(Some(it.contains_answer)),
            ]
        });
        let titles = ["least confidence", "answerable declined", "unanswerable declined", "answer contained"];
        output::line(format!("\n{road}, at other thresholds:\n{}", table(titles, rows)))?;
    }
    Ok(())
}
