//! A real OTLP endpoint that keeps what it receives.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span as WireSpan,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use trivium_telemetry::check::Captured;

use crate::telemetry;

/// A span, with the service that it comes from.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its service's name.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `INTERNAL`, `SERVER` or `CLIENT`.
    pub kind: &'static str,
    /// The trace, in hexadecimal digits.
    pub trace_id: String,
    /// The span's own id.
    pub span_id: Vec<u8>,
    /// Its parent's id; empty for a root.
    pub parent_id: Vec<u8>,
    /// When it began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// Its attributes that are texts, or true or false.
    pub attributes: Vec<(String, String)>,
}

impl Span {
    /// An attribute that is a text, or true or false.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The endpoint.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    /// The names of the metrics that were received, each with its service.
    metrics: Arc<Mutex<BTreeSet<(String, String)>>>,
    /// All of it, as the contract's judge takes it. A metric is kept once for each of its exports that differ.
    captured: Arc<Mutex<Captured>>,
}

impl Collector {
    /// Starts it on a free port; gives it and its address. It ends with the runtime.
    pub async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let server = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    /// What has been received of one trace.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let spans = self.spans.lock().expect("not poisoned");
        spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }

    /// Everything that has been received.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("not poisoned").clone()
    }

    /// Everything that has been received, as the contract takes it.
    pub fn captured(&self) -> Captured {
        self.captured.lock().expect("not poisoned").clone()
    }

    /// The names of the metrics that a service sent.
    pub fn metrics(&self, service: &str) -> BTreeSet<String> {
        let metrics = self.metrics.lock().expect("not poisoned");
        metrics.iter().filter(|(of, _)| of == service).map(|(_, name)| name.clone()).collect()
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut received = self.metrics.lock().expect("not poisoned");
        for resource in request.into_inner().resource_metrics {
            let attributes = texts(&resource.resource.unwrap_or_default().attributes);
            let service = attributes.into_iter().find(|(key, _)| key == "service.name").expect("a service name").1;
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                received.insert((service.clone(), metric.name.clone()));
                let seen = telemetry::metric(&service, metric);
                let mut captured = self.captured.lock().expect("not poisoned");
                // Metrics come again and again: the labels are what may differ.
                if !captured.metrics.contains(&seen) {
                    captured.metrics.push(seen);
                }
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.spans.lock().expect("not poisoned");
        for resource in request.into_inner().resource_spans {
            let attributes = texts(&resource.resource.unwrap_or_default().attributes);
            let service = attributes.into_iter().find(|(key, _)| key == "service.name").expect("a service name").1;
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.captured.lock().expect("not poisoned").spans.push(telemetry::span(&service, &span));
                received.push(keep(&service, span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn keep(service: &str, span: WireSpan) -> Span {
    let kind = match span.kind {
        2 => "SERVER",
        3 => "CLIENT",
        _ => "INTERNAL",
    };
    Span {
        service: service.to_owned(),
        kind,
        trace_id: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        attributes: texts(&span.attributes),
        name: span.name,
        span_id: span.span_id,
        parent_id: span.parent_span_id,
        started_ns: span.start_time_unix_nano,
    }
}

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        Value::BoolValue(flag) => Some((attribute.key.clone(), flag.to_string())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}
