//! Response bodies that tell how they ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use tonic::{Code, Status, body::Body};

/// The key of a status in headers and trailers.
const STATUS_KEY: &str = "grpc-status";

/// The gRPC code in response headers or trailers, when there is one.
pub fn status_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS_KEY).map(|value| Code::from_bytes(value.as_bytes()))
}

/// How a body ended.
pub(crate) enum End<'a> {
    /// With trailers, which may be changed on the way.
    Trailers(&'a mut HeaderMap),
    /// With an error of the transport.
    Failed(&'a Status),
    /// Its reader went away.
    Dropped,
}

/// A body that calls `on_end` once, however it ends, and holds `held` until then.
pub(crate) struct Observed<F: FnOnce(End<'_>), H = ()> {
    inner: Body,
    on_end: Option<F>,
    held: Option<H>,
}

impl<F: FnOnce(End<'_>), H> Observed<F, H> {
    pub(crate) fn new(inner: Body, held: H, on_end: F) -> Self {
        Self { inner, on_end: Some(on_end), held: Some(held) }
    }

    fn end(&mut self, end: End<'_>) {
        if let Some(on_end) = self.on_end.take() {
            on_end(end);
        }
        self.held = None;
    }
}

impl<F, H> http_body::Body for Observed<F, H>
where
    F: FnOnce(End<'_>) + Unpin,
    H: Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    this.end(End::Trailers(&mut trailers));
                    Some(Ok(Frame::trailers(trailers)))
                }
                Err(frame) => Some(Ok(frame)),
            },
            Some(Err(status)) => {
                this.end(End::Failed(&status));
                Some(Err(status))
            }
            None => {
                this.end(End::Trailers(&mut HeaderMap::new()));
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

impl<F: FnOnce(End<'_>), H> Drop for Observed<F, H> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}

/// Calls `on_first` once, when the body's first frame comes.
pub(crate) fn at_first_message(
    response: Response<Body>,
    on_first: impl FnOnce() + Send + Unpin + 'static,
) -> Response<Body> {
    response.map(|inner| Body::new(Announced { inner, on_first: Some(on_first) }))
}

/// See [`at_first_message`].
struct Announced<F> {
    inner: Body,
    on_first: Option<F>,
}

impl<F: FnOnce() + Unpin> http_body::Body for Announced<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if let Some(on_first) = this.on_first.take() {
            on_first();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
