//! What the services count arrives over OTLP, and can be scraped, service by service.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use trivium_telemetry::{Contract, render};

use crate::{
    collector::Collector,
    process::{Running, run, up_command},
};

#[tokio::test(flavor = "multi_thread")]
async fn three_services_in_one_process_count_each_for_itself() {
    let (collector, endpoint) = Collector::start().await;
    let scraped = tokio::task::spawn_blocking(move || ask_and_scrape(&endpoint)).await.expect("asked");

    let rpc = ["rpc.server.call.duration", "trivium.server.in_flight"];
    let table: [(&str, &[&str]); 3] = [
        ("trivium-router", &["rpc.client.call.duration", "trivium.router.decisions"]),
        ("trivium-retriever", &["rpc.client.call.duration"]),
        ("trivium-model-host", &[]),
    ];
    for (service, own) in table {
        let sent = collector.metrics(service);
        for name in rpc.iter().chain(own) {
            assert!(sent.contains(*name), "{service} sent no {name}, but only {sent:?}");
        }
    }
    assert!(!collector.metrics("trivium-model-host").contains("trivium.router.decisions"), "only the router decides");

    let lines = [
        r#"trivium_router_decisions_total{reason="caller",road="lexical",service_name="trivium-router"} 1"#,
        r#"rpc_server_call_duration_seconds_count{rpc_method="trivium.retriever.v1.RetrieverService/Search",rpc_response_status_code="OK",rpc_system_name="grpc",service_name="trivium-retriever"} 1"#,
        r#"rpc_client_call_duration_seconds_count{rpc_method="trivium.retriever.v1.RetrieverService/Search",rpc_response_status_code="OK",rpc_system_name="grpc",service_name="trivium-router"} 1"#,
    ];
    for line in lines {
        assert!(scraped.lines().any(|found| found == line), "no\n{line}\nin\n{scraped}");
    }
    assert!(!scraped.contains("signing"), "the question shows");
    assert_names_are_listed(&scraped);
}

/// Every family has the name that the contract's page gives for Prometheus.
fn assert_names_are_listed(scraped: &str) {
    let contract = Contract::current();
    let listed: BTreeSet<String> =
        contract.metrics.iter().map(|(name, metric)| render::prometheus(name, metric)).collect();
    let types = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names: BTreeSet<&str> = types.filter(|name| *name != "target_info").collect();
    assert!(names.len() > 15, "{names:?}");
    let unlisted: Vec<_> = names.iter().filter(|name| !listed.contains(**name)).collect();
    assert!(unlisted.is_empty(), "{unlisted:?} are not among {listed:?}");
}

/// Starts the services, asks once, and gives what a scraper reads. The stop sends the metrics over OTLP.
fn ask_and_scrape(endpoint: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let mut command = up_command(&folder.path().join("data"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command.env("TRIVIUM_TELEMETRY__PROMETHEUS_ADDR", format!("127.0.0.1:{port}"));
    let services = Running::start(command);

    ingest(&services, folder.path());
    services.json(&["ask", "How are the signing keys rotated?", "--route", "lexical", "--json"]);
    let scraped = scrape(port);
    assert_eq!(services.stop(), Some(0));
    scraped
}

fn ingest(services: &Running, folder: &Path) {
    let page = folder.join("keys.md");
    fs_err::write(&page, "# Keys\n\nSigning keys are rotated every ninety days by the platform team.\n")
        .expect("written");
    let mut command = services.client(&["ingest"]);
    command.arg(&page);
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What a scraper reads.
pub fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: trivium\r\nconnection: close\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("UTF-8");
    text
}
