//! The services as processes, each hop behind a proxy, with everything that they export and log kept.

use std::{path::Path, process::Command};

use tonic::transport::Channel;
use trivium_proto::{
    model::v1::model_service_client::ModelServiceClient,
    retriever::v1::retriever_service_client::RetrieverServiceClient,
    router::v1::router_service_client::RouterServiceClient,
};
use trivium_service_kit::{ClientOptions, GrpcChannel, Service};
use trivium_telemetry::check::{Captured, SeenLog};

use super::{
    capture,
    fakes::{self, Model},
};
use crate::{
    collector::Collector,
    faults::proxy::Proxy,
    models,
    process::{Running, trivium},
};

/// A policy that asks the intent model, and names a road for what it says.
const BY_INTENT: &str = r#"version = 1
[default]
route = "hybrid"
[ambiguous]
margin = 0.0
[out_of_scope]
route = "reply"
reply = "I cannot help with that."
[intents.lookup]
route = "lexical"
[intents.factual]
route = "semantic"
"#;

/// A policy that believes no intent: what no guard settles goes straight to a generator, which is not there.
const UNBELIEVING: &str = r#"version = 1
[default]
route = "direct"
reply = "Nobody is here to answer that."
threshold = 1.0
[[guards]]
name = "exact words"
quoted = true
route = "reply"
reply = "Exact words."
"#;

/// A policy that blends what it cannot tell apart, and answers without passages where there are none.
const BLENDING: &str = r#"version = 1
[default]
route = "hybrid"
threshold = 0.0
generator = "answers"
on_retriever_away = "direct"
[ambiguous]
margin = 1.0
[intents.lookup]
route = "lexical"
[intents.factual]
route = "semantic"
"#;

/// A router, by its policy.
pub type Router = RouterServiceClient<GrpcChannel>;

/// The services.
pub struct System {
    collector: Collector,
    endpoint: String,
    processes: Vec<Running>,
    capture_content: bool,
    pub router_to_model_host: Proxy,
    pub router_to_retriever: Proxy,
    pub retriever_to_model_host: Proxy,
    /// The router that asks the intent model.
    pub by_intent: Router,
    /// The router that believes no intent.
    pub unbelieving: Router,
    /// The router over the stand-in for the retriever.
    pub blending: Router,
    pub retriever: RetrieverServiceClient<GrpcChannel>,
    pub model_host: ModelServiceClient<GrpcChannel>,
    /// A model host that takes one call at a time, and whose language model falls silent.
    pub narrow_model_host: ModelServiceClient<GrpcChannel>,
    /// Where the router that asks the intent model listens.
    pub router_url: String,
    /// Where the retriever listens.
    pub retriever_url: String,
    model_host_addr: String,
}

impl System {
    /// Starts everything, with collections in `folder`.
    pub async fn start(folder: &Path, capture_content: bool) -> Self {
        let (collector, endpoint) = Collector::start().await;
        let mut start = Start { endpoint: &endpoint, capture_content, processes: Vec::new() };

        let mut command = start.command("model-host");
        for (name, model) in [("ANSWERS", Model::Answers), ("BREAKS", Model::BreaksOff)] {
            let url = fakes::language_model(model).await;
            generator(&mut command, name, &url);
        }
        // Nobody listens on port 1 of loopback.
        generator(&mut command, "DEAD", "http://127.0.0.1:1/v1");
        command.env("TRIVIUM_MODEL_HOST__RERANKER", "scorer");
        command.env("TRIVIUM_MODEL_HOST__ENGINE_WORKERS", "1").env("TRIVIUM_MODEL_HOST__BULK_QUEUE_TEXTS", "256");
        let model_host = start.run(command, "model-host").await;
        let router_to_model_host = Proxy::to(&model_host).await;
        let retriever_to_model_host = Proxy::to(&model_host).await;

        let mut command = start.command("model-host");
        generator(&mut command, "SILENT", &fakes::language_model(Model::FallsSilent).await);
        command.env("TRIVIUM_MODEL_HOST__SERVER__MAX_CONCURRENT_REQUESTS", "1");
        let narrow = start.run(command, "model-host").await;

        let mut command = start.command("retriever");
        command.arg("--data").arg(folder.join("data"));
        command.env("TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT", retriever_to_model_host.url());
        // Small fragments are merged as early as can be configured.
        command.env("TRIVIUM_RETRIEVER__COMPACT_FRAGMENTS", "16");
        let retriever = start.run(command, "retriever").await;
        let router_to_retriever = Proxy::to(&retriever).await;

        let fake = fakes::retriever().await;
        let mut routers = Vec::new();
        for (name, policy, below) in [
            ("by-intent", BY_INTENT, router_to_retriever.url()),
            ("unbelieving", UNBELIEVING, router_to_retriever.url()),
            ("blending", BLENDING, fake.as_str()),
        ] {
            let routes = folder.join(format!("{name}.toml"));
            fs_err::write(&routes, policy).expect("written");
            let mut command = start.command("router");
            command.env("TRIVIUM_ROUTER__ROUTES_FILE", &routes);
            command.env("TRIVIUM_ROUTER__RETRIEVER__ENDPOINT", below);
            command.env("TRIVIUM_ROUTER__MODEL_HOST__ENDPOINT", router_to_model_host.url());
            command.env("TRIVIUM_ROUTER__RETRIEVER__BREAKER__CALLS", "2");
            if name == "by-intent" {
                command.env("TRIVIUM_ROUTER__CACHE__ENABLED", "true");
            }
            routers.push(start.run(command, "router").await);
        }
        let processes = start.processes;
        let router = |place: usize| RouterServiceClient::new(channel(Service::Router, &routers[place]));
        Self {
            by_intent: router(0),
            unbelieving: router(1),
            blending: router(2),
            retriever: RetrieverServiceClient::new(channel(Service::Retriever, &retriever)),
            model_host: ModelServiceClient::new(channel(Service::ModelHost, &model_host)),
            narrow_model_host: ModelServiceClient::new(channel(Service::ModelHost, &narrow)),
            router_url: format!("http://{}", routers[0]),
            retriever_url: format!("http://{retriever}"),
            model_host_addr: model_host,
            collector,
            endpoint,
            processes,
            capture_content,
            router_to_model_host,
            router_to_retriever,
            retriever_to_model_host,
        }
    }

    /// A client command whose spans are kept as well.
    pub fn client(&self, args: &[&str]) -> Command {
        exporting(&self.endpoint, args)
    }

    /// A client of the model host on a connection of its own: callers are told apart by theirs.
    pub fn another_model_host_client(&self) -> ModelServiceClient<GrpcChannel> {
        ModelServiceClient::new(channel(Service::ModelHost, &self.model_host_addr))
    }

    /// A client of the router that asks the intent model, without anything of ours: it sends what metadata it is given.
    pub async fn plain_router_client(&self) -> RouterServiceClient<Channel> {
        let channel = Channel::from_shared(self.router_url.clone()).expect("an address").connect().await;
        RouterServiceClient::new(channel.expect("it listens"))
    }

    /// Whether content is captured.
    pub fn captures_content(&self) -> bool {
        self.capture_content
    }

    /// Stops everything, which exports the rest, and gives all that was exported and logged.
    pub async fn stop(self) -> Captured {
        let processes = self.processes;
        let logs = tokio::task::spawn_blocking(move || {
            // Those who call go before those who are called.
            let logs = processes.into_iter().rev().map(|process| {
                let (code, log) = process.stop_with_log();
                assert_eq!(code, Some(0), "{log}");
                capture::log(&log)
            });
            logs.flatten().collect::<Vec<SeenLog>>()
        });
        let logs = logs.await.expect("stopped");
        Captured { logs, ..self.collector.captured() }
    }
}

/// What processes are started with.
struct Start<'a> {
    endpoint: &'a str,
    capture_content: bool,
    processes: Vec<Running>,
}

impl Start<'_> {
    fn command(&self, service: &str) -> Command {
        let mut command = exporting(self.endpoint, &["serve", service, "--addr", "127.0.0.1:0"]);
        command.env("TRIVIUM_MODELS_DIR", models::folder_with_second_stage());
        command.env("TRIVIUM_TELEMETRY__LOG_FORMAT", "json");
        let ours = ["router", "retriever", "model_host", "service_kit"].map(|name| format!("trivium_{name}=debug"));
        command.env("TRIVIUM_TELEMETRY__LOG", format!("warn,trivium=debug,{}", ours.join(",")));
        command.env("TRIVIUM_TELEMETRY__CAPTURE_CONTENT", self.capture_content.to_string());
        command
    }

    /// Runs a service; gives its address.
    async fn run(&mut self, command: Command, service: &str) -> String {
        // The proxies must run while a service starts.
        let running = tokio::task::spawn_blocking(move || Running::start(command)).await.expect("started");
        let addr = running.addr(service).to_owned();
        self.processes.push(running);
        addr
    }
}

fn exporting(endpoint: &str, args: &[&str]) -> Command {
    let mut command = trivium(args);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    // Often enough to see what spans say while the services run.
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100").env("OTEL_METRIC_EXPORT_INTERVAL", "500");
    command
}

fn generator(command: &mut Command, name: &str, url: &str) {
    command.env(format!("TRIVIUM_MODEL_HOST__GENERATORS__{name}__BASE_URL"), url);
    command.env(format!("TRIVIUM_MODEL_HOST__GENERATORS__{name}__MODEL"), "tiny");
}

fn channel(peer: Service, addr: &str) -> GrpcChannel {
    let to = ClientOptions { endpoint: format!("http://{addr}"), ..ClientOptions::default() };
    GrpcChannel::connect(Service::Cli, peer, &to).expect("an address")
}
