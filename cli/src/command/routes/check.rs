//! `trivium routes check`: would the router take this file, and what would it change?

use std::path::{Path, PathBuf};

use serde::Serialize;
use trivium_proto::model::v1::ModelKind;
use trivium_router::policy::{Policy, PolicyError};
use trivium_service_kit::Reason;

use super::{
    compare::{self, RuleChange, Sample},
    samples, show,
};
use crate::{
    args::ModelHostEndpoint,
    clients::{ModelHost, Router},
    exit::BadConfiguration,
    output,
};

/// Arguments of `trivium routes check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file
    file: PathBuf,
    /// Queries to decide by it, one on a line, or JSON lines of {"text","label"}
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Address of the router, whose policy the file is compared with
    #[arg(long = "router", env = "TRIVIUM_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:7700")]
    router_url: String,
    #[command(flatten)]
    endpoint: ModelHostEndpoint,
}

/// What `trivium routes check --json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// Whether the router would take it.
    pub good: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// Its digest.
    pub version: String,
    /// Where it searches.
    pub collections: Vec<String>,
    /// Whether its intents were compared with the model's.
    pub intents: Intents,
    /// Digest of the policy that the router runs; `None` when the router cannot be asked.
    pub running_version: Option<String>,
    /// The rules that differ from those of the running policy.
    pub rules: Vec<RuleChange>,
    /// What each sample query would do.
    pub queries: Vec<Sample>,
}

/// What is wrong with a file, and where.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in code points.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// What the model host says of the intents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Intents {
    /// The serving model has all of them.
    Compared,
    /// No intent model serves.
    NoModel,
    /// The model host does not run.
    ModelHostUnreachable,
}

/// Checks the file, and compares it with what runs.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (host, router) = (ModelHost::connect(&args.endpoint.url)?, Router::connect(&args.router_url)?);
    let running = running(&router).await?;
    let policy = match policy(&args.file, running.as_ref(), &host).await? {
        Ok(checked) => checked,
        Err(error) => return refuse(&args, error),
    };
    let (policy, intents) = policy;
    let before = running.as_ref().map(|running| &running.policy);
    let queries = match &args.queries {
        Some(file) => compare::samples(samples::read(file)?, before, &policy, &host).await?,
        None => Vec::new(),
    };
    let report = Report {
        file: args.file.display().to_string(),
        good: true,
        error: None,
        version: policy.version().to_owned(),
        collections: policy.collections().into_iter().map(str::to_owned).collect(),
        intents,
        running_version: before.map(|before| before.version().to_owned()),
        rules: before.map(|before| compare::rules(before, &policy)).unwrap_or_default(),
        queries,
    };
    if args.json { output::json(&report) } else { Ok(output::write(&show::report(&report))?) }
}

/// Says what is wrong with the file, in words or as JSON; the process exits 64.
fn refuse(args: &Args, PolicyError { at, why }: PolicyError) -> anyhow::Result<()> {
    let file = args.file.display().to_string();
    let refusal = BadConfiguration(format!("{file}: {at}: {why}"));
    if args.json {
        output::json(&Report {
            file,
            good: false,
            error: Some(Problem { line: at.line, column: at.column, why }),
            version: String::new(),
            collections: Vec::new(),
            intents: Intents::ModelHostUnreachable,
            running_version: None,
            rules: Vec::new(),
            queries: Vec::new(),
        })?;
    }
    Err(refusal.into())
}

/// The policy that the router runs, and where it searches by default.
struct Running {
    policy: Policy,
    collections: Vec<String>,
}

/// `None` when the router does not run, or is too old to tell.
async fn running(router: &Router) -> anyhow::Result<Option<Running>> {
    let told = match router.policy().await {
        Ok(told) => told,
        Err(error) if matches!(error.reason(), Reason::RouterUnavailable | Reason::MethodUnknown) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A newer router may take what this program cannot read; then there is nothing to compare with.
    let policy = Policy::parse(&told.text, &told.default_collections).ok();
    Ok(policy.map(|policy| Running { policy, collections: told.default_collections }))
}

/// The policy of the file, once it is known to be right, and whether its intents were compared with the model's.
async fn policy(
    file: &Path,
    running: Option<&Running>,
    host: &ModelHost,
) -> anyhow::Result<Result<(Policy, Intents), PolicyError>> {
    let text = fs_err::read_to_string(file).map_err(|error| BadConfiguration(error.to_string()))?;
    let collections = match running {
        Some(running) => running.collections.clone(),
        None => trivium_router::Options::default().collections,
    };
    let policy = match Policy::parse(&text, &collections) {
        Ok(policy) => policy,
        Err(error) => return Ok(Err(error)),
    };
    let models = match host.models().await {
        Ok(models) => models,
        Err(error) if error.reason() == Reason::ModelHostUnavailable => {
            return Ok(Ok((policy, Intents::ModelHostUnreachable)));
        }
        Err(error) => return Err(error.into()),
    };
    let serving = models.into_iter().find(|model| model.serving && model.kind() == ModelKind::Intent);
    Ok(match serving {
        None => Ok((policy, Intents::NoModel)),
        Some(model) => {
            policy.check_labels(&model.labels, &model.out_of_scope_label).map(|()| (policy, Intents::Compared))
        }
    })
}
