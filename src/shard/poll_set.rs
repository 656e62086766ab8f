//! The sockets of all of a shard's streams, as one epoll set that the runtime sees as one descriptor:
//! no task and no runtime registration a stream. Holds the crate's one `unsafe` block.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Token};
use tokio::io::unix::AsyncFd;

use super::audience::StreamKey;

/// Readiness events taken in one turn.
const EVENTS: usize = 1024;

/// What happened to a stream's socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) key: StreamKey,
    pub(super) generation: u32,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The client has closed its side, or the connection failed.
    pub(super) closed: bool,
}

pub(super) struct PollSet {
    poll: AsyncFd<mio::Poll>,
    events: Events,
}

impl PollSet {
    /// Must be called on the shard's runtime.
    #[expect(unsafe_code, reason = "the runtime has no safe way to watch another epoll set")]
    pub(super) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        // SAFETY: a `mio::Poll` opens its epoll descriptor when it is made, returns that one from
        // every `as_raw_fd`, and closes it when dropped. This one is moved into the `AsyncFd` and
        // never replaced: `poll` below only calls `mio::Poll::poll` through the guard.
        let poll = unsafe { AsyncFd::register_with_interest(poll, tokio::io::Interest::READABLE)? };
        Ok(Self { poll, events: Events::with_capacity(EVENTS) })
    }

    /// Adds a socket for good: it leaves the set when it is closed. Both directions at once, edge
    /// triggered, so that a full socket costs no further system call.
    pub(super) fn add(
        &self,
        socket: &mut TcpStream,
        key: StreamKey,
        generation: u32,
    ) -> io::Result<()> {
        let token = Token(key | (generation as usize) << 32);
        self.poll.get_ref().registry().register(
            socket,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Takes what has happened, without waiting. Pending when that is nothing.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        happened: &mut Vec<Readiness>,
    ) -> Poll<io::Result<()>> {
        let mut guard = ready!(self.poll.poll_read_ready_mut(cx))?;
        match guard.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Poll::Ready(Ok(())),
            polled => polled?,
        }
        let mut count = 0;
        for event in &self.events {
            count += 1;
            happened.push(Readiness {
                key: event.token().0 & u32::MAX as usize,
                generation: (event.token().0 >> 32) as u32,
                readable: event.is_readable(),
                writable: event.is_writable(),
                closed: event.is_read_closed() || event.is_error(),
            });
        }
        if count < EVENTS {
            guard.clear_ready();
        }
        Poll::Ready(Ok(()))
    }
}
