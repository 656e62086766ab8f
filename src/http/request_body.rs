//! A request's body, until somebody takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A request's body. What a route leaves of it is seen to by the connection.
#[derive(Debug)]
pub struct RequestBody(Option<Incoming>);

impl RequestBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self(Some(incoming))
    }

    /// Takes the body away: whoever has it sees to its end. `None` if there is nothing to come.
    pub fn take(&mut self) -> Option<Incoming> {
        self.0.take().filter(|incoming| !incoming.is_end_stream())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}
