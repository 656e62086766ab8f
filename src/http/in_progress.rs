//! Requests of a connection that are being answered: how many there are, what is held of a response
//! whose client does not take it, and over HTTP/2 which of them wait for their client to give window.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use super::ResponseBody;
use super::io::Watch;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    total: Cell<u64>,
    in_progress: Cell<u64>,
}

impl Requests {
    /// How many there have been.
    pub(super) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Whether one has not been answered to its end.
    pub(super) fn are_in_progress(&self) -> bool {
        self.in_progress.get() > 0
    }

    /// The next request has come.
    pub(super) fn begin(self: &Rc<Self>) -> InProgress {
        self.total.update(|total| total + 1);
        self.in_progress.update(|count| count + 1);
        InProgress { requests: Rc::clone(self), number: self.total() }
    }
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct InProgress {
    requests: Rc<Requests>,
    /// The connection's first request is 1.
    pub(super) number: u64,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.requests.in_progress.update(|count| count - 1);
    }
}

/// Since when a response waits for its client to give window.
pub(super) type WaitsSince = Rc<Cell<Option<Instant>>>;

/// A response's body, until it has been sent.
pub(super) struct Sending<S> {
    body: ResponseBody<S>,
    _request: InProgress,
    carrier: Carrier,
}

/// What a body is sent over.
enum Carrier {
    Http1(Rc<Watch>),
    Http2 {
        waits_since: WaitsSince,
        /// The body's last byte, where more came with it.
        last: Bytes,
    },
}

impl<S> Sending<S> {
    pub(super) fn over_http1(
        body: ResponseBody<S>,
        request: InProgress,
        watch: &Rc<Watch>,
    ) -> Self {
        watch.is_paced.set(!body.is_stream());
        Self { body, _request: request, carrier: Carrier::Http1(Rc::clone(watch)) }
    }

    pub(super) fn over_http2(
        body: ResponseBody<S>,
        request: InProgress,
        waits_since: WaitsSince,
    ) -> Self {
        waits_since.set(Some(Instant::now()));
        let carrier = Carrier::Http2 { waits_since, last: Bytes::new() };
        Self { body, _request: request, carrier }
    }
}

impl<S: Body<Data = Bytes, Error = Infallible> + Unpin> Body for Sending<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { body, carrier, .. } = &mut *self;
        match carrier {
            Carrier::Http1(watch) => poll_in_bounds(body, watch, cx),
            Carrier::Http2 { waits_since, last } => poll_last_apart(body, waits_since, last, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_given = match &self.carrier {
            Carrier::Http1(_) => true,
            Carrier::Http2 { last, .. } => last.is_empty(),
        };
        is_given && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Gives no more while the client has not taken what was given before.
fn poll_in_bounds(
    body: &mut (impl Body<Data = Bytes, Error = io::Error> + Unpin),
    watch: &Watch,
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    if watch.keeps_back() {
        return Poll::Pending;
    }
    let polled = Pin::new(body).poll_frame(cx);
    if let Poll::Ready(Some(Ok(frame))) = &polled {
        watch.note_given(frame.data_ref().map_or(0, Bytes::len));
    }
    polled
}

/// What is given here is handed to h2 as soon as there is any window at all, and a body that is over is
/// forgotten then, whatever part of it h2 still holds. So the last byte is given apart: hyper keeps it
/// until there is window for it, which is behind everything else.
fn poll_last_apart<S: Body<Data = Bytes, Error = Infallible> + Unpin>(
    body: &mut ResponseBody<S>,
    waits_since: &WaitsSince,
    last: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    if !last.is_empty() {
        waits_since.set(Some(Instant::now()));
        return Poll::Ready(Some(Ok(Frame::data(std::mem::take(last)))));
    }
    let polled = Pin::new(&mut *body).poll_frame(cx);
    let Poll::Ready(Some(Ok(mut frame))) = polled else {
        waits_since.set(None);
        return polled;
    };
    waits_since.set(Some(Instant::now()));
    if body.may_be_over()
        && let Some(data) = frame.data_mut()
        && data.len() > 1
    {
        *last = data.split_off(data.len() - 1);
    }
    Poll::Ready(Some(Ok(frame)))
}

/// Runs the task of one HTTP/2 stream; gives it up, which resets the stream, when it has waited for
/// window for longer than `longest`.
pub(super) async fn give_up_without_window(
    stream: impl Future,
    waits_since: WaitsSince,
    longest: Duration,
) {
    let mut stream = pin!(stream);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = waits_since.get() else { return Poll::Pending };
        let due = since + longest;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        while timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                tracing::debug!(?longest, "an HTTP/2 stream had no window");
                return Poll::Ready(());
            }
            timer.as_mut().reset(due.into());
        }
        Poll::Pending
    })
    .await;
}
