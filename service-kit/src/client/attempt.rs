//! One attempt at a call: a CLIENT span, trace context, the deadline, the wire, and what became of it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::ServiceExt;
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    breaker::{Health, Ticket},
    from_peer::FromPeer,
    pool::{Picked, Pool, Verdict},
    reason_of,
};
use crate::{
    Deadline, Error, Service,
    auth::{TENANT_HEADER, current_tenant},
    deadline::format_grpc_timeout,
    error::has_details,
    layer::{
        admission::Place,
        deadline::{TIMEOUT_HEADER, limit, too_late},
        status_code,
        trace::{code_name, code_of, record, span_of},
        trailers::{End, Observed, at_first_message},
    },
    method::{Class, Method},
    propagation,
    telemetry::{count, metrics, names::attribute as key},
};

/// What attempts are made with.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub caller: Service,
    pub peer: Service,
    pub host: Arc<str>,
    pub port: u16,
    /// The least time in which the peer should have answered.
    pub patience: Duration,
    /// What is shown to the peer. It is marked as a secret, so that it is neither printed nor kept in tables of headers.
    pub bearer: Option<HeaderValue>,
}

impl Wire {
    /// Sends a request to a replica, for the `number`th time if that is not 0, and tells the ticket and the pool how it
    /// went.
    pub async fn send(
        self,
        mut request: Request<Body>,
        deadline: Option<Deadline>,
        number: u32,
        ticket: Ticket,
        to: (Pool, Picked),
    ) -> Result<Response<Body>, Status> {
        let method = Method::of(request.uri().path());
        let channel = to.1.channel();
        let call = Call {
            span: self.span(method, number),
            caller: self.caller,
            method: method.name,
            began: Instant::now(),
            was_patient: deadline.is_none_or(|deadline| deadline.remaining() >= self.patience),
            code: Code::Cancelled,
            ticket: Some(ticket),
            to,
        };
        self.introduce(request.headers_mut());
        propagation::inject(&call.span.context(), request.headers_mut());
        if let Some(deadline) = deadline {
            // Digits and a letter always make a header value.
            if let Ok(value) = HeaderValue::from_str(&format_grpc_timeout(deadline.remaining())) {
                request.headers_mut().insert(TIMEOUT_HEADER, value);
            }
        }
        // What comes after the first word of a generation is not the work of the server that asked for it.
        let place = (method.class == Some(Class::Stream)).then(Place::current).flatten();
        let span = call.span.clone();
        let outcome = self.exchange(channel, request, deadline).instrument(span).await;
        let outcome = call.watch(outcome);
        match place {
            Some(place) => outcome.map(|response| at_first_message(response, move || place.done())),
            None => outcome,
        }
    }

    /// Says for whom the call is: for the tenant of the call that this task works on, or whoever the key belongs to.
    fn introduce(&self, headers: &mut HeaderMap) {
        headers.remove(TENANT_HEADER);
        if let Some(tenant) = current_tenant().and_then(|tenant| tenant.to_header()) {
            headers.insert(TENANT_HEADER, tenant);
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
    }

    async fn exchange(
        self,
        channel: Channel,
        request: Request<Body>,
        deadline: Option<Deadline>,
    ) -> Result<Response<Body>, Status> {
        let peer = self.peer;
        let sent = async move {
            let answered = channel.oneshot(request).await.map_err(|error| unavailable(peer, &error))?;
            Ok(answered.map(|inner| Body::new(FromPeer { inner, peer })))
        };
        match deadline {
            None => sent.await,
            Some(deadline) => match timeout_at(deadline.at(), sent).await {
                Ok(outcome) => outcome.map(|response| limit(response, deadline)),
                Err(_) => Err(too_late()),
            },
        }
    }

    fn span(&self, method: Method, number: u32) -> Span {
        let span = span_of!(
            self.caller,
            "grpc.client",
            otel.name = method.span_name(),
            otel.kind = "client",
            otel.status_code = field::Empty,
            { key::OPENINFERENCE_SPAN_KIND } = "CHAIN",
            { key::RPC_SYSTEM_NAME } = "grpc",
            { key::RPC_METHOD } = method.name,
            { key::RPC_RESPONSE_STATUS_CODE } = field::Empty,
            { key::RPC_RETRY_ATTEMPT } = field::Empty,
            { key::ERROR_TYPE } = field::Empty,
            { key::SERVER_ADDRESS } = &*self.host,
            { key::SERVER_PORT } = count(self.port)
        );
        if number > 0 {
            span.record(key::RPC_RETRY_ATTEMPT, count(number));
        }
        span
    }
}

/// An attempt under way. One that is dropped was given up by its caller.
struct Call {
    span: Span,
    caller: Service,
    method: &'static str,
    began: Instant,
    was_patient: bool,
    code: Code,
    ticket: Option<Ticket>,
    /// Where the call is, and who is told how it went there.
    to: (Pool, Picked),
}

impl Call {
    /// Waits for the end: here, or at the end of the response's body.
    fn watch(self, outcome: Result<Response<Body>, Status>) -> Result<Response<Body>, Status> {
        match outcome {
            Err(status) => {
                let health = match status.code() {
                    // The server said in good order that this connection takes no more calls.
                    Code::Unavailable if has_parted(&status) => Health::Unknown,
                    Code::Unavailable => Health::Failed,
                    code => self.health(code, true),
                };
                self.end(status.code(), health);
                Err(status)
            }
            Ok(response) => match status_code(response.headers()) {
                Some(code) => {
                    let health = self.health(code, has_details(response.headers()));
                    self.end(code, health);
                    Ok(response)
                }
                None => Ok(response.map(|body| Body::new(Observed::new(body, (), move |end| self.close(end))))),
            },
        }
    }

    fn close(self, end: End<'_>) {
        let code = code_of(&end);
        let health = match &end {
            End::Trailers(trailers) => self.health(code, has_details(trailers)),
            End::Failed(_) => Health::Failed,
            End::Dropped => Health::Unknown,
        };
        self.end(code, health);
    }

    /// What a code says about the peer. With an error of the catalogue it answered, for itself or for others.
    fn health(&self, code: Code, is_ours: bool) -> Health {
        match code {
            Code::DeadlineExceeded if self.was_patient => Health::Failed,
            Code::DeadlineExceeded | Code::Cancelled => Health::Unknown,
            Code::Unavailable if !is_ours => Health::Failed,
            _ => Health::Answered,
        }
    }

    /// Every code but OK is an error of a CLIENT span (OpenTelemetry's RPC conventions).
    fn end(mut self, code: Code, health: Health) {
        record(&self.span, code, code != Code::Ok);
        self.code = code;
        let (pool, picked) = &self.to;
        match health {
            Health::Answered => pool.note(picked, Verdict::Answered),
            Health::Failed if code == Code::DeadlineExceeded => pool.note(picked, Verdict::Silent),
            Health::Failed => pool.note(picked, Verdict::Broken),
            Health::Unknown => {}
        }
        if let Some(ticket) = self.ticket.take() {
            // One replica that fails says nothing about the service, as long as others serve.
            ticket.tell(if health == Health::Failed && pool.has_fit_others(picked) { Health::Unknown } else { health });
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        metrics::of(self.caller).called(self.method, code_name(self.code), self.began.elapsed());
    }
}

/// The catalogue's error for a call that the transport gave up.
pub(super) fn unavailable(peer: Service, error: &(dyn std::error::Error + 'static)) -> Status {
    let mut causes = String::new();
    let mut why = None;
    let mut next = Some(error);
    while let Some(cause) = next {
        // The channel has a timer of its own on the header that was set, and may be the first to notice.
        if cause.is::<tonic::TimeoutExpired>() {
            return too_late();
        }
        if cause.is::<tonic::ConnectError>() {
            why = Some(NotTaken::Unconnected);
        } else if is_parting(cause) {
            why = Some(NotTaken::Parted);
        }
        let words = cause.to_string();
        // Wrappers quote what they wrap.
        if !causes.ends_with(&words) {
            causes = format!("{causes}: {words}");
        }
        next = cause.source();
    }
    let mut status = Status::from(Error::new(reason_of(peer), format!("the {peer} cannot be reached{causes}")));
    if let Some(why) = why {
        status.set_source(Arc::new(why));
    }
    status
}

/// Whether a connection ended in good order before it took the call, as one does that has grown old: the server said that
/// it takes no more (a GOAWAY without an error, and what comes after that it never looks at: RFC 9113, 6.8), or the
/// connection was gone before the request had left its queue.
fn is_parting(cause: &(dyn std::error::Error + 'static)) -> bool {
    let goes_away =
        |error: &h2::Error| error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    cause.downcast_ref().is_some_and(goes_away) || cause.downcast_ref().is_some_and(hyper::Error::is_canceled)
}

/// Marks a call that its server cannot have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotTaken {
    #[error("no connection could be made")]
    Unconnected,
    #[error("the connection has ended in good order")]
    Parted,
}

/// Whether a call failed because no connection could be made.
pub(super) fn was_never_sent(status: &Status) -> bool {
    not_taken(status) == Some(NotTaken::Unconnected)
}

/// Whether a call failed because its connection had just ended in good order.
pub(super) fn has_parted(status: &Status) -> bool {
    not_taken(status) == Some(NotTaken::Parted)
}

fn not_taken(status: &Status) -> Option<NotTaken> {
    std::error::Error::source(status)?.downcast_ref().copied()
}
