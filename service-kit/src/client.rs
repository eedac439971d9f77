//! Calling another service: a channel that traces, propagates, keeps deadlines, tries again within a budget and leaves a
//! peer alone that does not answer. One middleware a file.

mod attempt;
mod breaker;
mod from_peer;
mod options;
mod retry;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tonic::{Status, body::Body};

pub use self::options::{BreakerOptions, ClientOptions};
use self::{
    attempt::Wire,
    breaker::Breakers,
    retry::{Kept, MOST, Pauses, Retries, wait_before_another},
};
use crate::{
    ConfigError, Deadline, Reason, Service, layer::deadline::is_unbounded, method::Method, telemetry::metrics,
};

/// A channel to another service, for its generated client. Cheap to clone; it
/// connects when it is first used, and again when the connection breaks.
///
/// Each attempt is one CLIENT span, carries W3C trace context, and ends at the
/// [`Deadline`] in its extensions (see [`Deadline::request`]) or after the
/// default time-out, streams included. Failures of the transport come as the
/// catalogue's error for the peer.
///
/// Calls that change nothing are sent again when the peer did not get to answer,
/// within a budget that all clones share. A peer that keeps failing is left alone
/// for a while, in which its calls fail at once with a retry hint. The command
/// line does neither: whoever typed a command decides what comes next.
#[derive(Clone, Debug)]
pub struct GrpcChannel {
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
        let endpoint = options.parse()?;
        let probe = Duration::from_millis(options.keepalive_ms);
        let host = endpoint.uri().host().unwrap_or_default().into();
        let port = endpoint.uri().port_u16().unwrap_or(80);
        let channel = endpoint
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(probe)
            .keep_alive_timeout(probe)
            .http2_adaptive_window(true)
            .connect_lazy();
        let patience = Duration::from_millis(options.breaker.patience_ms);
        Ok(Self {
            wire: Wire { channel, caller, peer, host, port, patience },
            retries: Retries::new(if caller == Service::Cli { 0 } else { options.retry_percent }),
            breakers: Breakers::new(caller, peer, &options.breaker),
            default_timeout: Duration::from_millis(options.default_timeout_ms),
        })
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
        let ticket = self.breakers.pass(method.class)?;
        self.wire.send(request, deadline, 0, ticket).await
    }

    async fn repeatedly(self, request: Request<Body>, method: Method, deadline: Option<Deadline>) -> Outcome {
        self.retries.count();
        let kept = Kept::of(request).await?;
        let mut pauses = Pauses::new();
        let mut number = 0;
        loop {
            // A refusal of the breaker is final: it stands for calls that were made already.
            let ticket = self.breakers.pass(method.class)?;
            let outcome = self.wire.clone().send(kept.request(), deadline, number, ticket).await;
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
}

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
