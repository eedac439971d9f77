//! Bounds the calls that run at once, and refuses the rest at the door.
//!
//! A refused call costs nothing and says when to come back. Health checks and
//! reflection are always let in: an overloaded service is not a dead one.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{GrpcService, ResponseFuture, refusal, trailers::Observed};
use crate::{Error, Reason};

/// When a refused caller should come back.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Paths that count: the methods of Trivium.
const OURS: &str = "/trivium.";

/// Adds [`Admission`].
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    permits: Arc<Semaphore>,
    limit: usize,
}

impl AdmissionLayer {
    /// Lets in `limit` calls at once, over all connections.
    pub fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)), limit }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, gate: self.clone() }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Admission<S> {
    inner: S,
    gate: AdmissionLayer,
}

impl<S: GrpcService> Service<Request<Body>> for Admission<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        if !request.uri().path().starts_with(OURS) {
            return Box::pin(self.inner.call(request));
        }
        match Arc::clone(&self.gate.permits).try_acquire_owned() {
            Ok(permit) => {
                let response = self.inner.call(request);
                Box::pin(async move { Ok(hold(response.await?, permit)) })
            }
            Err(_) => {
                let refused = refusal(Status::from(overloaded(self.gate.limit)));
                Box::pin(async move { Ok(refused) })
            }
        }
    }
}

/// Keeps the permit until the body has ended: a stream occupies its place while it runs.
fn hold(response: Response<Body>, permit: OwnedSemaphorePermit) -> Response<Body> {
    response.map(|body| Body::new(Observed::new(body, permit, |_| {})))
}

fn overloaded(limit: usize) -> Error {
    Error::new(Reason::Overloaded, format!("{limit} calls are running, which is the limit"))
        .with_retry_after(RETRY_AFTER)
}
