//! `GET /metrics` in Prometheus' text format, on an address of its own.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder, proto::MetricFamily};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::ConfigError;

/// Connections at once. Scrapers are few, and whoever comes beyond that waits.
const MOST_CONNECTIONS: usize = 16;

/// How long a connection may last, so that none is held open for nothing.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// How long the loop waits after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The endpoint. It ends when this is dropped.
pub(super) struct Endpoint {
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Endpoint {
    /// Takes the address, and serves what the registries hold.
    pub fn start(addr: SocketAddr, registries: Vec<Registry>) -> Result<Self, ConfigError> {
        let failed = |error: std::io::Error| ConfigError::new("telemetry.prometheus_addr", addr, error.to_string());
        let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { addr, serving: tokio::spawn(accept(listener, registries.into())) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, registries: Arc<[Registry]>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // The semaphore is never closed, so a permit always comes.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = serve(stream, Arc::clone(&registries));
                tokio::spawn(async move {
                    let _place = place;
                    // A scraper that stays beyond the limit connects again.
                    let _ = timeout(LONGEST_CONNECTION, serving).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a scraper's connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, registries: Arc<[Registry]>) {
    let service = tower::service_fn(move |request: Request<_>| {
        let response = answer(request.method(), request.uri().path(), &registries);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await {
        tracing::debug!(%error, "a scraper's connection ended with an error");
    }
}

fn answer(method: &Method, path: &str, registries: &[Registry]) -> Response<Full<Bytes>> {
    if path != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned());
    }
    if *method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n".to_owned());
    }
    match TextEncoder::new().encode_to_string(&merged(registries)) {
        Ok(text) => plain(StatusCode::OK, text),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be written\n".to_owned())
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(TEXT_FORMAT));
    response
}

/// The families of all registries. The format allows each name once, so families of one name become one.
fn merged(registries: &[Registry]) -> Vec<MetricFamily> {
    let mut by_name: BTreeMap<String, MetricFamily> = BTreeMap::new();
    for mut family in registries.iter().flat_map(Registry::gather) {
        match by_name.get_mut(family.name()) {
            Some(known) => known.mut_metric().append(family.mut_metric()),
            None => {
                by_name.insert(family.name().to_owned(), family);
            }
        }
    }
    by_name.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http_body_util::BodyExt;
    use opentelemetry::{Key, KeyValue, metrics::MeterProvider};
    use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

    use super::*;

    /// A registry with one counter of that service.
    fn registry(service: &'static str, count: u64) -> (Registry, SdkMeterProvider) {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .with_resource_selector(HashSet::from([Key::from_static_str("service.name")]))
            .scope_info_enabled(false)
            .build()
            .expect("a reader");
        let resource = Resource::builder_empty().with_service_name(service).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        let counter = provider.meter("trivium").u64_counter("trivium.client.retries").build();
        counter.add(count, &[KeyValue::new("outcome", "sent")]);
        (registry, provider)
    }

    async fn body_of(response: Response<Full<Bytes>>) -> String {
        let bytes = response.into_body().collect().await.expect("whole").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn services_that_share_a_process_share_each_family() {
        let (one, _first) = registry("trivium-router", 3);
        let (other, _second) = registry("trivium-retriever", 5);
        let response = answer(&Method::GET, "/metrics", &[one, other]);
        assert_eq!(response.status(), StatusCode::OK);
        let text = body_of(response).await;
        let name = "trivium_client_retries_total";
        assert_eq!(text.matches(&format!("# TYPE {name} counter")).count(), 1, "{text}");
        for (service, count) in [("trivium-router", 3), ("trivium-retriever", 5)] {
            let line = format!("{name}{{outcome=\"sent\",service_name=\"{service}\"}} {count}");
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn nothing_else_is_served() {
        assert_eq!(answer(&Method::GET, "/", &[]).status(), StatusCode::NOT_FOUND);
        assert_eq!(answer(&Method::POST, "/metrics", &[]).status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = Endpoint::start(([127, 0, 0, 1], 0).into(), Vec::new()).expect("a free port");
        let error = Endpoint::start(first.addr(), Vec::new()).err().expect("in use");
        assert_eq!((error.key.as_str(), error.value), ("telemetry.prometheus_addr", first.addr().to_string()));
    }
}
