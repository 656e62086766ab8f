//! A response's body on its way to the client: frame by frame, with a watch on one that stops. A stream of
//! events, which may never stop, ends behind one of them when the gateway drains.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::Activity;
use super::drain::Departure;
use super::event_end::EventEnd;
use super::pool::Lease;

/// A response's body, from the server. Holds the server's connection until the body has ended.
#[derive(Debug)]
pub struct Download(Option<Pulled>);

#[derive(Debug)]
struct Pulled {
    incoming: Incoming,
    lease: Option<Lease>,
    activity: Activity,
    silence_max: Duration,
    events: Option<Events>,
    /// Why there is no more of it.
    failed: Option<io::Error>,
}

/// A stream of events of which nobody knows when it ends.
#[derive(Debug)]
pub(super) struct Events {
    departure: Departure,
    /// Where an event ends, if that can be seen: not where it is compressed.
    end: Option<EventEnd>,
}

impl Events {
    pub(super) fn new(departure: Departure, is_compressed: bool) -> Self {
        Self { departure, end: (!is_compressed).then(EventEnd::default) }
    }

    /// Whether it ends here and now.
    fn leaves(&mut self, cx: &mut Context<'_>) -> bool {
        self.departure.is_due(cx) && self.end.is_none_or(EventEnd::is_here)
    }

    /// Passes a piece; if it is time to go, only up to the first event's end in it.
    fn pass(&mut self, piece: &mut Bytes, cx: &mut Context<'_>) {
        let Some(end) = &mut self.end else { return };
        if self.departure.is_due(cx)
            && let Some(length) = end.first_in(piece)
        {
            piece.truncate(length);
        }
        end.pass(piece);
    }
}

impl Download {
    /// No body.
    pub(super) fn empty() -> Self {
        Self(None)
    }

    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        activity: Activity,
        events: Option<Events>,
    ) -> Self {
        let silence_max = lease.limits.body_timeout;
        let lease = Some(lease);
        let mut pulled = Pulled { incoming, lease, activity, silence_max, events, failed: None };
        pulled.give_back_at_end();
        Self(Some(pulled))
    }

    /// A stream of events that several clients read: when the gateway drains, their streams end, and not
    /// this.
    pub(super) fn for_feed(mut self) -> Self {
        if let Some(pulled) = &mut self.0 {
            pulled.events = None;
        }
        self
    }

    /// Whether it is a stream of events, which has no length.
    pub fn is_event_stream(&self) -> bool {
        self.0.as_ref().is_some_and(|pulled| pulled.events.is_some())
    }
}

impl Pulled {
    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back(self.activity.moved());
        }
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(cx) {
            return Poll::Ready(polled);
        }
        // The body has asked the connection for more: only now does that read on.
        if let Some(lease) = &mut self.lease {
            lease.drive(cx);
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { lease, activity, silence_max, .. } = self;
        let link = lease.as_mut().map(|lease| &mut lease.link);
        link.map_or(Poll::Pending, |link| link.poll_silent(activity, *silence_max, cx))
    }

    /// Has hyper write what it has got so far before it is told: it throws that away on an error.
    fn fail<T>(&mut self, error: io::Error, cx: &mut Context<'_>) -> Poll<T> {
        self.lease = None;
        self.failed = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(pulled) = &mut self.0 else { return Poll::Ready(None) };
        if let Some(error) = pulled.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if pulled.events.as_mut().is_some_and(|events| events.leaves(cx)) {
            // The server's connection closes: it has more to say.
            self.0 = None;
            return Poll::Ready(None);
        }
        match pulled.poll_pull(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                pulled.activity.note();
                if let Some((events, piece)) = pulled.events.as_mut().zip(frame.data_mut()) {
                    events.pass(piece, cx);
                }
                pulled.give_back_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                if let Some(lease) = pulled.lease.take() {
                    lease.give_back(pulled.activity.moved());
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => pulled.fail(io::Error::other(error), cx),
            Poll::Pending if pulled.poll_silent(cx).is_ready() => {
                pulled.fail(io::ErrorKind::TimedOut.into(), cx)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|pulled| pulled.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |pulled| pulled.incoming.size_hint())
    }
}
