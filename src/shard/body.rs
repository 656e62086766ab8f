//! A stream over HTTP/2: a body that hyper pulls, fed from the same ring as a socket would be. hyper
//! asks only while the client's flow-control window and the small send buffer have room, so what
//! waits, waits in the ring.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};

use super::audience::StreamKey;
use super::framing::Transfer;
use super::replay::Next;
use super::streams::Streams;
use super::subscriber::{Phase, Sink};
use crate::metrics::{Closed, Protocol};
use crate::sse::EndReason;
use crate::subscribe::Subscription;

/// Most bytes handed to hyper at once, unless a single event is larger.
const PULL_BYTES: usize = 16 * 1024;

/// The body of one HTTP/2 stream. Dropping it closes the stream.
pub(super) struct StreamBody {
    streams: Rc<RefCell<Streams>>,
    key: StreamKey,
    /// The shard may close the stream first and give its key to another.
    generation: u32,
    finished: bool,
}

impl StreamBody {
    /// Opens the stream.
    pub(super) fn open(
        streams: Rc<RefCell<Streams>>,
        subscription: Subscription,
        transfer: Transfer,
        protocol: Protocol,
    ) -> Self {
        let (key, generation) = streams.borrow_mut().open_body(subscription, transfer, protocol);
        Self { streams, key, generation, finished: false }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let pulled = self.streams.borrow_mut().pull(self.key, self.generation, cx);
        match pulled {
            Poll::Ready(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(None) => {
                self.finished = true;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.streams.borrow_mut().close_body(self.key, self.generation, self.finished);
    }
}

impl Streams {
    /// The next bytes of a stream whose body hyper pulls; `None` after its end.
    pub(super) fn pull(
        &mut self,
        key: StreamKey,
        generation: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        self.look_at_clock();
        // The shard closes a stream whose client does not pull its end in time.
        if !self.is(key, generation) {
            return Poll::Ready(None);
        }
        self.owe_gap_if_lost(key);
        if let Some(piece) = self.pull_large(key) {
            return Poll::Ready(Some(piece));
        }
        let mut bytes = BytesMut::from(&*std::mem::take(&mut self.backlog(key).unfinished));
        self.pull_past(key, &mut bytes);
        while bytes.is_empty() || bytes.len() < PULL_BYTES {
            self.take_from_ring(key, 1);
            let Some(event) = self.taken.pop() else { break };
            bytes.extend_from_slice(&self.writer(key).bytes(&event));
            self.delivered(event.accepted);
            self.sent_from_ring(key, &[event]);
        }
        if self.subscribers[key].remaining == 0 && self.subscribers[key].phase == Phase::Live {
            self.finish(key, EndReason::Limit);
        }
        let heard = self.tick;
        let subscriber = &mut self.subscribers[key];
        let backlog = subscriber.backlog.as_mut().expect("a body always has a backlog");
        if backlog.ring.as_ref().is_none_or(super::ring::Ring::is_empty)
            && let Some(closing) = backlog.closing.take()
        {
            bytes.extend_from_slice(&closing);
        }
        if !bytes.is_empty() {
            subscriber.heard = heard;
            self.metrics.sent_bytes.add(bytes.len() as u64);
            return Poll::Ready(Some(bytes.freeze()));
        }
        if matches!(subscriber.phase, Phase::Ending(_)) {
            return Poll::Ready(None);
        }
        if let Sink::Body(_, waker) = &mut subscriber.sink {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// A piece of what is too large to be copied, a stream's snapshot: it is sliced.
    fn pull_large(&mut self, key: StreamKey) -> Option<Bytes> {
        let heard = self.tick;
        let backlog = self.backlog(key);
        if backlog.snapshot.is_empty() && backlog.unfinished.len() <= PULL_BYTES {
            return None;
        }
        let length = backlog.unfinished.len().min(PULL_BYTES);
        let piece = backlog.unfinished.split_to(length);
        if backlog.unfinished.is_empty() {
            backlog.unfinished = std::mem::take(&mut backlog.snapshot);
        }
        self.subscribers[key].heard = heard;
        self.metrics.sent_bytes.add(piece.len() as u64);
        Some(piece)
    }

    /// Appends what there is of a stream's past, as long as there is room.
    fn pull_past(&mut self, key: StreamKey, bytes: &mut BytesMut) {
        while bytes.len() < PULL_BYTES
            && self.subscribers[key].remaining > 0
            && self.backlog(key).replay.is_some()
        {
            match self.next_of_past(key) {
                Next::Gap(gap, told_at) => {
                    bytes.extend_from_slice(&self.tell_gap(key, &gap, told_at));
                }
                Next::Cursor(seq) => bytes.extend_from_slice(&self.tell_cursor(key, seq)),
                Next::Page(page, frames) => {
                    bytes.extend_from_slice(page.first(frames));
                    self.advance_in_past(key, &page, frames);
                }
                Next::Live => self.go_live(key),
            }
        }
    }

    /// hyper is done with a body: it came to its end, or the client left.
    pub(super) fn close_body(&mut self, key: StreamKey, generation: u32, finished: bool) {
        if !self.is(key, generation) {
            return;
        }
        let why = match self.subscribers[key].phase {
            Phase::Ending(reason) | Phase::Lingering(reason) if finished => Closed::Ended(reason),
            _ => Closed::Client,
        };
        self.close(key, why);
    }
}
