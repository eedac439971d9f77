//! Traces, metrics and logs of a process.
//!
//! Traces and metrics go over OTLP/gRPC to whatever the standard `OTEL_*`
//! variables name; without an endpoint none is exported, and trace ids are
//! still made and handed on. Several services may share a process
//! (`trivium up`): each has providers of its own, so that telemetry shows the
//! same services as when they run apart. Which one a span belongs to is told by
//! its target.

mod format;
pub mod metrics;
// Generated, and compared byte by byte.
#[rustfmt::skip]
pub mod names;
mod tracer;

use std::{net::SocketAddr, sync::OnceLock};

use opentelemetry::{KeyValue, trace::TraceContextExt};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde::{Deserialize, Serialize};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::dynamic_filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use self::{metrics::Meters, tracer::ByTarget};
use crate::{ConfigError, Service};

/// What is logged and traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryOptions {
    /// Which log lines are written, as a `tracing` filter. `RUST_LOG` goes before it.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether query text, passages and answers may be written into traces and logs. Off unless asked for.
    pub capture_content: bool,
    /// Where Prometheus may scrape metrics, at `/metrics`; nowhere unless asked for. Port 0 takes a free one, and logs it.
    pub prometheus_addr: Option<SocketAddr>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            log: "info,lance=warn,lance_core=warn,tantivy=warn".into(),
            log_format: LogFormat::Text,
            capture_content: false,
            prometheus_addr: None,
        }
    }
}

impl TelemetryOptions {
    /// Checks the log filter.
    ///
    /// # Errors
    /// Names the filter and what is wrong with it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        EnvFilter::try_new(&self.log)
            .map(drop)
            .map_err(|error| ConfigError::new("telemetry.log", &self.log, error.to_string()))
    }
}

static CAPTURE_CONTENT: OnceLock<bool> = OnceLock::new();

/// Whether query text, passages and answers may be written into spans and logs.
pub fn capture_content() -> bool {
    CAPTURE_CONTENT.get().copied().unwrap_or(false)
}

/// A count as a span's attribute. Unsigned numbers become texts on their way through `tracing`, which dashboards can
/// neither add up nor compare.
pub fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The trace of the current span, 32 hexadecimal digits; empty outside any.
pub fn current_trace_id() -> String {
    let context = tracing::Span::current().context();
    let span = context.span();
    if span.span_context().is_valid() { span.span_context().trace_id().to_string() } else { String::new() }
}

/// The process's telemetry. [`Self::shutdown`] must be called before the process
/// exits: spans and metrics wait in memory for up to some seconds.
#[must_use = "what was not flushed is lost when this is dropped"]
pub struct Telemetry {
    providers: Vec<SdkTracerProvider>,
    meters: Meters,
}

impl Telemetry {
    /// Flushes and stops every exporter. Blocks for at most some seconds, so
    /// call it off the async workers, while their runtime still runs.
    pub fn shutdown(self) {
        self.meters.shutdown();
        for provider in self.providers {
            if let Err(error) = provider.shutdown() {
                tracing::warn!(%error, "spans could not be flushed");
            }
        }
    }
}

/// Sets up logs, traces and metrics for the services of this process. Needs a tokio
/// runtime, and may be called once in a process.
///
/// # Errors
/// When the filter or an `OTEL_*` variable is wrong, the address for Prometheus
/// cannot be had, or when it is called twice.
pub fn init(services: &[Service], options: &TelemetryOptions) -> Result<Telemetry, ConfigError> {
    options.validate()?;
    let providers = services
        .iter()
        .map(|service| Ok((*service, provider(*service, services.len() == 1)?)))
        .collect::<Result<Vec<_>, ConfigError>>()?;
    let mut layers = vec![trace_layer(&providers)];
    layers.push(log_layer(options)?);
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .map_err(|error| ConfigError::new("telemetry", "", error.to_string()))?;
    // The subscriber was set just now, so this process never set the switch before.
    let _ = CAPTURE_CONTENT.set(options.capture_content);
    let meters = Meters::start(services, options.prometheus_addr)?;
    if let Some(addr) = meters.prometheus_addr() {
        tracing::info!(%addr, "metrics can be scraped");
    }
    Ok(Telemetry { providers: providers.into_iter().map(|(_, provider)| provider).collect(), meters })
}

fn trace_layer(providers: &[(Service, SdkTracerProvider)]) -> Box<dyn Layer<Registry> + Send + Sync> {
    let services: Vec<Service> = providers.iter().map(|(service, _)| *service).collect();
    // A static filter would let `tracing` remember that a span's place in the code is always wanted, and not ask
    // again. A new span then takes over the answers to whatever its thread asked last. Those may be "nobody wants
    // this", left behind by a line of the `log` crate that was not written, and the span would be lost.
    let belongs = dynamic_filter_fn(move |metadata, _| {
        *metadata.level() <= tracing::Level::INFO && ByTarget::serves(&services, metadata.target())
    });
    tracing_opentelemetry::layer()
        .with_tracer(ByTarget::new(providers))
        .with_location(false)
        .with_threads(false)
        .with_target(true)
        .with_tracked_inactivity(false)
        // Exceptions on spans are deprecated (OpenTelemetry's semantic conventions): what failed says so by itself, with
        // `error.type`, and the causes are in the log.
        .with_error_fields_to_exceptions(false)
        .with_error_records_to_exceptions(false)
        .with_error_events_to_exceptions(false)
        .with_error_events_to_status(false)
        .with_filter(belongs)
        .boxed()
}

fn log_layer(options: &TelemetryOptions) -> Result<Box<dyn Layer<Registry> + Send + Sync>, ConfigError> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| ConfigError::new(EnvFilter::DEFAULT_ENV, text, error.to_string()))?,
        // The default was checked by `validate`.
        Err(_) => EnvFilter::new(&options.log),
    };
    Ok(tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(format::EventFormat(options.log_format))
        .with_filter(filter)
        .boxed())
}

fn provider(service: Service, alone: bool) -> Result<SdkTracerProvider, ConfigError> {
    let mut builder = SdkTracerProvider::builder().with_resource(resource(service, alone));
    if exports("TRACES") {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .build()
            .map_err(|error| ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", "", error.to_string()))?;
        builder = builder.with_batch_exporter(exporter);
    }
    Ok(builder.build())
}

/// Who the telemetry comes from. `OTEL_SERVICE_NAME` renames a process of one
/// service; with several it would make them indistinguishable.
fn resource(service: Service, alone: bool) -> Resource {
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    let mut builder = Resource::builder().with_attributes([
        KeyValue::new("service.namespace", "trivium"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ]);
    if !(alone && named) {
        builder = builder.with_service_name(service.telemetry_name());
    }
    builder.build()
}

/// Whether the standard variables ask for an export of `signal`: `TRACES` or `METRICS`.
fn exports(signal: &str) -> bool {
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    if value("OTEL_SDK_DISABLED").eq_ignore_ascii_case("true") {
        return false;
    }
    match value(&format!("OTEL_{signal}_EXPORTER")).as_str() {
        "none" => false,
        "otlp" => true,
        _ => ["OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")]
            .iter()
            .any(|name| !value(name).is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use tracing::dispatcher;
    use tracing_log::AsTrace;

    use super::*;

    /// The question that the `log` crate's bridge asks before it writes a line.
    fn ask_for_a_line_that_nobody_wants() {
        let line = log::Metadata::builder().target("elsewhere").level(log::Level::Trace).build();
        dispatcher::get_default(|dispatch| dispatch.enabled(&line.as_trace()));
    }

    #[test]
    fn a_log_line_that_is_not_written_takes_no_span_along() {
        let providers = [(Service::Retriever, SdkTracerProvider::builder().build())];
        let layers = vec![trace_layer(&providers), log_layer(&TelemetryOptions::default()).expect("layers")];
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), || {
            let is_traced = || {
                let span = tracing::info_span!(target: "trivium::retriever", "grpc.server");
                span.context().span().span_context().is_valid()
            };
            assert!(is_traced());
            ask_for_a_line_that_nobody_wants();
            assert!(is_traced(), "the span was lost");
        });
    }
}
