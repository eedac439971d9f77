//! Calling another service: a channel that traces, propagates, keeps deadlines, tries again within a budget and leaves a
//! peer alone that does not answer. One middleware a file.

mod attempt;
mod breaker;
mod from_peer;
mod options;
mod pool;
mod retry;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use tokio::time::{sleep, timeout_at};
use tonic::{Status, body::Body, transport::Endpoint};

pub use self::options::{BreakerOptions, ClientOptions};
use self::{
    attempt::{Wire, has_parted, was_never_sent},
    breaker::Breakers,
    pool::{Picked, Pool, Replica},
    retry::{Kept, MOST, Pauses, Retries, wait_before_another},
};
use crate::{
    ConfigError, Deadline, Error, Reason, Service,
    layer::deadline::{is_unbounded, too_late},
    method::Method,
    telemetry::metrics,
    tls::ClientTls,
};

/// A channel to another service, for its generated client. Cheap to clone; it
/// connects when it is first used, and again when the connection breaks.
///
/// Each attempt is one CLIENT span, carries W3C trace context, and ends at the
/// [`Deadline`] in its extensions (see [`Deadline::request`]) or after the
/// default time-out, streams included. Failures of the transport come as the
/// catalogue's error for the peer.
///
/// An endpoint may name several replicas: each call goes to the less busy of two, and those that break are left out for
/// a while. A call whose replica cannot be connected to goes to another, whatever it does: nothing was sent. Neither is
/// anything of a call whose connection has just ended in good order; it goes over the next one.
///
/// Calls that change nothing are sent again when the peer did not get to answer,
/// within a budget that all clones share. A peer that keeps failing is left alone
/// for a while, in which its calls fail at once with a retry hint. The command
/// line does neither: whoever typed a command decides what comes next.
#[derive(Clone, Debug)]
pub struct GrpcChannel {
    pool: Pool,
    wire: Wire,
    retries: Retries,
    breakers: Breakers,
    default_timeout: Duration,
}

impl GrpcChannel {
    /// A channel from `caller` to `peer`. Nothing is connected yet, but a tokio runtime is needed.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn connect(caller: Service, peer: Service, options: &ClientOptions) -> Result<Self, ConfigError> {
        let target = options.parse()?;
        let first = target.first();
        let (host, port) = (first.host.as_str().into(), first.port);
        let tls = options.tls.as_ref().map(|tls| ClientTls::new(tls, &first.host)).transpose();
        let tls = tls.map_err(|error| error.within("tls"))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let probe = Duration::from_millis(options.keepalive_ms);
        let endpoint = Endpoint::from_shared(format!("{scheme}://{first}"))
            .map_err(|error| ConfigError::new("endpoint", &options.endpoint, error.to_string()))?
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .http2_keep_alive_interval(probe)
            .keep_alive_timeout(probe)
            .http2_adaptive_window(true);
        let patience = Duration::from_millis(options.breaker.patience_ms);
        Ok(Self {
            pool: Pool::new(peer, target, endpoint, tls, Duration::from_millis(options.resolve_ms)),
            wire: Wire { caller, peer, host, port, patience, bearer: None },
            retries: Retries::new(if caller == Service::Cli { 0 } else { options.retry_percent }),
            breakers: Breakers::new(caller, peer, &options.breaker),
            default_timeout: Duration::from_millis(options.default_timeout_ms),
        })
    }

    /// The same channel, which shows a key or token with each call.
    ///
    /// # Errors
    /// When it has characters that no key has. It is not quoted.
    pub fn with_bearer(mut self, bearer: &str) -> Result<Self, ConfigError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {bearer}"))
            .map_err(|_| ConfigError::new("bearer", "", "has characters that no key has"))?;
        value.set_sensitive(true);
        self.wire.bearer = Some(value);
        Ok(self)
    }

    /// The budget of a call. A stream of documents has none unless its caller sets one.
    fn deadline(&self, request: &Request<Body>) -> Option<Deadline> {
        let given = request.extensions().get::<Deadline>().copied();
        if given.is_none() && is_unbounded(request) {
            return None;
        }
        Some(given.unwrap_or_else(|| Deadline::after(self.default_timeout)))
    }

    async fn once(self, request: Request<Body>, method: Method, deadline: Option<Deadline>) -> Outcome {
        if method.takes_one_message {
            return self.reach(&Kept::of(request).await?, method, deadline, 0, &mut Vec::new()).await;
        }
        let ticket = self.breakers.pass(method.class)?;
        let picked = self.pick(&[], deadline).await?.ok_or_else(|| self.nowhere())?;
        self.wire.send(request, deadline, 0, ticket, (self.pool, picked)).await
    }

    async fn repeatedly(self, request: Request<Body>, method: Method, deadline: Option<Deadline>) -> Outcome {
        self.retries.count();
        let kept = Kept::of(request).await?;
        let mut pauses = Pauses::new();
        let mut number = 0;
        let mut tried = Vec::new();
        loop {
            let outcome = self.reach(&kept, method, deadline, number, &mut tried).await;
            let wait = wait_before_another(&outcome, deadline).filter(|_| number < MOST);
            let Some(wait) = wait else { return outcome };
            let allowed = self.retries.pay();
            metrics::of(self.wire.caller).retried(method.name, allowed);
            if !allowed {
                return outcome;
            }
            pauses.next(wait).await;
            number += 1;
        }
    }

    /// Sends a request to one replica, and to another for as long as none can be connected to. A connection that takes no more
    /// calls, as it has grown old, is waited out: the next one goes to the same server.
    async fn reach(
        &self,
        kept: &Kept,
        method: Method,
        deadline: Option<Deadline>,
        number: u32,
        tried: &mut Vec<Arc<Replica>>,
    ) -> Outcome {
        let mut unreached: Option<Status> = None;
        let (mut replicas, mut partings) = (0, 0);
        while replicas < MOST_REPLICAS {
            // A refusal of the breaker is final: it stands for calls that were made already.
            let ticket = self.breakers.pass(method.class)?;
            let picked = match self.pick(tried, deadline).await? {
                Some(picked) => picked,
                // A further attempt may go where the first has been, but one attempt goes nowhere twice.
                None if unreached.is_none() => {
                    tried.clear();
                    self.pick(tried, deadline).await?.ok_or_else(|| self.nowhere())?
                }
                None => break,
            };
            let replica = Arc::clone(picked.replica());
            let to = (self.pool.clone(), picked);
            let outcome = self.wire.clone().send(kept.request(), deadline, number, ticket, to).await;
            if outcome.as_ref().is_err_and(has_parted) && partings < MOST_PARTINGS {
                // The channel is about to notice, and to connect again.
                sleep(PARTING).await;
                partings += 1;
                continue;
            }
            tried.push(replica);
            replicas += 1;
            match outcome {
                Err(status) if was_never_sent(&status) && self.pool.has_others() => unreached = Some(status),
                outcome => return outcome,
            }
        }
        Err(unreached.unwrap_or_else(|| self.nowhere()))
    }

    /// A replica that was not tried, waited for until the deadline; `None` when there is none.
    async fn pick(&self, tried: &[Arc<Replica>], deadline: Option<Deadline>) -> Result<Option<Picked>, Status> {
        let picked = match deadline {
            None => self.pool.pick(tried).await,
            Some(deadline) => timeout_at(deadline.at(), self.pool.pick(tried)).await.map_err(|_| too_late())?,
        };
        let peer = self.wire.peer;
        picked.map_err(|why| Error::new(reason_of(peer), format!("the {peer} cannot be found: {why}")).into())
    }

    fn nowhere(&self) -> Status {
        let peer = self.wire.peer;
        Error::new(reason_of(peer), format!("the {peer} has no replica that can be called")).into()
    }
}

/// The most replicas that one attempt tries to connect to.
const MOST_REPLICAS: usize = 4;

/// How often one attempt may meet a connection that has just ended in good order. Each is followed by a new one, which no
/// server ends at once.
const MOST_PARTINGS: usize = 8;

/// How long it waits then.
const PARTING: Duration = Duration::from_millis(1);

type Outcome = Result<Response<Body>, Status>;

impl tower::Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // The channel inside is made ready within the call, under the call's deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = Method::of(request.uri().path());
        let deadline = self.deadline(&request);
        if method.is_idempotent && self.retries.are_allowed() {
            Box::pin(self.clone().repeatedly(request, method, deadline))
        } else {
            Box::pin(self.clone().once(request, method, deadline))
        }
    }
}

/// The catalogue's reason for a peer that cannot be had.
fn reason_of(peer: Service) -> Reason {
    match peer {
        Service::ModelHost => Reason::ModelHostUnavailable,
        Service::Retriever => Reason::RetrieverUnavailable,
        Service::Router | Service::Cli => Reason::RouterUnavailable,
    }
}
