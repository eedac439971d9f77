//! One SERVER span for each call, under the caller's, open until the response has ended.

use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::{Code, body::Body};
use tower::{Layer, Service as TowerService};
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    GrpcService, ResponseFuture,
    trailers::{End, Observed, status_code},
};
use crate::{Service, method::Method, propagation, telemetry::names::attribute as key};

/// Makes a span whose target belongs to `$service`. A target is a constant of
/// its call site, so there is one call site for each service.
macro_rules! span_of {
    ($service:expr, $($field:tt)*) => {
        match $service {
            Service::Router => tracing::info_span!(target: "trivium::router", $($field)*),
            Service::Retriever => tracing::info_span!(target: "trivium::retriever", $($field)*),
            Service::ModelHost => tracing::info_span!(target: "trivium::model_host", $($field)*),
            Service::Cli => tracing::info_span!(target: "trivium::cli", $($field)*),
        }
    };
}
pub(crate) use span_of;

/// Adds [`Trace`].
#[derive(Clone, Copy, Debug)]
pub struct TraceLayer {
    service: Service,
}

impl TraceLayer {
    /// Spans on behalf of `service`.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, service: self.service }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    service: Service,
}

impl<S: GrpcService> TowerService<Request<Body>> for Trace<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        // Probes come every few seconds and would bury everything else.
        if request.uri().path().starts_with("/grpc.") {
            return Box::pin(self.inner.call(request));
        }
        let span = server_span(self.service, Method::of(request.uri().path()));
        // The span is new and has not been entered, so it takes the parent.
        if let Err(error) = span.set_parent(propagation::extract(request.headers())) {
            tracing::debug!(%error, "a span did not take its parent");
        }
        let response = span.in_scope(|| self.inner.call(request));
        Box::pin(async move { Ok(watch(response.instrument(span.clone()).await?, span)) })
    }
}

/// What a caller writes into the path of a method that there is not is no business of the trace.
fn server_span(service: Service, method: Method) -> Span {
    span_of!(
        service,
        "grpc.server",
        otel.name = method.span_name(),
        otel.kind = "server",
        otel.status_code = field::Empty,
        { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
        { key::RPC_SYSTEM_NAME } = "grpc",
        { key::RPC_METHOD } = method.name,
        { key::RPC_RESPONSE_STATUS_CODE } = field::Empty,
        { key::ERROR_TYPE } = field::Empty
    )
}

/// Writes the status of the response into its span, now or when the body ends.
fn watch(response: Response<Body>, span: Span) -> Response<Body> {
    if let Some(code) = status_code(response.headers()) {
        record_server(&span, code);
        return response;
    }
    let entered = span.clone();
    response.map(|body| {
        let body = InSpan { inner: body, span: entered };
        Body::new(Observed::new(Body::new(body), (), move |end| record_server(&span, code_of(&end))))
    })
}

/// The code that a body's end amounts to.
pub(crate) fn code_of(end: &End<'_>) -> Code {
    match end {
        End::Trailers(trailers) => status_code(trailers).unwrap_or(Code::Ok),
        End::Failed(status) => status.code(),
        End::Dropped => Code::Cancelled,
    }
}

/// Only faults of the server count as errors of a SERVER span
/// (OpenTelemetry's RPC conventions, gRPC, server side).
fn record_server(span: &Span, code: Code) {
    let fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    record(span, code, fault);
}

/// Writes a gRPC code into a span.
pub(crate) fn record(span: &Span, code: Code, is_error: bool) {
    let name = code_name(code);
    span.record(key::RPC_RESPONSE_STATUS_CODE, name);
    if is_error {
        span.record(key::ERROR_TYPE, name);
        span.record("otel.status_code", "ERROR");
    }
}

/// The code's name in capitals, as gRPC's documents write it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A body that is polled inside its call's span, so that what a stream does
/// late is still a child of the call.
struct InSpan {
    inner: Body,
    span: Span,
}

impl http_body::Body for InSpan {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let _entered = this.span.enter();
        std::pin::Pin::new(&mut this.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
