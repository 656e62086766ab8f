//! The request for an event stream, on a connection of its own. It has no task: the response's body
//! drives it, and dropping that closes the socket.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, Connection};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::schema;
use crate::net::Transport;

/// hyper's read buffer at most, and so the largest head of a response.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Longest id that is sent back: servers refuse requests with larger fields.
const LAST_EVENT_ID_BYTES_MAX: usize = 4 * 1024;

/// A server that is gone without a word is found so long after its last: a stream may be silent.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Why there is no response.
#[derive(Debug)]
pub(super) enum OpenError {
    ConnectTimeout,
    Connect(io::Error),
    /// The connection ended before the response's head.
    NoAnswer(hyper::Error),
    /// There was no head for so long.
    Silent(Duration),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectTimeout => write!(f, "no connection within `connect_timeout`"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::NoAnswer(error) => write!(f, "no answer: {error}"),
            Self::Silent(longest) => write!(f, "no answer within {longest:?}, `stale_timeout`"),
        }
    }
}

/// A response's body, with the connection that it comes from.
#[derive(Debug)]
pub(super) struct Inbound {
    incoming: Incoming,
    connection: Driven,
}

#[derive(Debug)]
struct Driven {
    connection: Connection<TokioIo<Transport>, Empty<Bytes>>,
    has_ended: bool,
}

impl Driven {
    /// How it ends is told to who waits for the response or reads its body.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.has_ended && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.has_ended = true;
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(cx) {
            return Poll::Ready(polled);
        }
        // The body has asked the connection for more: only now does that read on.
        self.connection.drive(cx);
        Pin::new(&mut self.incoming).poll_frame(cx)
    }
}

/// Asks for the stream, from an id on if there is one.
pub(super) async fn open(
    spec: &schema::Source,
    tls: Option<&TlsConnector>,
    last_event_id: &str,
) -> Result<Response<Inbound>, OpenError> {
    let connecting = timeout(spec.connect_timeout.0, connect(spec, tls)).await;
    let transport = connecting.map_err(|_| OpenError::ConnectTimeout)?;
    let transport = transport.map_err(OpenError::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(OpenError::NoAnswer)?;
    let mut connection = Driven { connection, has_ended: false };
    let asking = async {
        let mut response = pin!(sender.send_request(request(spec, last_event_id)));
        poll_fn(|cx| {
            connection.drive(cx);
            response.as_mut().poll(cx)
        })
        .await
    };
    let longest = spec.stale_timeout.0;
    let answer = within(longest, asking).await.ok_or(OpenError::Silent(longest))?;
    Ok(answer.map_err(OpenError::NoAnswer)?.map(|incoming| Inbound { incoming, connection }))
}

async fn connect(spec: &schema::Source, tls: Option<&TlsConnector>) -> io::Result<Transport> {
    let server = &spec.url.server;
    let socket = TcpStream::connect((server.host(), server.port())).await?;
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE)?;
    match tls {
        None => Ok(Transport::Plain(socket)),
        Some(connector) => {
            let name = ServerName::try_from(server.host().to_owned()).map_err(io::Error::other)?;
            let stream = connector.connect(name, socket).await?;
            Ok(Transport::Sealed(Box::new(stream.into())))
        }
    }
}

fn request(spec: &schema::Source, last_event_id: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = spec.url.target.clone().into();
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(spec.url.server.authority.as_str());
    headers.insert(HOST, host.expect("an authority is visible ASCII"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &spec.headers {
        headers.insert(name.0.clone(), value.0.clone());
    }
    if let Some(id) = resumable(last_event_id) {
        headers.insert(LAST_EVENT_ID, id);
    }
    request
}

/// An id as a field's value, "encoded as UTF-8". One with control characters cannot be sent.
fn resumable(last_event_id: &str) -> Option<HeaderValue> {
    let bytes = last_event_id.as_bytes();
    let fits = (1..=LAST_EVENT_ID_BYTES_MAX).contains(&bytes.len());
    HeaderValue::from_bytes(bytes).ok().filter(|_| fits)
}

/// Waits at most so long; for ever, if that is zero.
pub(super) async fn within<F: Future>(longest: Duration, future: F) -> Option<F::Output> {
    if longest.is_zero() {
        return Some(future.await);
    }
    timeout(longest, future).await.ok()
}
