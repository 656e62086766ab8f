//! A request's body on its way to the server: frame by frame, and noted where it stops.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::activity::Activity;
use crate::request_body::{BodyError, RequestBody};

/// A request's body, to the server.
#[derive(Debug)]
pub(super) struct Upload {
    incoming: Option<RequestBody>,
    activity: Activity,
}

impl Upload {
    pub(super) fn new(incoming: Option<RequestBody>, activity: Activity) -> Self {
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
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        match &polled {
            Poll::Pending => self.activity.await_client(),
            Poll::Ready(Some(Err(error))) => self.activity.fail_client(error.fault()),
            Poll::Ready(Some(Ok(_))) => {
                self.activity.note();
                self.note_end();
            }
            Poll::Ready(None) => self.activity.end_client(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(RequestBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), RequestBody::size_hint)
    }
}
