//! A request's body on its way to the server: frame by frame, and noted where it stops.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::Activity;

/// A request's body, to the server.
#[derive(Debug)]
pub(super) struct Upload {
    incoming: Option<Incoming>,
    activity: Activity,
}

impl Upload {
    pub(super) fn new(incoming: Option<Incoming>, activity: Activity) -> Self {
        let upload = Self { incoming, activity };
        upload.note_end();
        upload
    }

    fn note_end(&self) {
        if self.is_end_stream() {
            self.activity.end_client();
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        match &polled {
            Poll::Pending => self.activity.await_client(),
            Poll::Ready(Some(Err(_))) => self.activity.fail_client(),
            Poll::Ready(Some(Ok(_))) => {
                self.activity.note();
                self.note_end();
            }
            Poll::Ready(None) => self.activity.end_client(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}
