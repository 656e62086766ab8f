//! A stream over HTTP/1 and TLS: the connection is taken over from hyper as one in the clear is, but
//! its bytes have to be sealed one after the other. So it has a task, which pulls from the same ring as
//! an HTTP/2 body does, framed as a socket's bytes are, and writes that.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::body::Body as _;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::body::StreamBody;
use super::framing::Transfer;
use super::open::response_head;
use super::places::Permit;
use super::streams::Streams;
use super::timers::UNSOLICITED_BYTES_MAX;
use crate::http;
use crate::metrics::Protocol;
use crate::net::Transport;
use crate::subscribe::Subscription;

/// A stream and the connection that it is written to.
struct Sealed {
    transport: Transport,
    body: StreamBody,
    /// Pulled, and not written yet.
    pending: Bytes,
    has_ended: bool,
    /// Bytes that the client has sent since, although nothing is asked of it.
    unsolicited: u32,
}

/// Opens a stream on a connection that was taken over, and writes it until it ends or the client goes.
pub(super) async fn serve(
    streams: Rc<RefCell<Streams>>,
    transport: Transport,
    subscription: Subscription,
    transfer: Transfer,
    _permit: Permit,
) {
    let pending = response_head(transfer, &subscription.fields);
    let body = StreamBody::open(streams, subscription, transfer, Protocol::Http1);
    let mut sealed = Sealed { transport, body, pending, has_ended: false, unsolicited: 0 };
    if let Ok(()) = poll_fn(|cx| sealed.poll(cx)).await {
        let Sealed { transport, body, .. } = sealed;
        drop(body);
        http::close(transport).await;
    }
}

impl Sealed {
    /// Ready when the stream's last byte is written, or with an error when the client is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.read(cx)?;
        loop {
            while self.pending.has_remaining() {
                let writing = Pin::new(&mut self.transport).poll_write(cx, &self.pending);
                match ready!(writing)? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => self.pending.advance(written),
                }
            }
            if self.has_ended {
                return Pin::new(&mut self.transport).poll_flush(cx);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.pending = frame.into_data().unwrap_or_default();
                }
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => {
                    ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Notices that the client has left; throws away what it sends.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.transport).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            self.unsolicited += buffer.filled().len() as u32;
            if buffer.filled().is_empty() || self.unsolicited > UNSOLICITED_BYTES_MAX {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
}
