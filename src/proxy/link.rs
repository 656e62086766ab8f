//! One HTTP/1 connection to a server. It has no task of its own: whoever uses it drives it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::activity::{Activity, Watch};
use super::body::Upload;
use crate::net::Transport;

/// Largest head of a response, and hyper's read buffer at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection to a server, and the way to send a request on it. Always in a box: it is some hundred
/// bytes, and changes hands several times in an exchange.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Upload>,
    connection: Connection<TokioIo<Transport>, Upload>,
    has_ended: bool,
    watch: Watch,
}

/// The socket again, with what was read from it and is none of HTTP's business.
#[derive(Debug)]
pub(super) struct Bare {
    pub(super) transport: Transport,
    pub(super) read: bytes::Bytes,
}

impl Link {
    pub(super) async fn open(transport: Transport) -> io::Result<Box<Self>> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(transport))
            .await
            .map_err(io::Error::other)?;
        Ok(Box::new(Self { sender, connection, has_ended: false, watch: Watch::default() }))
    }

    /// Sends a request and moves both bodies until the response's head is there. `None` when nothing
    /// has moved for as long as `longest` says.
    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
        activity: &Activity,
        longest: impl Fn() -> Duration,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<Upload>>>> {
        let Self { sender, connection, has_ended, watch } = self;
        let mut response = pin!(sender.try_send_request(request));
        poll_fn(|cx| {
            drive(connection, has_ended, cx);
            match response.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => watch.poll_silent(activity, longest(), cx).map(|()| None),
            }
        })
        .await
    }

    /// Ready when nothing has moved for so long.
    pub(super) fn poll_silent(
        &mut self,
        activity: &Activity,
        longest: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.watch.poll_silent(activity, longest, cx)
    }

    /// Moves what there is to move.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, &mut self.has_ended, cx);
    }

    /// Ready when the connection is no longer one of HTTP.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.drive(cx);
        if self.has_ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it can take another request now.
    pub(super) fn is_ready(&mut self) -> bool {
        // Who takes it up next has another task, which polls it before it waits for it.
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.has_ended && self.sender.is_ready()
    }

    /// After a 101: the socket itself.
    pub(super) fn into_bare(self) -> Bare {
        let parts = self.connection.into_parts();
        Bare { transport: parts.io.into_inner(), read: parts.read_buf }
    }
}

/// How the connection ends is told to who waits for the response or reads its body.
fn drive(
    connection: &mut Connection<TokioIo<Transport>, Upload>,
    has_ended: &mut bool,
    cx: &mut Context<'_>,
) {
    if !*has_ended && let Poll::Ready(_) = connection.poll_without_shutdown(cx) {
        *has_ended = true;
    }
}
