//! The command line: its commands, and the flags that several of them share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;
use trivium_proto::retriever::v1::{AsOf, Rerank, RerankMethod, as_of::State};

use crate::command::{
    ask, audit, bench, collections, eval, feedback, health, ingest, intents, keys, models, route, routes, search,
    serve, up,
};

/// Answers questions from documents: an intent model decides which road each query takes.
#[derive(Debug, Parser)]
#[command(name = "trivium", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How services are reached.
    #[command(flatten)]
    pub access: Access,
}

/// How client commands reach services that ask who calls.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Authorities that the services' certificates come from, in PEM; makes connections secure
    #[arg(long, env = "TRIVIUM_CA", value_name = "FILE", global = true, help_heading = "Access")]
    pub ca: Option<PathBuf>,
    /// Your certificate, in PEM, for services that ask for one
    #[arg(long, env = "TRIVIUM_CERT", value_name = "FILE", global = true, help_heading = "Access", requires_all = ["ca", "cert_key"])]
    pub cert: Option<PathBuf>,
    /// Your certificate's private key, in PEM
    #[arg(
        long,
        env = "TRIVIUM_CERT_KEY",
        value_name = "FILE",
        global = true,
        help_heading = "Access",
        requires = "cert"
    )]
    pub cert_key: Option<PathBuf>,
    /// The name that the services' certificates must have, if it is not that of the endpoint
    #[arg(long, env = "TRIVIUM_SERVER_NAME", value_name = "NAME", global = true, help_heading = "Access")]
    pub server_name: Option<String>,
    /// A file with your API key or token; TRIVIUM_API_KEY holds the key itself
    #[arg(long, env = "TRIVIUM_API_KEY_FILE", value_name = "FILE", global = true, help_heading = "Access")]
    pub api_key_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all three services in this process, on loopback
    Up(up::Args),
    /// Run one service
    Serve(serve::Args),
    /// Ask a service whether it serves
    Health(health::Args),
    /// Put documents into a collection: Markdown, text and JSON lines, whole folders at a time
    Ingest(ingest::Args),
    /// Ask a question, and read the answer with its sources
    Ask(ask::Args),
    /// Say whether an answer helped, which intent was the right one, or which document answers it
    Feedback(feedback::Args),
    /// Show, replay and export what the router has on record
    #[command(subcommand)]
    Audit(audit::Command),
    /// Find passages, without an answer
    Search(search::Args),
    /// Show which road a query would take, and why
    Route(route::Args),
    /// Work with routes files
    #[command(subcommand)]
    Routes(routes::Command),
    /// Fetch, list, promote and compare models
    #[command(subcommand)]
    Models(models::Command),
    /// Fit and judge intent models
    #[command(subcommand)]
    Intents(intents::Command),
    /// List, create, check, tag and delete collections
    #[command(subcommand)]
    Collections(collections::Command),
    /// Make API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Measure quality
    #[command(subcommand)]
    Eval(eval::Command),
    /// Measure latency and throughput of the running services
    Bench(bench::Args),
}

/// Where the router is.
#[derive(Debug, Clone, Args)]
pub struct RouterEndpoint {
    /// Address of the router
    #[arg(long = "endpoint", env = "TRIVIUM_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:7700")]
    pub url: String,
}

/// Where the retriever is, for commands that talk to it first.
#[derive(Debug, Clone, Args)]
pub struct RetrieverEndpoint {
    /// Address of the retriever
    #[arg(
        long = "endpoint",
        env = "TRIVIUM_RETRIEVER_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7701"
    )]
    pub url: String,
}

/// Where the model host is, for commands that talk to it first.
#[derive(Debug, Clone, Args)]
pub struct ModelHostEndpoint {
    /// Address of the model host
    #[arg(
        long = "endpoint",
        env = "TRIVIUM_MODEL_HOST_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7702"
    )]
    pub url: String,
}

/// Where the retriever is, for commands that talk to another service first.
#[derive(Debug, Clone, Args)]
pub struct RetrieverBeside {
    /// Address of the retriever
    #[arg(
        id = "retriever_endpoint",
        long = "retriever-endpoint",
        env = "TRIVIUM_RETRIEVER_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7701"
    )]
    pub url: String,
}

/// Where the model host is, for commands that talk to another service first.
#[derive(Debug, Clone, Args)]
pub struct ModelHostBeside {
    /// Address of the model host
    #[arg(
        id = "model_host_endpoint",
        long = "model-host-endpoint",
        env = "TRIVIUM_MODEL_HOST_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7702"
    )]
    pub url: String,
}

/// Where models are kept on this machine.
#[derive(Debug, Clone, Args)]
pub struct ModelsDir {
    /// Folder of the models [default: the user's cache folder]
    #[arg(long, env = "TRIVIUM_MODELS_DIR", value_name = "DIR")]
    pub models_dir: Option<std::path::PathBuf>,
}

impl ModelsDir {
    /// The registry over that folder.
    pub fn registry(&self) -> trivium_model_host::bundle::Registry {
        let folder = self.models_dir.clone().unwrap_or_else(trivium_model_host::bundle::default_models_dir);
        trivium_model_host::bundle::Registry::new(folder)
    }
}

/// The second stage of a search.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct RerankArgs {
    /// How the first candidates are put in a new order [default: late-interaction, where the collection has token vectors]
    #[arg(long, value_enum, value_name = "HOW")]
    pub rerank: Option<RerankArg>,
    /// How many of the first candidates, 2 to 200 [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=200))]
    pub rerank_depth: Option<u32>,
}

/// A second stage, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RerankArg {
    /// Not at all
    None,
    /// By the encoder's own token vectors
    LateInteraction,
    /// By the cross-encoder that serves
    CrossEncoder,
}

impl RerankArgs {
    /// The wish on the wire; none where nothing was chosen.
    pub fn wish(self) -> Option<Rerank> {
        if self.rerank.is_none() && self.rerank_depth.is_none() {
            return None;
        }
        let method = self.rerank.map_or(RerankMethod::Unspecified, RerankMethod::from);
        Some(Rerank { method: method.into(), depth: self.rerank_depth, weight: None })
    }
}

impl From<RerankArg> for RerankMethod {
    fn from(chosen: RerankArg) -> Self {
        match chosen {
            RerankArg::None => Self::None,
            RerankArg::LateInteraction => Self::LateInteraction,
            RerankArg::CrossEncoder => Self::CrossEncoder,
        }
    }
}

/// A second stage's name in listings.
pub fn rerank_name(method: RerankMethod) -> &'static str {
    match method {
        RerankMethod::Unspecified => "",
        RerankMethod::None => "none",
        RerankMethod::LateInteraction => "late_interaction",
        RerankMethod::CrossEncoder => "cross_encoder",
    }
}

/// The state that `--as-of` names: a version, a time, or else a tag.
pub fn as_of(text: &str) -> AsOf {
    let state = match (text.parse(), text.parse()) {
        (Ok(version), _) => State::Version(version),
        (_, Ok(time)) => State::Time(time),
        _ => State::Tag(text.to_owned()),
    };
    AsOf { state: Some(state) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contract_of_the_command_line_parses() {
        let table = [
            "trivium keys new --tenant acme --name billing --operator --file keys.toml",
            "trivium ask hello --ca ca.pem --cert own.pem --cert-key key.pem --server-name router --api-key-file key",
            "trivium up --data d --config c --router-addr 127.0.0.1:0 --retriever-addr 127.0.0.1:0 --model-host-addr 127.0.0.1:0",
            "trivium serve model-host --config c --addr 127.0.0.1:0",
            "trivium health 127.0.0.1:7702 --timeout-ms 500 --ca ca.pem",
            "trivium ingest --collection docs a b.md",
            "trivium ask hello --collection docs --explain --json --route lexical -k 3 --no-answer --filter x --as-of 7",
            "trivium feedback r-1 --helpful",
            "trivium feedback r-1 --wrong-road lookup --road lexical --document a.md --document b.md --collection docs",
            "trivium audit show r-1 --json",
            "trivium audit replay r-1 --query hello --filter x --json",
            "trivium audit export --format judgements --since 2026-05-01T10:00:00Z --out f.jsonl",
            "trivium audit export --confident 0.9",
            "trivium search hello --collection docs --legs lexical,semantic -k 3 --filter x --as-of 7 --min-version 6 --json",
            "trivium route hello --json",
            "trivium routes check routes.toml",
            "trivium collections calibrate docs --queries labelled.jsonl --dry-run --json",
            "trivium collections calibrate docs --set 0.5",
            "trivium collections calibrate docs --reset --json",
            "trivium eval answers set --roads hybrid,direct -k 5 --limit 600 --seed 2 --clients 2 --json",
            "trivium eval routes labelled.jsonl --collection docs --roads lexical,hybrid --out routes.toml --json",
            "trivium eval calibration set --draw 50 --times 10 --seed 3 --limit 600 --keep --json",
            "trivium models list --json",
            "trivium models pull minilm --from folder --force",
            "trivium models add bge --onnx m.onnx --tokenizer t.json --pooling cls --query-prefix q: --max-tokens 512",
            "trivium models add ms-marco --cross-encoder --onnx m.onnx --tokenizer t.json",
            "trivium models promote intents 2 --force --router http://127.0.0.1:1",
            "trivium models rollback intents",
            "trivium models shadow intents 2 --share 0.1",
            "trivium models shadow intents --json",
            "trivium models shadow intents --off",
            "trivium models load minilm 2",
            "trivium models unload minilm 1",
            "trivium intents fit --train a.jsonl --valid b.jsonl --test c.jsonl --name intents",
            "trivium intents eval --name intents --test c.jsonl --json",
            "trivium intents eval --name intents --version 2 --precision int8 --test c.jsonl",
            "trivium intents add --name intents --label refund --examples d.txt --no-promote --json",
            "trivium collections list --json",
            "trivium collections create docs",
            "trivium collections delete docs --yes",
            "trivium collections check docs --json",
            "trivium collections snapshots docs --json",
            "trivium collections tag docs v1 --version 7",
            "trivium collections untag docs v1",
            "trivium collections purge docs a b --yes --json",
            "trivium eval retrieval folder --json --keep --split test",
            "trivium eval recall docs --queries q.txt -k 5 --at-least 0.98 --json",
            "trivium bench --json --clients 1,8",
            "trivium bench search --collection docs --json",
            "trivium bench knee --call route --objective-ms 250 --from 20 --step-seconds 5 --json",
            "trivium bench hold --rate 90 --clients 64 --seconds 300 --pid 1 --json",
            "trivium bench compare servers.toml --queries q.txt --call query --rounds 9 --calls 5 --warm-up 1 --json",
            "trivium bench freshness --chunks 1000 --writes 100 --searches 50 --json",
        ];
        for line in table {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_exit_code_2() {
        for line in [
            "trivium",
            "trivium fly",
            "trivium ask",
            "trivium feedback r",
            "trivium feedback r --helpful --unhelpful",
            "trivium ask q --route sideways",
            "trivium search q -k x",
            "trivium ask q --ca a --cert b",
            "trivium keys new",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_state_is_a_version_a_time_or_a_tag() {
        assert_eq!(as_of("7").state, Some(State::Version(7)));
        assert!(
            matches!(as_of("2026-05-01T10:00:00Z").state, Some(State::Time(time)) if time.seconds == 1_777_629_600)
        );
        assert_eq!(as_of("release-3").state, Some(State::Tag("release-3".to_owned())));
    }
}
