//! After a 101: bytes both ways until both sides have closed, or both are silent for too long, or the
//! gateway drains and both are told the end.
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
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::activity::{Activity, Watch};
use super::drain::Departure;
use super::group::Place;
use super::link::Bare;
use crate::metrics::Counted;

/// Read at a time, and kept at most for each direction of a tunnel.
const PART_BYTES: usize = 16 * 1024;

/// Longest wait for both sides to close once they are told the end: to close a socket with unread bytes
/// is to reset it, and a reset overtakes what was sent before.
const LINGER: Duration = Duration::from_secs(1);

/// The server's side of an upgraded connection.
#[derive(Debug)]
pub struct Tunnel {
    server: Bare,
    /// The upgraded connection is one of the server's requests for as long as it lives.
    place: Place,
    silence_max: Duration,
    departure: Departure,
    counted: Counted,
}

impl Tunnel {
    pub(super) fn new(
        server: Bare,
        place: Place,
        silence_max: Duration,
        departure: Departure,
        counted: Counted,
    ) -> Self {
        Self { server, place, silence_max, departure, counted }
    }

    /// Moves bytes between the client and the server.
    ///
    /// # Errors
    /// One side failed, or `TimedOut`.
    pub async fn run(self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let Self { server, place: _place, silence_max, mut departure, counted: _counted } = self;
        let Bare { transport: mut server, read, _counted: _connection } = server;
        let (mut up, mut down) = (Way::beginning_with(Bytes::new()), Way::beginning_with(read));
        let (activity, mut watch) = (Activity::new(Instant::now()), Watch::default());
        let mut is_leaving = false;
        poll_fn(|cx| {
            if !is_leaving && departure.is_due(cx) {
                is_leaving = true;
                [&mut up, &mut down].into_iter().for_each(Way::leave);
            }
            let went_up = up.poll_move(&mut client, &mut server, &activity, cx)?;
            let went_down = down.poll_move(&mut server, &mut client, &activity, cx)?;
            if went_up.is_ready() && went_down.is_ready() {
                return Poll::Ready(io::Result::Ok(()));
            }
            let silent = watch.poll_silent(&activity, silence_max, cx);
            silent.map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await?;
        if is_leaving {
            let both_closed =
                async { tokio::join!(read_to_end(&mut client), read_to_end(&mut server)) };
            // Whether it was in time does not matter: either way the sockets close now.
            let _ = timeout(LINGER, both_closed).await;
        }
        Ok(())
    }
}

/// Reads and throws away.
async fn read_to_end(from: &mut (impl AsyncRead + Unpin)) {
    let mut discarded = [0; 1024];
    while matches!(from.read(&mut discarded).await, Ok(1..)) {}
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

    /// What is kept is still written, and nothing more is read.
    fn leave(&mut self) {
        if let State::Reading = self.state {
            self.state = State::Ending;
        }
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
