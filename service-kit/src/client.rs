//! Calling another service: a channel that traces, propagates and keeps deadlines.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::ServiceExt;
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    ConfigError, Deadline, Error, Reason, Service,
    config::at_least,
    deadline::format_grpc_timeout,
    layer::{
        deadline::{TIMEOUT_HEADER, is_unbounded, limit, too_late},
        status_code,
        trace::{observe_client, record, span_of},
    },
    propagation,
};

/// Where another service is and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientOptions {
    /// Its address, as `http://HOST:PORT`.
    pub endpoint: String,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The budget of a call that carries no deadline, in milliseconds.
    pub default_timeout_ms: u64,
    /// How often a connection is probed, in milliseconds.
    pub keepalive_ms: u64,
    /// The largest message, in bytes.
    pub max_message_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::to(0)
    }
}

impl ClientOptions {
    /// The defaults, to loopback at `port`.
    pub fn to(port: u16) -> Self {
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            connect_timeout_ms: 2_000,
            default_timeout_ms: 30_000,
            keepalive_ms: 20_000,
            max_message_bytes: 64 << 20,
        }
    }

    /// Checks every value. Keys are relative to the client's own section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.parse()?;
        at_least("connect_timeout_ms", self.connect_timeout_ms, 1)?;
        at_least("default_timeout_ms", self.default_timeout_ms, 1)?;
        at_least("keepalive_ms", self.keepalive_ms, 100)?;
        at_least("max_message_bytes", self.max_message_bytes, 64 << 10)
    }

    fn parse(&self) -> Result<Endpoint, ConfigError> {
        let bad = |why: String| ConfigError::new("endpoint", &self.endpoint, why);
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).map_err(|error| bad(error.to_string()))?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
            return Err(bad("must look like http://HOST:PORT".into()));
        }
        Ok(endpoint)
    }
}

/// A channel to another service, for its generated client. Cheap to clone; it
/// connects when it is first used, and again when the connection breaks.
///
/// Each call is one CLIENT span, carries W3C trace context, and ends at the
/// [`Deadline`] in its extensions (see [`Deadline::request`]) or after the
/// default time-out, streams included. Failures of the transport come as the
/// catalogue's error for the peer.
#[derive(Clone, Debug)]
pub struct GrpcChannel {
    inner: Channel,
    caller: Service,
    peer: Service,
    default_timeout: Duration,
    host: String,
    port: u16,
}

impl GrpcChannel {
    /// A channel from `caller` to `peer`. Nothing is connected yet, but a tokio runtime is needed.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn connect(caller: Service, peer: Service, options: &ClientOptions) -> Result<Self, ConfigError> {
        let endpoint = options.parse()?;
        let probe = Duration::from_millis(options.keepalive_ms);
        let host = endpoint.uri().host().unwrap_or_default().to_owned();
        let port = endpoint.uri().port_u16().unwrap_or(80);
        let inner = endpoint
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(probe)
            .keep_alive_timeout(probe)
            .http2_adaptive_window(true)
            .connect_lazy();
        let default_timeout = Duration::from_millis(options.default_timeout_ms);
        Ok(Self { inner, caller, peer, default_timeout, host, port })
    }

    fn span(&self, method: &str) -> Span {
        span_of!(
            self.caller,
            "grpc.client",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = field::Empty,
            "rpc.system.name" = "grpc",
            "rpc.method" = method,
            "rpc.response.status_code" = field::Empty,
            "error.type" = field::Empty,
            "server.address" = self.host,
            "server.port" = self.port
        )
    }

    /// The budget of a call. A stream of documents has none unless its caller sets one.
    fn deadline(&self, request: &Request<Body>) -> Option<Deadline> {
        let given = request.extensions().get::<Deadline>().copied();
        if given.is_none() && is_unbounded(request) {
            return None;
        }
        Some(given.unwrap_or_else(|| Deadline::after(self.default_timeout)))
    }
}

impl tower::Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // The channel inside is made ready within the call, under the call's deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let span = self.span(request.uri().path().trim_start_matches('/'));
        propagation::inject(&span.context(), request.headers_mut());
        let deadline = self.deadline(&request);
        if let Some(deadline) = deadline {
            // Digits and a letter always make a header value.
            if let Ok(value) = HeaderValue::from_str(&format_grpc_timeout(deadline.remaining())) {
                request.headers_mut().insert(TIMEOUT_HEADER, value);
            }
        }
        let (channel, peer) = (self.inner.clone(), self.peer);
        let entered = span.clone();
        Box::pin(
            async move {
                let sent = async move { channel.oneshot(request).await.map_err(|error| unavailable(peer, &error)) };
                let outcome = match deadline {
                    None => sent.await,
                    Some(deadline) => match timeout_at(deadline.at(), sent).await {
                        Ok(outcome) => outcome.map(|response| limit(response, deadline)),
                        Err(_) => Err(too_late()),
                    },
                };
                finish(outcome, span)
            }
            .instrument(entered),
        )
    }
}

/// Writes how the call went into its span, now or when the response's body ends.
/// Every code but OK is an error of a CLIENT span (OpenTelemetry's RPC conventions).
fn finish(outcome: Result<Response<Body>, Status>, span: Span) -> Result<Response<Body>, Status> {
    match outcome {
        Err(status) => {
            record(&span, status.code(), true);
            Err(status)
        }
        Ok(response) => match status_code(response.headers()) {
            Some(code) => {
                record(&span, code, code != Code::Ok);
                Ok(response)
            }
            None => Ok(observe_client(response, span)),
        },
    }
}

/// The catalogue's error for a call that the transport gave up.
fn unavailable(peer: Service, error: &(dyn std::error::Error + 'static)) -> Status {
    let reason = match peer {
        Service::ModelHost => Reason::ModelHostUnavailable,
        Service::Retriever => Reason::RetrieverUnavailable,
        Service::Router | Service::Cli => Reason::RouterUnavailable,
    };
    let mut causes = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        // The channel has a timer of its own on the header that was set, and may be the first to notice.
        if cause.is::<tonic::TimeoutExpired>() {
            return too_late();
        }
        causes = format!("{causes}: {cause}");
        next = cause.source();
    }
    Error::new(reason, format!("the {peer} cannot be reached{causes}")).into()
}
