//! Gives every request an absolute deadline and ends it there, streams included.
//!
//! The deadline is the caller's `grpc-timeout`, or the configured default. It
//! stands in the request's extensions as [`Deadline`], for the hops below.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::time::{Sleep, sleep_until, timeout_at};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{GrpcService, ResponseFuture, refusal, trailers::status_code};
use crate::deadline::{Deadline, exceeded, parse_grpc_timeout};

/// The header in which the budget travels.
pub(crate) const TIMEOUT_HEADER: &str = "grpc-timeout";

/// Methods without a deadline of their own: they watch, or they bring documents
/// for as long as the caller has some.
const UNBOUNDED: [&str; 2] = ["/grpc.health.v1.Health/Watch", "/trivium.retriever.v1.RetrieverService/UpsertDocuments"];

/// Whether a call without a deadline may go on for as long as its caller likes: on the server, and so on the client.
pub(crate) fn is_unbounded(request: &Request<Body>) -> bool {
    UNBOUNDED.contains(&request.uri().path())
}

/// Adds [`Limit`].
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    default: Duration,
}

impl DeadlineLayer {
    /// Uses `default` for requests that bring no deadline.
    pub fn new(default: Duration) -> Self {
        Self { default }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, default: self.default }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Limit<S> {
    inner: S,
    default: Duration,
}

impl<S: GrpcService> Service<Request<Body>> for Limit<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        let asked = request.headers().get(TIMEOUT_HEADER).and_then(|value| parse_grpc_timeout(value.to_str().ok()?));
        if asked.is_none() && is_unbounded(&request) {
            return Box::pin(self.inner.call(request));
        }
        let deadline = Deadline::after(asked.unwrap_or(self.default));
        request.extensions_mut().insert(deadline);
        if deadline.has_passed() {
            return Box::pin(async { Ok(refusal(too_late())) });
        }
        let response = self.inner.call(request);
        Box::pin(async move {
            match timeout_at(deadline.at(), response).await {
                Ok(response) => Ok(limit(response?, deadline)),
                Err(_) => Ok(refusal(too_late())),
            }
        })
    }
}

/// Ends the response's body at the deadline, with the status that says so.
pub(crate) fn limit(response: Response<Body>, deadline: Deadline) -> Response<Body> {
    if status_code(response.headers()).is_some() {
        return response;
    }
    response.map(|body| Body::new(LimitedBody::new(body, deadline)))
}

pub(crate) fn too_late() -> Status {
    exceeded("the call").into()
}

/// A body that ends at a deadline.
struct LimitedBody {
    /// `None` once the body has ended, so that what produces it is let go at once.
    inner: Option<Body>,
    at: Pin<Box<Sleep>>,
}

impl LimitedBody {
    fn new(inner: Body, deadline: Deadline) -> Self {
        Self { inner: Some(inner), at: Box::pin(sleep_until(deadline.at())) }
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        // Frames that are ready go first: an answer that is complete is not thrown away.
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) {
            if frame.is_none() {
                this.inner = None;
            }
            return Poll::Ready(frame);
        }
        ready!(this.at.as_mut().poll(context));
        this.inner = None;
        let mut trailers = HeaderMap::new();
        // The status is ours and short, so it always fits into headers.
        let _ = too_late().add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }
}
