//! The socket as hyper sees it: bytes that were read to sniff the protocol come first, what the
//! guard of an HTTP/1 connection refuses never comes, and a flush with nothing left to write is
//! remembered, since a takeover has to wait for it.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::{Guard, Place, Refusal};

/// What an HTTP/1 connection and its socket tell each other.
pub(super) struct Watch {
    pub(super) guard: RefCell<Guard>,
    /// Set by `poll_flush`, which hyper calls only when its write buffer is empty.
    pub(super) flushed: Cell<bool>,
}

impl Watch {
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard: RefCell::new(guard), flushed: Cell::new(false) }
    }
}

/// What hyper reads in place of a head that is refused. The service answers it with the refusal: so
/// the requests before it are answered first, and hyper closes the connection behind it.
const STAND_IN: &[u8] = b"GET * HTTP/1.1\r\nconnection: close\r\n\r\n";
/// For a HEAD request, whose answer has no body.
const STAND_IN_FOR_HEAD: &[u8] = b"HEAD * HTTP/1.1\r\nconnection: close\r\n\r\n";

pub(super) struct Sniffed<I> {
    inner: I,
    /// Read, and not passed on yet: what is left of the first bytes, and then at most a head or a
    /// line of which the rest has not come. Without an allocation when it is empty.
    held: BytesMut,
    /// How many bytes of `held` may be passed on.
    passed: usize,
    /// None on an HTTP/2 connection, whose framing hyper holds to the letter.
    watch: Option<Rc<Watch>>,
}

impl<I> Sniffed<I> {
    pub(super) fn new(prefix: BytesMut, inner: I, watch: Option<Rc<Watch>>) -> Self {
        let mut sniffed = Self { inner, held: prefix, passed: 0, watch };
        sniffed.passed = sniffed.inspect_held();
        sniffed
    }

    /// The socket, and what was read from it and hyper has not got.
    pub(super) fn into_parts(self) -> (I, BytesMut) {
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
        let Some(watch) = &self.watch else { return self.held.len() };
        let mut guard = watch.guard.borrow_mut();
        let passed = guard.inspect(&self.held);
        let Some(refusal) = guard.refusal() else { return passed };
        self.held.truncate(passed);
        self.held.extend_from_slice(stand_in(refusal));
        self.held.len()
    }

    /// Takes back out of `buffer` what may not pass, of the bytes from `begin` on.
    fn inspect_in_place(&mut self, buffer: &mut ReadBuf<'_>, begin: usize) {
        let Some(watch) = &self.watch else { return };
        let mut guard = watch.guard.borrow_mut();
        let bytes = &buffer.filled()[begin..];
        let passed = guard.inspect(bytes);
        match guard.refusal() {
            None => self.held.extend_from_slice(&bytes[passed..]),
            Some(refusal) => {
                self.held.extend_from_slice(stand_in(refusal));
                self.passed = self.held.len();
            }
        }
        buffer.set_filled(begin + passed);
    }

    /// What reading comes to once the guard lets nothing more pass.
    fn refused(&self) -> Option<Poll<io::Result<()>>> {
        let guard = self.watch.as_ref()?.guard.borrow();
        Some(match guard.refusal()?.place {
            // The answer to the stand-in ends the connection: there is nothing to wake for.
            Place::Head { .. } => Poll::Pending,
            Place::Body => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
        })
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

impl<I: AsyncRead + Unpin> AsyncRead for Sniffed<I> {
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
            if let Some(refused) = this.refused() {
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

impl<I: AsyncWrite + Unpin> AsyncWrite for Sniffed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(watch) = &self.watch {
            watch.flushed.set(true);
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
