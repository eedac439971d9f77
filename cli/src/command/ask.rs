//! `trivium ask`: a question, and an answer with its sources.

use clap::ValueEnum;
use futures::StreamExt;
use trivium_proto::router::v1::{AnswerMode, CacheMode, QueryOptions, QueryStreamRequest, Road};
use trivium_service_kit::{Error, Reason};

use crate::{
    args::{RerankArgs, RouterEndpoint, as_of},
    clients::Router,
    output,
    render::{answer, decision, flow::Flow, style::Style},
    view::{Answer, Event},
};

/// Arguments of `trivium ask`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The question
    query: String,
    /// Search only this collection; may be given several times
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// Show the runners-up, every passage, and each leg's part in the ranking
    #[arg(long)]
    explain: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Take this road, whatever the intent
    #[arg(long, value_name = "R")]
    route: Option<RoadArg>,
    /// How many passages to retrieve, 1 to 100 [default: the policy's number]
    #[arg(short = 'k', value_name = "N")]
    k: Option<u32>,
    /// A condition on metadata, for instance 'lang = "en" AND tags HAS "billing"'
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// Answer from an earlier state: a version, a tag, or a time such as 2026-05-01T10:00:00Z
    #[arg(long, value_name = "V")]
    as_of: Option<String>,
    #[command(flatten)]
    rerank: RerankArgs,
    /// Show the passages only
    #[arg(long)]
    no_answer: bool,
    /// Compute the answer anew, even if the router has it in its cache
    #[arg(long)]
    no_cache: bool,
    /// Who writes the answer, instead of the policy's choice
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    generator: String,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// A road, as it is named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoadArg {
    /// Full-text retrieval
    Lexical,
    /// Vector retrieval
    Semantic,
    /// Both, fused
    Hybrid,
    /// Straight to the generator
    Direct,
    /// The policy's fixed text
    Reply,
}

impl From<RoadArg> for Road {
    fn from(road: RoadArg) -> Self {
        match road {
            RoadArg::Lexical => Self::Lexical,
            RoadArg::Semantic => Self::Semantic,
            RoadArg::Hybrid => Self::Hybrid,
            RoadArg::Direct => Self::Direct,
            RoadArg::Reply => Self::Reply,
        }
    }
}

/// Asks, and shows the answer as it comes.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let router = Router::connect(&args.endpoint.url)?;
    let mut events = router.query_stream(request(&args)).await?;
    let mut answer = Answer::default();
    let mut screen = Screen::new(args.explain);
    while let Some(event) = events.next().await {
        let event = answer.take(event?);
        if !args.json {
            screen.show(event)?;
        }
    }
    if answer.request_id.is_empty() {
        return Err(Error::new(Reason::RouterUnavailable, "the router ended the answer before it was complete").into());
    }
    if args.json { output::json(&answer) } else { screen.close(&answer) }
}

fn request(args: &Args) -> QueryStreamRequest {
    let mode = if args.no_answer { AnswerMode::None } else { AnswerMode::Generate };
    let options = QueryOptions {
        collections: args.collections.clone(),
        road: args.route.map_or(Road::Unspecified, Road::from).into(),
        k: args.k,
        answer_mode: mode.into(),
        generator: args.generator.clone(),
        filter: args.filter.clone(),
        cache: if args.no_cache { CacheMode::Bypass } else { CacheMode::Unspecified }.into(),
        as_of: args.as_of.as_deref().map(as_of),
        rerank: args.rerank.wish(),
        ..QueryOptions::default()
    };
    QueryStreamRequest { query: args.query.clone(), options: Some(options), ..QueryStreamRequest::default() }
}

/// A terminal on which an answer appears.
struct Screen {
    style: Style,
    columns: usize,
    explain: bool,
    flow: Flow,
    /// Whether the answer's first words are shown.
    begun: bool,
}

impl Screen {
    fn new(explain: bool) -> Self {
        let (style, columns) = (Style::of_stdout(), output::columns());
        Self { style, columns, explain, flow: Flow::new(style, columns, 2), begun: false }
    }

    fn show(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        match event {
            Event::Decided(view) => {
                output::write(&format!("\n{}\n", decision::decision(self.style, view, self.explain)))?;
            }
            Event::Text(piece) => {
                let space = if self.begun { "" } else { "\n" };
                self.begun = true;
                output::write(&format!("{space}{}", self.flow.push(&piece)))?;
            }
            Event::Found(_) | Event::Later => {}
        }
        Ok(())
    }

    fn close(&mut self, view: &Answer) -> anyhow::Result<()> {
        let rest = self.flow.finish();
        let nothing = if view.passages.is_empty() && !self.begun { "\n  Nothing was found.\n" } else { "" };
        let footer = answer::footer(self.style, view, self.explain, self.columns);
        Ok(output::write(&format!("{rest}{nothing}{footer}\n"))?)
    }
}
