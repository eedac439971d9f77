//! The place that a call takes while the server works on it.
//!
//! A language model may take a minute over an answer, in which this server does nothing. So a call gives its place back,
//! and its time is taken, when a generation below it says its first word. The call finds its place through the task that
//! it runs in, so that no service has to hand it on.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::{task_local, time::Instant};
use tonic::{Code, Status, body::Body};

use super::{Door, limiter::Entry};
use crate::layer::{trace::code_of, trailers::End};

task_local! {
    static PLACE: Arc<Place>;
}

/// A place, until it is given back.
pub(crate) struct Place {
    door: Arc<Door>,
    method: &'static str,
    /// Whether the call's latency is one of the server: that of a stream is also its reader's.
    is_timed: bool,
    held: Mutex<Option<Entry>>,
}

impl Place {
    pub(super) fn new(door: Arc<Door>, method: &'static str, is_timed: bool, entry: Entry) -> Arc<Self> {
        Arc::new(Self { door, method, is_timed, held: Mutex::new(Some(entry)) })
    }

    /// The place of the call that this task works on, if it has one.
    pub fn current() -> Option<Arc<Self>> {
        PLACE.try_with(Arc::clone).ok()
    }

    /// Lets a future work in this place.
    pub(super) async fn work<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        PLACE.scope(self, work).await
    }

    /// Gives the place back because the server's own work is done.
    pub fn done(&self) {
        self.give_back(|_, _| self.is_timed);
    }

    /// Gives the place back because the call has ended.
    pub(super) fn ended(&self, end: &End<'_>) {
        self.ended_with(code_of(end));
    }

    /// Gives the place back because the call has ended with that code. Errors come fast and say nothing, but for a deadline
    /// that passed after a fair time.
    pub(super) fn ended_with(&self, code: Code) {
        self.give_back(|door, entry| match code {
            Code::Ok => self.is_timed,
            Code::DeadlineExceeded => self.is_timed && door.is_slow(entry, self.method),
            _ => false,
        });
    }

    fn give_back(&self, is_timed: impl FnOnce(&Door, Entry) -> bool) {
        let entry = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(entry) = entry {
            let timed = is_timed(&self.door, entry).then_some(self.method);
            self.door.leave(entry, timed, Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(|_, _| false);
    }
}

/// A response whose body is produced in its call's place.
pub(super) fn produced_in(place: Arc<Place>, response: Response<Body>) -> Response<Body> {
    response.map(|inner| Body::new(InPlace { inner, place }))
}

struct InPlace {
    inner: Body,
    place: Arc<Place>,
}

impl http_body::Body for InPlace {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let place = Arc::clone(&this.place);
        PLACE.sync_scope(place, || Pin::new(&mut this.inner).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Reason, layer::admission::AdmissionLayer, method::Method, server::ServerOptions};

    /// A door that lets one call in.
    fn door() -> Arc<Door> {
        let options = ServerOptions {
            max_concurrent_requests: 1,
            min_concurrent_requests: 1,
            max_slowdown_percent: 200,
            ..ServerOptions::default()
        };
        AdmissionLayer::new(crate::Service::Router, &options).door.expect("it measures")
    }

    fn enter(door: &Arc<Door>) -> Result<Arc<Place>, Error> {
        Door::enter(door, Method::of("/trivium.router.v1.RouterService/Query"))
    }

    #[tokio::test]
    async fn a_place_is_free_again_once_the_servers_own_work_is_done() {
        let door = door();
        let place = enter(&door).expect("the first");
        let refused = enter(&door).err().expect("a second");
        assert_eq!((refused.reason(), refused.retry_after().is_some()), (Reason::Overloaded, true));

        let found = Arc::clone(&place).work(async { Place::current() }).await.expect("the task knows its place");
        found.done();
        let second = enter(&door).expect("the first only waits for a generation");
        // What ends later gives nothing back that is another's by now.
        place.ended_with(Code::Ok);
        drop((place, found));
        assert!(enter(&door).is_err(), "the second still runs");
        drop(second);
        assert!(enter(&door).is_ok(), "a call that is given up leaves its place");
    }

    #[tokio::test]
    async fn outside_any_call_there_is_no_place() {
        assert!(Place::current().is_none());
    }
}
