//! The trace crosses the hop: what the client's span is, the server is told.

use opentelemetry::trace::TraceContextExt;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use trivium_proto::model::v1::EmbedRequest;
use trivium_service_kit::{ServerOptions, Service, telemetry};

use crate::support::start;

#[tokio::test]
async fn the_server_is_told_the_callers_trace() {
    let telemetry =
        telemetry::init(&[Service::Router, Service::ModelHost], &Default::default()).expect("first in this process");
    let server = start(ServerOptions::default()).await;
    let root = tracing::info_span!(target: "trivium_router", "root");
    let trace_id = root.context().span().span_context().trace_id().to_string();
    let root_id = root.context().span().span_context().span_id().to_string();

    let status = server.client().embed(EmbedRequest::default()).instrument(root).await.expect_err("the traceparent");

    let parent: Vec<&str> = status.message().split('-').collect();
    assert_eq!(parent[1], trace_id);
    assert_ne!(parent[2], root_id, "the parent is the CLIENT span, not the span around it");
    tokio::task::spawn_blocking(|| telemetry.shutdown()).await.expect("flushed");
}
