//! The socket as hyper sees it: bytes that were read to sniff the protocol come first. What the guard
//! of an HTTP/1 connection refuses never comes, and a flush with nothing left to write is remembered,
//! since a takeover has to wait for it. The frames of an HTTP/2 connection are counted.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::floods::{self, FrameMeter};
use super::guard::{Guard, Place, Refusal};
use crate::net::Transport;
use crate::pace::Pace;
use crate::proxy::Interims;

/// What an HTTP/1 connection and its socket tell each other.
pub(super) struct Watch {
    pub(super) guard: RefCell<Guard>,
    /// Set by `poll_flush`, which hyper calls only when its write buffer is empty.
    pub(super) flushed: Cell<bool>,
    /// Set when the socket has taken something.
    pub(super) wrote: Cell<bool>,
    /// Bytes of bodies that hyper was given since its write buffer was last empty.
    unsent: Cell<usize>,
    /// A body was asked for more and kept it back.
    kept_back: Cell<bool>,
    /// The socket takes no more for now.
    is_full: Cell<bool>,
    /// How fast the client takes responses, and whether this one has to be taken at that pace.
    pace: RefCell<Pace>,
    pub(super) is_paced: Cell<bool>,
    /// Interim responses that are to be written,
    pub(super) interims: Interims,
    /// and what is left of those that were begun.
    begun: RefCell<Bytes>,
}

impl Watch {
    pub(super) fn new(guard: Guard, pace: Pace) -> Self {
        Self {
            guard: RefCell::new(guard),
            flushed: Cell::new(false),
            wrote: Cell::new(false),
            unsent: Cell::new(0),
            kept_back: Cell::new(false),
            is_full: Cell::new(false),
            pace: RefCell::new(pace),
            is_paced: Cell::new(false),
            interims: Interims::default(),
            begun: RefCell::default(),
        }
    }

    /// Waits until the client has been sent all interim responses: the response comes behind them.
    pub(super) async fn interims_written(&self) {
        poll_fn(|_| match self.interims.is_empty() && self.begun.borrow().is_empty() {
            true => Poll::Ready(()),
            // Who has written the last of them wakes the connection's task.
            false => Poll::Pending,
        })
        .await;
    }

    /// Has the interim responses written. Only while hyper's write buffer is empty: so they come between
    /// two of its messages, and not within one.
    fn begin_interims(&self) {
        if !self.interims.is_empty() && self.begun.borrow().is_empty() {
            self.begun.replace(self.interims.take());
            self.is_paced.set(true);
        }
    }

    /// Ready when the client takes its response too slowly.
    pub(super) fn poll_slow_reader(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.is_full.get() && self.is_paced.get() {
            true => self.pace.borrow_mut().poll_too_slow(cx),
            false => Poll::Pending,
        }
    }

    /// The socket has taken so many bytes, and takes no more for now if it `is_full`.
    fn note_taken(&self, bytes: usize, is_full: bool) {
        self.is_full.set(is_full);
        if bytes > 0 {
            self.wrote.set(true);
            self.pace.borrow_mut().note(bytes, Instant::now);
        }
    }

    /// Whether a body has to keep back what comes next: the socket has not taken enough of it.
    pub(super) fn keeps_back(&self) -> bool {
        self.kept_back.set(self.unsent.get() >= UNSENT_BYTES_MAX);
        self.kept_back.get()
    }

    /// hyper has been given so many bytes of a body.
    pub(super) fn note_given(&self, bytes: usize) {
        self.unsent.update(|unsent| unsent + bytes);
    }

    /// Whether what was kept back may go now. Nobody else would tell hyper to ask for it again.
    pub(super) fn may_go_on(&self) -> bool {
        self.unsent.get() == 0 && self.kept_back.take()
    }
}

/// What hyper is given of a body, before the socket has taken it, after which it gets no more: it would
/// take another `header_bytes_max` for each client that does not read.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

/// Longest wait for a client to read the last of what it is sent and close its side.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Who looks at what is read.
pub(super) enum Inspector {
    /// Of HTTP/1.
    Guard(Rc<Watch>),
    /// Of HTTP/2, whose framing hyper holds to the letter. Whether there was a flood is told in the
    /// cell.
    Meter(FrameMeter, Rc<Cell<bool>>),
}

/// What hyper reads in place of a head that is refused. The service answers it with the refusal: so
/// the requests before it are answered first, and hyper closes the connection behind it.
const STAND_IN: &[u8] = b"GET * HTTP/1.1\r\nconnection: close\r\n\r\n";
/// For a HEAD request, whose answer has no body.
const STAND_IN_FOR_HEAD: &[u8] = b"HEAD * HTTP/1.1\r\nconnection: close\r\n\r\n";

pub(super) struct Sniffed {
    inner: Transport,
    /// Of the bytes that it has taken over TLS, those that are accounted for.
    accounted: u64,
    /// Read, and not passed on yet: what is left of the first bytes, and then at most a head or a
    /// line of which the rest has not come. Without an allocation when it is empty.
    held: BytesMut,
    /// How many bytes of `held` may be passed on.
    passed: usize,
    inspector: Inspector,
    /// While the client of an HTTP/2 connection is given time to read its end.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Sniffed {
    pub(super) fn new(prefix: BytesMut, inner: Transport, inspector: Inspector) -> Self {
        let accounted = inner.taken().unwrap_or_default();
        let mut sniffed =
            Self { inner, accounted, held: prefix, passed: 0, inspector, linger: None };
        sniffed.passed = sniffed.inspect_held();
        sniffed
    }

    /// The socket, and what was read from it and hyper has not got.
    pub(super) fn into_parts(self) -> (Transport, BytesMut) {
        (self.inner, self.held)
    }

    /// Passes on what it can of what is held.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.passed.min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.passed -= count;
        self.held.advance(count);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// How many of the held bytes may pass; a stand-in among them, in place of a refused head.
    fn inspect_held(&mut self) -> usize {
        let (passed, stand_in) = self.inspector.inspect(&self.held);
        let Some(stand_in) = stand_in else { return passed };
        self.held.truncate(passed);
        self.held.extend_from_slice(&stand_in);
        self.held.len()
    }

    /// Takes back out of `buffer` what may not pass, of the bytes from `begin` on.
    fn inspect_in_place(&mut self, buffer: &mut ReadBuf<'_>, begin: usize) {
        let bytes = &buffer.filled()[begin..];
        let (passed, stand_in) = self.inspector.inspect(bytes);
        match stand_in {
            None => self.held.extend_from_slice(&bytes[passed..]),
            Some(stand_in) => {
                self.held.extend_from_slice(&stand_in);
                self.passed = self.held.len();
            }
        }
        buffer.set_filled(begin + passed);
    }
}

impl Inspector {
    /// How many of these bytes may pass, and what takes the place of the rest where that is refused.
    fn inspect(&mut self, bytes: &[u8]) -> (usize, Option<Cow<'static, [u8]>>) {
        match self {
            Self::Guard(watch) => {
                let mut guard = watch.guard.borrow_mut();
                let passed = guard.inspect(bytes);
                (passed, guard.refusal().map(|refusal| stand_in(refusal).into()))
            }
            Self::Meter(meter, flooded) => {
                let passed = meter.inspect(bytes, Instant::now);
                flooded.set(meter.is_flooded());
                (passed, meter.is_flooded().then(|| floods::stand_in().into()))
            }
        }
    }

    /// What reading comes to once nothing more may pass.
    fn refused(&self) -> Option<Poll<io::Result<()>>> {
        match self {
            Self::Guard(watch) => Some(match watch.guard.borrow().refusal()?.place {
                // The answer to the stand-in ends the connection: there is nothing to wake for.
                Place::Head { .. } => Poll::Pending,
                Place::Body => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }),
            Self::Meter(meter, _) => meter.is_flooded().then_some(Poll::Pending),
        }
    }
}

fn stand_in(refusal: &Refusal) -> &'static [u8] {
    match refusal.place {
        Place::Head { is_head: false } => STAND_IN,
        Place::Head { is_head: true } => STAND_IN_FOR_HEAD,
        // The request has begun: its body fails.
        Place::Body => b"",
    }
}

impl AsyncRead for Sniffed {
    /// Reads into hyper's buffer and inspects what came there: only the part of a head or line that
    /// comes in pieces is ever copied.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let begin = buffer.filled().len();
        loop {
            if this.passed > 0 {
                this.give(buffer);
                return Poll::Ready(Ok(()));
            }
            if let Some(refused) = this.inspector.refused() {
                return refused;
            }
            ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
            let is_end = buffer.filled().len() == begin;
            if is_end {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                this.inspect_in_place(buffer, begin);
                if buffer.filled().len() > begin {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(&buffer.filled()[begin..]);
                buffer.set_filled(begin);
                this.passed = this.inspect_held();
            }
        }
    }
}

impl Sniffed {
    /// So many bytes were written, and the transport takes no more for now if it `is_full`.
    fn note_written(&mut self, bytes: usize, is_full: bool) {
        match &mut self.inspector {
            Inspector::Guard(watch) => {
                let taken = self.inner.taken().map_or(bytes, |taken| {
                    (taken - std::mem::replace(&mut self.accounted, taken)) as usize
                });
                watch.note_taken(taken, is_full);
            }
            Inspector::Meter(meter, _) => meter.sent(bytes),
        }
    }

    fn poll_write_noted(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        let bytes = if let Poll::Ready(Ok(bytes)) = &written { *bytes } else { 0 };
        self.note_written(bytes, written.is_pending());
        written
    }

    /// Writes what was begun of interim responses: nothing may come before the rest of that.
    fn poll_write_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Inspector::Guard(watch) = &self.inspector else { return Poll::Ready(Ok(())) };
        if watch.begun.borrow().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let watch = Rc::clone(watch);
        let mut begun = watch.begun.borrow_mut();
        while !begun.is_empty() {
            match ready!(self.poll_write_noted(cx, &[IoSlice::new(&begun)]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => begun.advance(count),
            }
            if begun.is_empty() {
                // The response may be ready, and waits for this.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_begun(cx))?;
        self.poll_write_noted(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Inspector::Guard(watch) = &self.inspector {
            watch.begin_interims();
        }
        ready!(self.poll_write_begun(cx))?;
        if let Inspector::Guard(watch) = &self.inspector {
            watch.flushed.set(true);
            watch.unsent.set(0);
        }
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        // In the clear there is nothing to flush.
        if self.inner.taken().is_some() {
            self.note_written(0, flushed.is_pending());
        }
        flushed
    }

    /// An HTTP/1 connection is taken apart before it closes, and then lingers. hyper has no such way
    /// out of HTTP/2: so it lingers here. To close a socket with unread bytes is to reset it, and a
    /// reset overtakes a GOAWAY.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        if matches!(this.inspector, Inspector::Guard(_)) {
            return Poll::Ready(Ok(()));
        }
        let over = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        while over.as_mut().poll(cx).is_pending() {
            let mut discarded = [0; 1024];
            let mut buffer = ReadBuf::new(&mut discarded);
            let is_open = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer)).is_ok();
            if !is_open || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
