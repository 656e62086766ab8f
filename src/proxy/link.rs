//! The way to send a request to a server: an HTTP/1 connection of its own, or a stream of an HTTP/2
//! connection that all share. The first has no task: whoever uses it drives it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection};
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::activity::{Activity, Watch};
use super::upload::Upload;
use crate::metrics::Counted;
use crate::net::{LocalExec, Transport};

/// Largest head of a response, and hyper's read buffer at most.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Fields of a response's head that hyper has room for without an allocation.
const FIELDS_INLINE: usize = 100;

/// What an HTTP/2 server may send of one response, and of all together, before it is asked for more: so
/// much is held for a client that does not read.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// What hyper holds of a request's body for an HTTP/2 server that does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Silence after which an HTTP/2 server is asked for a sign of life, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A way to send a request. In boxes, since it changes hands several times in an exchange.
#[derive(Debug)]
pub(super) enum Link {
    /// HTTP/1: a connection for one request at a time.
    Own(Box<Own>),
    /// HTTP/2: any number of requests on one connection.
    Shared(Box<Shared>),
}

/// An HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Own {
    sender: http1::SendRequest<Upload>,
    connection: Connection<TokioIo<Transport>, Upload>,
    has_ended: bool,
    watch: Watch,
    _counted: Counted,
}

/// An HTTP/2 connection, which has a task.
#[derive(Debug)]
pub(super) struct Shared {
    sender: Sender,
    watch: Watch,
}

/// What opens streams on an HTTP/2 connection.
pub(super) type Sender = http2::SendRequest<Upload>;

/// The connection again, with what was read from it and is none of HTTP's business.
#[derive(Debug)]
pub(super) struct Bare {
    pub(super) transport: Transport,
    pub(super) read: bytes::Bytes,
    pub(super) _counted: Counted,
}

/// What became of a request, or the request again if it was not sent.
type Sent = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

/// Begins HTTP/2, on a task of its own.
pub(super) async fn share(transport: Transport, counted: Counted) -> io::Result<Sender> {
    let (sender, connection) = http2::Builder::new(LocalExec)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        let _counted = counted;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection to a server failed");
        }
    });
    Ok(sender)
}

impl Link {
    /// Begins HTTP/1.
    pub(super) async fn own(
        transport: Transport,
        fields_max: usize,
        counted: Counted,
    ) -> io::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        // For any other number hyper makes room at each response.
        if fields_max != FIELDS_INLINE {
            builder.max_headers(fields_max);
        }
        let (sender, connection) =
            builder.handshake(TokioIo::new(transport)).await.map_err(io::Error::other)?;
        let watch = Watch::default();
        let own = Own { sender, connection, has_ended: false, watch, _counted: counted };
        Ok(Self::Own(Box::new(own)))
    }

    /// A further request on a connection that others use too.
    pub(super) fn shared(sender: Sender) -> Self {
        Self::Shared(Box::new(Shared { sender, watch: Watch::default() }))
    }

    /// Sends a request and moves both bodies until the response's head is there. `None` when nothing
    /// has moved for as long as `longest` says.
    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
        activity: &Activity,
        longest: impl Fn() -> Duration,
    ) -> Option<Sent> {
        match self {
            Self::Own(own) => {
                let Own { sender, connection, has_ended, watch, .. } = &mut **own;
                let mut response = pin!(sender.try_send_request(request));
                let poll_response = |cx: &mut Context<'_>| {
                    drive(connection, has_ended, cx);
                    response.as_mut().poll(cx)
                };
                wait(poll_response, watch, activity, longest).await
            }
            Self::Shared(shared) => {
                let Shared { sender, watch } = &mut **shared;
                let mut response = pin!(sender.try_send_request(request));
                wait(|cx| response.as_mut().poll(cx), watch, activity, longest).await
            }
        }
    }

    /// Ready when nothing has moved for so long.
    pub(super) fn poll_silent(
        &mut self,
        activity: &Activity,
        longest: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let watch = match self {
            Self::Own(own) => &mut own.watch,
            Self::Shared(shared) => &mut shared.watch,
        };
        watch.poll_silent(activity, longest, cx)
    }

    /// Whether requests have HTTP/2's form.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Moves what there is to move.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Self::Own(own) = self {
            drive(&mut own.connection, &mut own.has_ended, cx);
        }
    }

    /// Whether it can be kept, and take another request later.
    pub(super) fn is_ready(&mut self) -> bool {
        // Who takes it up next has another task, which polls it before it waits for it.
        self.drive(&mut Context::from_waker(Waker::noop()));
        match self {
            Self::Own(own) => !own.has_ended && own.sender.is_ready(),
            Self::Shared(_) => false,
        }
    }

    /// After a 101: the connection itself, when it is no longer one of HTTP. HTTP/2 has no such thing.
    pub(super) async fn into_bare(self) -> Option<Bare> {
        let Self::Own(mut own) = self else { return None };
        poll_fn(|cx| {
            drive(&mut own.connection, &mut own.has_ended, cx);
            if own.has_ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let Own { connection, _counted: counted, .. } = *own;
        let parts = connection.into_parts();
        Some(Bare { transport: parts.io.into_inner(), read: parts.read_buf, _counted: counted })
    }
}

/// Polls until there is an answer, or nothing has moved for too long.
async fn wait(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Sent>,
    watch: &mut Watch,
    activity: &Activity,
    longest: impl Fn() -> Duration,
) -> Option<Sent> {
    poll_fn(|cx| match poll(cx) {
        Poll::Ready(sent) => Poll::Ready(Some(sent)),
        Poll::Pending => watch.poll_silent(activity, longest(), cx).map(|()| None),
    })
    .await
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
