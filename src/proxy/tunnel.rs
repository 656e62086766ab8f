//! After a 101: bytes both ways until one side closes, or both are silent for too long.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use super::activity::{Activity, Watch};
use super::group::Place;
use super::link::Bare;

/// The server's side of an upgraded connection.
#[derive(Debug)]
pub struct Tunnel {
    server: Bare,
    /// The upgraded connection is one of the server's requests for as long as it lives.
    place: Place,
    silence_max: Duration,
}

impl Tunnel {
    pub(super) fn new((server, place): (Bare, Place), silence_max: Duration) -> Self {
        Self { server, place, silence_max }
    }

    /// Moves bytes between the client, of whom `read` has come already, and the server.
    ///
    /// # Errors
    /// One side failed, or `TimedOut`.
    pub async fn run(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        read: Bytes,
    ) -> io::Result<()> {
        let Self { server: Bare { socket, read: server_read }, place: _place, silence_max } = self;
        let activity = Activity::new(Instant::now());
        let mut watch = Watch::default();
        let mut client = Noted { inner: client, first: read, activity: activity.clone() };
        let mut server = Noted { inner: socket, first: server_read, activity: activity.clone() };
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut server) => copied.map(drop),
            () = poll_fn(|cx| watch.poll_silent(&activity, silence_max, cx)) => {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// One side: what was read of it before comes first, and whatever it sends is noted.
struct Noted<I> {
    inner: I,
    first: Bytes,
    activity: Activity,
}

impl<I: AsyncRead + Unpin> AsyncRead for Noted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if polled.is_ready() {
            self.activity.note();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Noted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
