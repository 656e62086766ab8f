//! After a 101: bytes both ways until both sides have closed, or both are silent for too long.
//!
//! A tunnel that waits holds no buffer: bytes are read onto the stack and written at once, and only what
//! the other side does not take yet is kept. Nothing more is read until that has gone.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, Watch};
use super::group::Place;
use super::link::Bare;

/// Read at a time, and kept at most for each direction of a tunnel.
const PART_BYTES: usize = 16 * 1024;

/// The server's side of an upgraded connection.
#[derive(Debug)]
pub struct Tunnel {
    server: Bare,
    /// The upgraded connection is one of the server's requests for as long as it lives.
    place: Place,
    silence_max: Duration,
}

impl Tunnel {
    pub(super) fn new(server: Bare, place: Place, silence_max: Duration) -> Self {
        Self { server, place, silence_max }
    }

    /// Moves bytes between the client and the server.
    ///
    /// # Errors
    /// One side failed, or `TimedOut`.
    pub async fn run(self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let Self { server: Bare { transport: mut server, read }, place: _place, .. } = self;
        let (mut up, mut down) = (Way::beginning_with(Bytes::new()), Way::beginning_with(read));
        let (activity, mut watch) = (Activity::new(Instant::now()), Watch::default());
        poll_fn(|cx| {
            let went_up = up.poll_move(&mut client, &mut server, &activity, cx)?;
            let went_down = down.poll_move(&mut server, &mut client, &activity, cx)?;
            if went_up.is_ready() && went_down.is_ready() {
                return Poll::Ready(Ok(()));
            }
            let silent = watch.poll_silent(&activity, self.silence_max, cx);
            silent.map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }
}

/// One direction of a tunnel.
struct Way {
    /// Read and not yet written.
    kept: Bytes,
    state: State,
}

/// Reading → Ending, at the end of what one side sends → Ended, when the other has been told.
enum State {
    Reading,
    Ending,
    Ended,
}

impl Way {
    fn beginning_with(read: Bytes) -> Self {
        Self { kept: read, state: State::Reading }
    }

    /// Moves what there is to move. Ready when one side has closed and the other has been told.
    fn poll_move(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_kept(to, activity, cx))?;
            match self.state {
                State::Reading => ready!(self.poll_read_on(from, to, activity, cx))?,
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_kept(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.kept.has_remaining() {
            let count = ready!(poll_write(to, &self.kept, cx))?;
            self.kept.advance(count);
            activity.note();
        }
        // An empty slice would still hold the memory it is a slice of.
        self.kept = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Reads once, writes as much of it as the other side takes, and keeps the rest.
    fn poll_read_on(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut part = [MaybeUninit::uninit(); PART_BYTES];
        let mut part = ReadBuf::uninit(&mut part);
        if Pin::new(from).poll_read(cx, &mut part)?.is_pending() {
            // While there is more to read, what was written may wait and go with that.
            ready!(Pin::new(to).poll_flush(cx))?;
            return Poll::Pending;
        }
        activity.note();
        let mut rest = part.filled();
        if rest.is_empty() {
            self.state = State::Ending;
        }
        while !rest.is_empty() {
            let Poll::Ready(count) = poll_write(to, rest, cx)? else {
                self.kept = Bytes::copy_from_slice(rest);
                break;
            };
            rest = &rest[count..];
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}
