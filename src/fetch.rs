//! One request of ours to a server, on a connection of its own. The URL is fixed: redirections are not
//! followed, and nothing of a client's chooses the server. The exchange has no task: the response's body
//! drives it, and dropping that closes the socket. Called by `source`, `hook` and `canary`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, Connection};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::web::ServerUrl;
use crate::net::{Tally, Transport};

/// hyper's read buffer at most, and so the largest head of a response.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A server that is gone without a word is found so long after its last: a response may be slow.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// A request: POST if it has a body, GET if it has none.
pub struct Fetch<'a> {
    /// Where it goes,
    pub server: &'a ServerUrl,
    /// how the handshake is made, if the server is spoken to over TLS,
    pub tls: Option<&'a TlsConnector>,
    /// and what it asks for there.
    pub target: PathAndQuery,
    /// Its fields, beside `host` and `user-agent`.
    pub headers: HeaderMap,
    /// What it carries.
    pub body: Option<Bytes>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the response's head after that; zero for any.
    pub head_timeout: Duration,
}

/// Why there is no response. Another attempt may help.
#[derive(Debug)]
pub enum FetchError {
    /// There was no connection in time.
    ConnectTimeout,
    /// There is no connection.
    Connect(io::Error),
    /// The connection ended before the response's head.
    NoAnswer(hyper::Error),
    /// There was no head for so long.
    Silent(Duration),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectTimeout => write!(f, "no connection within `connect_timeout`"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::NoAnswer(error) => write!(f, "no answer: {error}"),
            Self::Silent(longest) => write!(f, "no answer within {longest:?}, `stale_timeout`"),
        }
    }
}

impl std::error::Error for FetchError {}

/// A response's body, with the connection that it comes from.
#[derive(Debug)]
pub struct Inbound {
    incoming: Incoming,
    connection: Driven,
}

#[derive(Debug)]
struct Driven {
    connection: Connection<TokioIo<Transport>, Full<Bytes>>,
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

impl Fetch<'_> {
    /// Sends the request, and waits for the head of the response.
    ///
    /// # Errors
    /// There is none.
    pub async fn send(self) -> Result<Response<Inbound>, FetchError> {
        let connecting = timeout(self.connect_timeout, self.connect()).await;
        let transport = connecting.map_err(|_| FetchError::ConnectTimeout)?;
        let transport = transport.map_err(FetchError::Connect)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(transport))
            .await
            .map_err(FetchError::NoAnswer)?;
        let mut connection = Driven { connection, has_ended: false };
        let longest = self.head_timeout;
        let asking = async {
            let mut response = pin!(sender.send_request(self.request()));
            poll_fn(|cx| {
                connection.drive(cx);
                response.as_mut().poll(cx)
            })
            .await
        };
        let answer = within(longest, asking).await.ok_or(FetchError::Silent(longest))?;
        let answer = answer.map_err(FetchError::NoAnswer)?;
        Ok(answer.map(|incoming| Inbound { incoming, connection }))
    }

    async fn connect(&self) -> io::Result<Transport> {
        let socket = TcpStream::connect((self.server.host(), self.server.port())).await?;
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE)?;
        match self.tls {
            None => Ok(Transport::Plain(socket)),
            Some(connector) => {
                let name = self.server.host().to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                let stream = connector.connect(name, Tally::new(socket)).await?;
                Ok(Transport::Sealed(Box::new(stream.into())))
            }
        }
    }

    fn request(self) -> Request<Full<Bytes>> {
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(self.body.unwrap_or_default().into());
        *request.method_mut() = method;
        *request.uri_mut() = self.target.into();
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(self.server.authority.as_str());
        headers.insert(HOST, host.expect("an authority is visible ASCII"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        request
    }
}

/// Waits at most so long; for ever, if that is zero.
pub async fn within<F: Future>(longest: Duration, future: F) -> Option<F::Output> {
    if longest.is_zero() {
        return Some(future.await);
    }
    timeout(longest, future).await.ok()
}
