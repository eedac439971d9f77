//! No secret leaves the services by another door than the one it is for: not in logs of any level, traces, metrics,
//! errors, records or the policy that is shown, whoever is asked and whatever goes wrong.

mod planted;

use std::path::Path;

use tonic::{Request, transport::Channel};
use trivium_proto::{
    model::v1::{GenerateRequest, model_service_client::ModelServiceClient},
    retriever::v1::{SearchRequest, retriever_service_client::RetrieverServiceClient},
    router::v1::{
        GetPolicyRequest, QueryOptions, QueryRequest, QueryStreamRequest, Road,
        router_service_client::RouterServiceClient,
    },
};
use trivium_service_kit::{ClientOptions, ClientTlsOptions, Error, GrpcChannel, Reason, Service};

use self::planted::Planted;
use crate::{
    collector::Collector,
    process::{Running, run, trivium, up_command},
    telemetry::fakes::{self, Model},
};

/// What was heard of the services, each piece by its source.
struct Heard(Vec<(String, String)>);

impl Heard {
    fn add(&mut self, source: impl Into<String>, text: impl Into<String>) {
        self.0.push((source.into(), text.into()));
    }

    fn assert_without(&self, secrets: &Planted) {
        for (source, text) in &self.0 {
            assert!(!text.is_empty(), "nothing was heard of {source}");
            for (what, secret) in secrets.all() {
                let found = text.lines().find(|line| line.contains(secret));
                assert!(found.is_none(), "{source} tells {what}: {found:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_by_services_that_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = Planted::new(folder.path());
    let (collector, endpoint) = Collector::start().await;
    let metrics = free_port();
    let models = [fakes::language_model(Model::RepeatsTheKey).await, "http://127.0.0.1:1/v1".to_owned()];
    let command = command(folder.path(), &secrets, &endpoint, metrics, &models);
    let system = blocking(move || Running::start(command)).await;

    let mut heard = Heard(Vec::new());
    callers(&system, &secrets, &mut heard).await;
    generators(&system, &secrets, &mut heard).await;
    command_line(&system, &secrets, &mut heard).await;
    heard.add("the endpoint of metrics", blocking(move || crate::metrics::scrape(metrics)).await);

    let (code, log) = blocking(|| system.stop_with_log()).await;
    assert_eq!(code, Some(0), "{log}");
    for what in ["TRACE", "h2::", "trivium_router"] {
        assert!(log.contains(what), "the log is not of every level: {what} is missing");
    }
    heard.add("the log", log);
    let captured = collector.captured();
    let counts = (captured.spans.len(), captured.metrics.len());
    assert!(counts.0 > 20 && counts.1 > 10, "little was exported: {counts:?}");
    heard.add("what was exported", format!("{captured:?} {:?}", collector.spans()));
    heard.add("the records", recorded(&folder.path().join("data")));
    heard.assert_without(&secrets);
}

/// The services with every secret that they can have, and logs of every level. Content is captured: secrets are none.
fn command(
    folder: &Path,
    secrets: &Planted,
    endpoint: &str,
    metrics: u16,
    models: &[String; 2],
) -> std::process::Command {
    let config = folder.join("trivium.toml");
    fs_err::write(&config, secrets.config(folder, models)).expect("written");
    let mut command = up_command(&folder.join("data"));
    command.arg("--config").arg(config);
    command.env("TRIVIUM_TELEMETRY__LOG", "trace").env("TRIVIUM_TELEMETRY__CAPTURE_CONTENT", "true");
    command.env("TRIVIUM_TELEMETRY__PROMETHEUS_ADDR", format!("127.0.0.1:{metrics}"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {}", secrets.collector));
    command.env("AWS_ACCESS_KEY_ID", "somebody").env("AWS_SECRET_ACCESS_KEY", &secrets.storage);
    command
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// A client of the router, over TLS.
fn router(system: &Running, secrets: &Planted, bearer: &str) -> RouterServiceClient<GrpcChannel> {
    let tls = ClientTlsOptions { ca: secrets.ca.clone(), ..ClientTlsOptions::default() };
    let endpoint = format!("https://{}", system.addr("router"));
    let options = ClientOptions { endpoint, tls: Some(tls), ..ClientOptions::default() };
    let channel = GrpcChannel::connect(Service::Cli, Service::Router, &options).expect("an address");
    RouterServiceClient::new(channel.with_bearer(bearer).expect("plain"))
}

fn question(road: Road, generator: &str) -> QueryRequest {
    let options = QueryOptions { road: road.into(), generator: generator.to_owned(), ..QueryOptions::default() };
    QueryRequest { query: "How are signing keys rotated?".into(), options: Some(options), ..QueryRequest::default() }
}

/// Those who show a key or a token, right ones and wrong ones, to each service.
async fn callers(system: &Running, secrets: &Planted, heard: &mut Heard) {
    for right in [&secrets.api_key, &secrets.token] {
        let mut router = router(system, secrets, right);
        let answer = router.query(question(Road::Direct, "")).await;
        heard.add("an answer", format!("{answer:?}"));
        let policy = router.get_policy(GetPolicyRequest {}).await;
        assert!(policy.is_ok() || right == &secrets.token, "{policy:?}");
        heard.add("the policy", format!("{policy:?}"));
    }
    for wrong in secrets.wrong() {
        let error = router(system, secrets, wrong).query(question(Road::Lexical, "")).await.expect_err("a stranger");
        assert_eq!(Error::from(error.clone()).reason(), Reason::Unauthenticated);
        heard.add("a refusal of the router's", format!("{error:?} {:?}", Error::from(error.clone())));
    }
    let connect = async |service: &str| {
        let url = format!("http://{}", system.addr(service));
        Channel::from_shared(url).expect("an address").connect().await.expect("it listens")
    };
    let (retriever, model_host) = (connect("retriever").await, connect("model-host").await);
    for form in ["Bearer ", "bearer ", "Basic ", ""] {
        for wrong in secrets.wrong() {
            let shown = format!("{form}{wrong}");
            let search = SearchRequest { collection: "docs".into(), query: "keys".into(), ..SearchRequest::default() };
            let request = showing(&shown, search);
            let error = RetrieverServiceClient::new(retriever.clone()).search(request).await.expect_err("a stranger");
            heard.add("a refusal of the retriever's", format!("{error:?}"));
            let request = showing(&shown, GenerateRequest { query: "keys".into(), ..GenerateRequest::default() });
            let error = ModelServiceClient::new(model_host.clone()).generate(request).await.expect_err("a stranger");
            heard.add("a refusal of the model host's", format!("{error:?}"));
        }
    }
}

/// A request with a key, and with the same where no key belongs.
fn showing<T>(shown: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    for name in ["authorization", "x-api-key", "trivium-tenant", "baggage", "cookie"] {
        request.metadata_mut().insert(name, shown.parse().expect("ASCII"));
    }
    request
}

/// Language models that get a key: one that repeats it in its refusal, and one that is away.
async fn generators(system: &Running, secrets: &Planted, heard: &mut Heard) {
    let mut router = router(system, secrets, &secrets.api_key);
    for generator in ["repeats", "away"] {
        let error = router.query(question(Road::Direct, generator)).await.expect_err("nobody answers");
        assert_ne!(Error::from(error.clone()).reason(), Reason::Unauthenticated, "{error:?}");
        heard.add(format!("the failure of {generator}"), format!("{error:?}"));
        let QueryRequest { query, options, .. } = question(Road::Direct, generator);
        let request = QueryStreamRequest { query, options, ..QueryStreamRequest::default() };
        let mut events = router.query_stream(request).await.expect("taken").into_inner();
        let mut said = String::new();
        loop {
            match events.message().await {
                Ok(Some(event)) => said += &format!("{event:?}"),
                Ok(None) => break,
                Err(error) => {
                    said += &format!("{error:?}");
                    break;
                }
            }
        }
        heard.add(format!("the stream of {generator}"), said);
    }
}

/// The command line, which shows keys, and is shown wrong files.
async fn command_line(system: &Running, secrets: &Planted, heard: &mut Heard) {
    let url = format!("https://{}", system.addr("router"));
    let ca = secrets.ca.display().to_string();
    let file = secrets.key_file.display().to_string();
    let calls: [(&[&str], &str); 4] = [
        (&["ask", "hello", "--route", "lexical"], &secrets.api_key),
        (&["ask", "hello", "--route", "lexical"], &secrets.stranger),
        (&["ask", "hello", "--api-key-file", &file], ""),
        (&["ask", "hello"], "zqsecret-with-a\nline-end"),
    ];
    for (args, key) in calls {
        let mut command = trivium(args);
        command.args(["--endpoint", &url, "--ca", &ca]).env("TRIVIUM_API_KEY", key);
        let ended = blocking(move || run(command)).await;
        heard.add(format!("{args:?}"), format!("{ended:?}"));
    }
}

/// All files of the audit log and of the feedback, as text.
fn recorded(data: &Path) -> String {
    let files = walkdir::WalkDir::new(data).into_iter().map(|entry| entry.expect("readable").into_path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    let read = |path: &std::path::PathBuf| String::from_utf8_lossy(&fs_err::read(path).expect("read")).into_owned();
    files.iter().map(read).collect()
}

#[test]
fn no_secret_is_told_by_what_refuses_to_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = Planted::new(folder.path());
    let mut heard = Heard(Vec::new());
    for (name, text) in secrets.wrong_configurations(folder.path()) {
        let config = folder.path().join("wrong.toml");
        fs_err::write(&config, text).expect("written");
        let mut command = up_command(&folder.path().join("data"));
        command.arg("--config").arg(&config);
        let ended = run(command);
        assert_eq!(ended.code, Some(64), "{name}: {ended:?}");
        heard.add(name, ended.stderr);
    }
    heard.assert_without(&secrets);
}

#[test]
#[should_panic(expected = "an answer tells an API key")]
fn a_secret_that_is_told_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = Planted::new(folder.path());
    Heard(vec![("an answer".into(), format!("Bearer {}", secrets.api_key))]).assert_without(&secrets);
}
