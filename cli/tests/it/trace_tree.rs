//! One query over three processes is one trace, from the client to the legs.

use std::{collections::BTreeMap, process::Command};

use crate::{
    collector::{Collector, Span},
    process::{Running, run, trivium},
};

const ANALYZE: &str = "trivium.model.v1.ModelService/Analyze";
const GENERATE: &str = "trivium.model.v1.ModelService/Generate";
const QUERY_STREAM: &str = "trivium.router.v1.RouterService/QueryStream";
const SEARCH: &str = "trivium.retriever.v1.RetrieverService/Search";

/// Every path from the root that one hybrid query must have.
fn expected() -> Vec<String> {
    let query = format!("cli ask > cli {QUERY_STREAM} > router {QUERY_STREAM} > router query hybrid");
    let analyze = format!("{query} > router {ANALYZE} > model-host {ANALYZE}");
    let search = format!("{query} > router {SEARCH} > retriever {SEARCH} > retriever retrieval docs");
    let generate = format!("{query} > router {GENERATE} > model-host {GENERATE}");
    vec![
        format!("{analyze} > model-host classify intents"),
        format!("{analyze} > model-host embeddings minilm > model-host tokenize"),
        format!("{analyze} > model-host embeddings minilm > model-host queue"),
        format!("{analyze} > model-host embeddings minilm > model-host forward"),
        format!("{search} > retriever search docs (lexical)"),
        format!("{search} > retriever search docs (semantic)"),
        format!("{search} > retriever fuse convex"),
        format!("{generate} > model-host chat minilm > model-host forward"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_query_is_one_trace_across_three_processes() {
    let (collector, endpoint) = Collector::start().await;
    let trace_id = tokio::task::spawn_blocking(move || ask_over_three_processes(&endpoint)).await.expect("asked");
    let spans = collector.trace(&trace_id);

    let paths = paths(&spans);
    let shown = paths.join("\n");
    for path in expected() {
        assert!(paths.contains(&path), "the trace has no\n{path}\nbut only\n{shown}");
    }
    let roots = spans.iter().filter(|span| span.parent_id.is_empty()).count();
    assert_eq!(roots, 1, "one root, and every other span has a parent:\n{shown}");
    assert_kinds(&spans);
    assert_no_content(&spans);
}

/// Starts the services, ingests a page, asks, and stops everything, which sends
/// the last spans. Gives the trace's id.
fn ask_over_three_processes(endpoint: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let model_host = Running::start(traced(endpoint, &["serve", "model-host", "--addr", "127.0.0.1:0"]));
    let model_host_url = format!("http://{}", model_host.addr("model-host"));

    let mut command = traced(endpoint, &["serve", "retriever", "--addr", "127.0.0.1:0"]);
    command.arg("--data").arg(folder.path().join("data"));
    command.env("TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT", &model_host_url);
    let retriever = Running::start(command);
    let retriever_url = format!("http://{}", retriever.addr("retriever"));

    let mut command = traced(endpoint, &["serve", "router", "--addr", "127.0.0.1:0"]);
    command.env("TRIVIUM_ROUTER__MODEL_HOST__ENDPOINT", &model_host_url);
    command.env("TRIVIUM_ROUTER__RETRIEVER__ENDPOINT", &retriever_url);
    // The intent is asked for, and whatever it is, the road is hybrid.
    let routes = folder.path().join("routes.toml");
    fs_err::write(&routes, "version = 1\n[default]\nroute = \"hybrid\"\n[out_of_scope]\nroute = \"hybrid\"\n")
        .expect("written");
    command.env("TRIVIUM_ROUTER__ROUTES_FILE", &routes);
    let router = Running::start(command);

    let page = folder.path().join("keys.md");
    fs_err::write(&page, "# Keys\n\nSigning keys are rotated every ninety days by the platform team.\n")
        .expect("written");
    let mut ingest = trivium(&["ingest", "--endpoint", &retriever_url]);
    ingest.arg(&page);
    let ended = run(ingest);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let router_url = format!("http://{}", router.addr("router"));
    let question = "How are the signing keys rotated?";
    let filter = r#"uri IS NULL OR uri != "signing keys""#;
    let ended = run(traced(endpoint, &["ask", question, "--filter", filter, "--json", "--endpoint", &router_url]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    for service in [router, retriever, model_host] {
        assert_eq!(service.stop(), Some(0));
    }
    answer["trace_id"].as_str().expect("a trace id").to_owned()
}

fn traced(endpoint: &str, args: &[&str]) -> Command {
    let mut command = trivium(args);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command
}

/// Each span as its path from the root, for instance `cli ask > router query`.
fn paths(spans: &[Span]) -> Vec<String> {
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let path = |span: &Span| {
        let mut words = vec![label(span)];
        let mut parent = by_id.get(span.parent_id.as_slice());
        while let Some(span) = parent {
            words.push(label(span));
            parent = by_id.get(span.parent_id.as_slice());
        }
        words.reverse();
        words.join(" > ")
    };
    let mut paths: Vec<String> = spans.iter().map(path).collect();
    paths.sort();
    paths
}

fn label(span: &Span) -> String {
    let service = span.service.strip_prefix("trivium-").expect("services are named after the project");
    match span.attribute("trivium.retrieval.leg") {
        Some(leg) => format!("{service} {} ({leg})", span.name),
        None => format!("{service} {}", span.name),
    }
}

/// A call is a CLIENT span in its caller and a SERVER span in what it calls.
fn assert_kinds(spans: &[Span]) {
    for span in spans.iter().filter(|span| span.name.starts_with("trivium.")) {
        let method = span.attribute("rpc.method");
        assert_eq!(method, Some(span.name.as_str()), "{span:?}");
        assert!(matches!(span.kind, "CLIENT" | "SERVER"), "{span:?}");
        assert_eq!(span.attribute("rpc.response.status_code"), Some("OK"), "{span:?}");
    }
}

/// Neither the question, the filter nor the page shows anywhere, because nobody asked for that.
fn assert_no_content(spans: &[Span]) {
    let filtered = spans.iter().find_map(|span| span.attribute("trivium.filter.used"));
    assert_eq!(filtered, Some("true"), "that there was a filter shows");
    for span in spans {
        for (key, value) in &span.attributes {
            assert!(!value.contains("signing keys") && !value.contains("Signing keys"), "{}: {key}={value}", span.name);
        }
    }
}
