//! The events of one query, as a stream and as one answer.

use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{Instrument, Span};
use trivium_proto::router::v1::{QueryResponse, query_stream_response};
use trivium_service_kit::{Deadline, Error, Reason};

use super::{Engine, Run, account::AccountBuilder};
use crate::{audit::Witness, policy::Policy, request::Query, trace, trace::Measured};

/// One event of an answer.
pub(crate) type Event = query_stream_response::Event;

/// Events that may wait for a slow caller before the core waits too.
const WAITING_EVENTS: usize = 32;

/// Answers a query, event by event: the last is the account, or an error. The
/// work goes on while the stream is polled, and ends when it is dropped.
pub(crate) fn answer(
    engine: Arc<Engine>,
    policy: Arc<Policy>,
    query: Query,
    deadline: Deadline,
    witness: Arc<Witness>,
) -> impl Stream<Item = Result<Event, Error>> + Send + 'static {
    let span = trace::query(&query.question);
    let (events, received) = mpsc::channel(WAITING_EVENTS);
    let run = start(engine, policy, query, deadline, witness, events, span.clone()).instrument(span);
    // The core's future gives no event of its own; it is in the stream to be polled with it.
    let core = run.into_stream().filter_map(|()| async { None });
    stream::select(ReceiverStream::new(received), core)
}

/// Runs inside the query's span, where the trace id is known.
async fn start(
    engine: Arc<Engine>,
    policy: Arc<Policy>,
    query: Query,
    deadline: Deadline,
    witness: Arc<Witness>,
    events: mpsc::Sender<Result<Event, Error>>,
    span: Span,
) {
    let account = AccountBuilder::new(query.question.request_id.clone());
    witness.traced(account.trace_id());
    let measured = Measured::begin();
    Run { engine, policy, query, deadline, account, measured, witness, events, span }.run().await;
}

/// Gathers the events of one answer.
///
/// # Errors
/// The error that the events end with.
pub(crate) async fn fold(events: impl Stream<Item = Result<Event, Error>>) -> Result<QueryResponse, Error> {
    let mut events = std::pin::pin!(events);
    let mut response = QueryResponse::default();
    while let Some(event) = events.next().await {
        match event? {
            Event::Decision(decision) => response.decision = Some(decision),
            Event::Passages(list) => response.passages = list.passages,
            Event::Text(text) => response.answer.push_str(&text),
            Event::Citation(citation) => response.citations.push(citation),
            Event::Account(account) => {
                response.account = Some(account);
                return Ok(response);
            }
        }
    }
    Err(Error::new(Reason::Internal, "the answer ended without its account"))
}
