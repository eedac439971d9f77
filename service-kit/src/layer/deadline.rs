//! Gives every request an absolute deadline and ends it there, streams included.
//!
//! The deadline is the caller's `grpc-timeout`, or the configured default. It
//! stands in the request's extensions as [`Deadline`], for the hops below.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::time::{Sleep, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;
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
///
/// A body is polled only while its caller has room for more, so a caller who reads nothing would keep what produces it
/// alive for ever. A stream therefore has a watch beside it, which lets go of the producer when the time has come.
struct LimitedBody {
    /// `None` once the producer was let go, because it has ended or because the time has come.
    inner: Arc<Mutex<Option<Body>>>,
    deadline: Deadline,
    at: Pin<Box<Sleep>>,
    polls: u32,
    watch: Option<AbortOnDropHandle<()>>,
    is_over: bool,
}

/// The poll at which a watch is set: an answer of one message has ended by then.
const WATCHED_FROM: u32 = 3;

impl LimitedBody {
    fn new(inner: Body, deadline: Deadline) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Some(inner))),
            deadline,
            at: Box::pin(sleep_until(deadline.at())),
            polls: 0,
            watch: None,
            is_over: false,
        }
    }

    fn set_watch(&mut self) {
        let (inner, at) = (Arc::downgrade(&self.inner), self.deadline.at());
        self.watch = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            sleep_until(at).await;
            // It is let go outside the lock: dropping it runs code of others.
            let _let_go = inner.upgrade().and_then(|inner| locked(&inner).take());
        })));
    }

    /// Lets go of what produces the body, and says that nothing follows.
    fn end(&mut self) {
        self.is_over = true;
        self.watch = None;
        let _let_go = locked(&self.inner).take();
    }
}

fn locked(inner: &Mutex<Option<Body>>) -> MutexGuard<'_, Option<Body>> {
    // A producer that panicked is polled no more, whatever state it is in.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        this.polls = this.polls.saturating_add(1);
        if this.polls == WATCHED_FROM {
            this.set_watch();
        }
        // Frames that are ready go first: an answer that is complete is not thrown away.
        let polled = locked(&this.inner).as_mut().map(|inner| Pin::new(inner).poll_frame(context));
        match polled {
            Some(Poll::Ready(Some(frame))) => return Poll::Ready(Some(frame)),
            Some(Poll::Ready(None)) => {
                this.end();
                return Poll::Ready(None);
            }
            Some(Poll::Pending) => ready!(this.at.as_mut().poll(context)),
            None => {}
        }
        this.end();
        let mut trailers = HeaderMap::new();
        // The status is ours and short, so it always fits into headers.
        let _ = too_late().add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || locked(&self.inner).as_ref().is_some_and(Body::is_end_stream)
    }
}
