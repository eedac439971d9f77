//! Bounds the calls that run at once, and refuses the rest at the door.
//!
//! There are two bounds. A fixed one holds for everything, and keeps memory in check. Within it, the calls of those who
//! wait for answers are let in by measured concurrency: as many as the server can work on without each taking longer than
//! is tolerated (see `limiter`). A refused call costs nothing and says when to come back. Health checks and reflection
//! are always let in: an overloaded service is not a dead one. So are, within the fixed bound, the calls of operators.

mod limiter;
mod place;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{Status, body::Body};
use tower::{Layer, Service as TowerService};

pub(crate) use self::place::Place;
use self::{
    limiter::{Bounds, Entry, Limiter},
    place::produced_in,
};
use super::{
    GrpcService, ResponseFuture, refusal,
    trailers::{Observed, status_code},
};
use crate::{Error, Reason, Service, method::Method, server::ServerOptions, telemetry::metrics};

/// When a caller that the fixed bound refused should come back.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Paths that count: the methods of Trivium.
const OURS: &str = "/trivium.";

/// Adds [`Admission`].
#[derive(Clone)]
pub struct AdmissionLayer {
    service: Service,
    permits: Arc<Semaphore>,
    most: usize,
    door: Option<Arc<Door>>,
}

impl std::fmt::Debug for AdmissionLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdmissionLayer")
            .field("service", &self.service)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl AdmissionLayer {
    /// The bounds of a server's options, over all its connections.
    pub fn new(service: Service, options: &ServerOptions) -> Self {
        let most = options.max_concurrent_requests;
        let door = (options.max_slowdown_percent > 0).then(|| {
            let bounds = Bounds {
                min: options.min_concurrent_requests.min(most),
                max: most,
                slowdown: f64::from(options.max_slowdown_percent) / 100.0,
            };
            let limiter = Limiter::new(bounds, Instant::now());
            metrics::of(service).limited_to(limiter.limit() as u64);
            Arc::new(Door { service, limiter: Mutex::new(limiter) })
        });
        Self { service, permits: Arc::new(Semaphore::new(most)), most, door }
    }

    /// Lets a call in, or says why not.
    fn admit(&self, method: Method) -> Result<Admitted, Error> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let message = format!("{} calls are running, which is the limit", self.most);
            return Err(Error::new(Reason::Overloaded, message).with_retry_after(RETRY_AFTER));
        };
        let place = match &self.door {
            Some(door) if method.comes_by_the_door => Some(Door::enter(door, method)?),
            _ => None,
        };
        Ok(Admitted { permit, place })
    }
}

/// What a call holds that was let in.
struct Admitted {
    permit: OwnedSemaphorePermit,
    place: Option<Arc<Place>>,
}

/// The measured bound of one server.
pub(crate) struct Door {
    service: Service,
    limiter: Mutex<Limiter>,
}

impl Door {
    fn enter(self: &Arc<Self>, method: Method) -> Result<Arc<Place>, Error> {
        let (outcome, limit) = {
            let mut limiter = self.limiter();
            (limiter.enter(Instant::now()), limiter.limit())
        };
        match outcome {
            Ok(entry) => Ok(Place::new(Arc::clone(self), method.name, !method.is_stream, entry)),
            Err(hint) => {
                metrics::of(self.service).limited_to(limit as u64);
                let message =
                    format!("{limit} calls are running, which is as many as this server can work on in good time");
                Err(Error::new(Reason::Overloaded, message).with_retry_after(hint))
            }
        }
    }

    fn leave(&self, entry: Entry, timed: Option<&'static str>, now: Instant) {
        let (before, after) = {
            let mut limiter = self.limiter();
            let before = limiter.limit();
            limiter.leave(entry, timed, now);
            (before, limiter.limit())
        };
        if before != after {
            metrics::of(self.service).limited_to(after as u64);
        }
    }

    fn is_slow(&self, entry: Entry, method: &'static str) -> bool {
        self.limiter().is_slow(entry, method, Instant::now())
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
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

impl<S: GrpcService> TowerService<Request<Body>> for Admission<S> {
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
        let method = Method::of(request.uri().path());
        match self.gate.admit(method) {
            Ok(Admitted { permit, place: None }) => {
                let response = self.inner.call(request);
                Box::pin(async move { Ok(hold(response.await?, permit)) })
            }
            Ok(Admitted { permit, place: Some(place) }) => {
                let response = self.inner.call(request);
                Box::pin(async move {
                    let response = Arc::clone(&place).work(response).await?;
                    Ok(hold(watch(response, place), permit))
                })
            }
            Err(error) => {
                metrics::of(self.gate.service).refused(method.name);
                let refused = refusal(Status::from(error));
                Box::pin(async move { Ok(refused) })
            }
        }
    }
}

/// Keeps the permit until the body has ended.
fn hold(response: Response<Body>, permit: OwnedSemaphorePermit) -> Response<Body> {
    response.map(|body| Body::new(Observed::new(body, permit, |_| {})))
}

/// Gives the place back when the call ends, unless it was given back before.
fn watch(response: Response<Body>, place: Arc<Place>) -> Response<Body> {
    if let Some(code) = status_code(response.headers()) {
        place.ended_with(code);
        return response;
    }
    let ending = Arc::clone(&place);
    produced_in(place, response).map(|body| Body::new(Observed::new(body, (), move |end| ending.ended(&end))))
}
