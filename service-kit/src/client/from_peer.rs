//! A response whose connection may break off in the middle.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::attempt::unavailable;
use crate::Service;

/// A body that gives the catalogue's error for the peer when the connection breaks. tonic has no code for that, and its
/// own would pass for a fault of the peer's.
pub(super) struct FromPeer {
    pub inner: Body,
    pub peer: Service,
}

impl http_body::Body for FromPeer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let peer = self.peer;
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| unavailable(peer, &error))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
