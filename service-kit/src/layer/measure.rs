//! Counts the calls of a server: how many there are, how long they take, and how they end.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::time::Instant;
use tonic::{Code, body::Body};
use tower::{Layer, Service as TowerService};

use super::{
    GrpcService, ResponseFuture,
    trace::{code_name, code_of},
    trailers::{Observed, status_code},
};
use crate::{Service, method::Method, telemetry::metrics};

/// Adds [`Measure`].
#[derive(Clone, Copy, Debug)]
pub struct MeasureLayer {
    service: Service,
}

impl MeasureLayer {
    /// Counts on behalf of `service`.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

impl<S> Layer<S> for MeasureLayer {
    type Service = Measure<S>;

    fn layer(&self, inner: S) -> Measure<S> {
        Measure { inner, service: self.service }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Measure<S> {
    inner: S,
    service: Service,
}

impl<S: GrpcService> TowerService<Request<Body>> for Measure<S> {
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
        let call = Call::begin(self.service, Method::of(request.uri().path()).name);
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(match status_code(response.headers()) {
                Some(code) => {
                    call.end(code);
                    response
                }
                None => response.map(|body| Body::new(Observed::new(body, (), move |end| call.end(code_of(&end))))),
            })
        })
    }
}

/// A call that is being worked on. One that is dropped was given up by its caller.
struct Call {
    service: Service,
    method: &'static str,
    began: Instant,
    code: Code,
}

impl Call {
    fn begin(service: Service, method: &'static str) -> Self {
        metrics::of(service).works_on(method, 1);
        Self { service, method, began: Instant::now(), code: Code::Cancelled }
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let instruments = metrics::of(self.service);
        instruments.works_on(self.method, -1);
        instruments.answered(self.method, code_name(self.code), self.began.elapsed());
    }
}
