//! One connection: sniff the protocol, let hyper serve requests, hand HTTP/1 streams over.
//!
//! **Takeover.** A request that becomes a stream is recorded and its service future never resolves;
//! the outer future sees the record, takes hyper's connection apart and returns the socket. This is
//! safe because
//! - `pipeline_flush` is off, and the takeover waits until hyper has flushed after the record, so no
//!   byte of an earlier response is left in hyper's buffer;
//! - the request has no body (a stream route refuses one), so none is half read;
//! - the stream's head says `connection: close`, and "the server MUST NOT process any further
//!   requests received on that connection" (RFC 9112, 9.6), so bytes the client has pipelined behind
//!   it are not owed an answer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::clock::{Clock, Patience, Phase};
use super::guard::{Guard, Limits};
use super::http2::serve_http2;
use super::in_progress::{Requests, Sending};
use super::io::{Inspector, LINGER, Sniffed, Watch};
use super::leftover::{LeftoverBounds, settle};
use super::response::logged;
use super::{RequestBody, ResponseBody, problem};
use crate::access::Access;
use crate::error::Problem;
use crate::net::{Peer, Transport};
use crate::pace::Pace;
use crate::proxy::{Interims, Tunnel};
use crate::subscribe::Subscription;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Read at first: most requests fit, so that sniffing costs no further read.
const SNIFF_BYTES: usize = 1024;

/// Fields of a head that hyper has room for without an allocation.
const HTTP1_FIELDS_INLINE: usize = 100;

/// Longest wait for the first request of a connection that was accepted when the shutdown began.
const LAST_REQUEST: Duration = Duration::from_millis(100);

/// How a connection may behave.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest wait for a request's complete head.
    pub header_timeout: Duration,
    /// Longest wait for the next request of a connection that has none.
    pub keepalive_timeout: Duration,
    /// Requests of one connection.
    pub requests_max: u64,
    /// Bytes a second that a request's body comes with at least; 0 for any.
    pub body_rate_min: u64,
    /// Bytes a second that a response over HTTP/1 is taken with at least, on the average of each
    /// `send_timeout`; 0 for any.
    pub response_rate_min: u64,
    /// How long a client may take too little of a response.
    pub send_timeout: Duration,
    /// What may be left of a request's body.
    pub leftover: LeftoverBounds,
    /// What a request's head may be. hyper's read buffer grows to `head_bytes_max`.
    pub limits: Limits,
    /// What only HTTP/2 has.
    pub http2: Http2Options,
    /// Whether its requests have lines in the access log.
    pub access: bool,
}

/// How an HTTP/2 connection may behave.
#[derive(Clone, Copy, Debug)]
pub struct Http2Options {
    /// Streams at a time.
    pub streams_max: u32,
    /// Frames in ten seconds that carry nothing.
    pub control_frames_max: u32,
    /// How long the client may give no window for a response that waits.
    pub window_timeout: Duration,
    /// Silence after which the client is asked for a sign of life.
    pub ping_interval: Duration,
}

impl Options {
    fn patience(&self) -> Patience {
        Patience { head: self.header_timeout, idle: self.keepalive_timeout }
    }
}

/// A route's answer.
pub enum Answer<S> {
    /// An ordinary response.
    Response(Response<ResponseBody<S>>),
    /// The request becomes a stream.
    Stream(Subscription),
    /// The connection goes on with another protocol after this response.
    Upgrade(Response<ResponseBody<S>>, Box<Tunnel>),
}

/// Answers the requests of one listener.
pub trait Handler: 'static {
    /// The body of a stream that stays in hyper.
    type Stream: Body<Data = Bytes, Error = Infallible> + Unpin + 'static;

    /// Answers one request. What it leaves of the body is seen to by the connection. `interims` takes what is
    /// to be sent before the answer, if the client takes that.
    fn handle(
        self: Rc<Self>,
        head: Parts,
        body: &mut RequestBody,
        peer: &Peer,
        interims: Option<&Interims>,
    ) -> impl Future<Output = Answer<Self::Stream>>;

    /// Opens a stream over HTTP/2.
    fn open(&self, subscription: Subscription) -> Response<Self::Stream>;
}

/// An HTTP/1 connection whose request has become a stream.
#[derive(Debug)]
pub struct Takeover {
    /// The connection, with nothing unflushed behind it.
    pub transport: Transport,
    /// What the client asked for.
    pub subscription: Box<Subscription>,
    /// HTTP/1.1 is chunked, HTTP/1.0 ends with the connection.
    pub version: Version,
}

/// How a connection's time in hyper ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is closed.
    Closed,
    /// It was closed for what its client did.
    Cut(Cut),
    /// It goes on as a stream, outside hyper.
    Takeover(Takeover),
    /// It goes on with another protocol, between the client and an app server.
    Tunnel(Transport, Box<Tunnel>),
}

/// Why a connection was closed although its client was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A request's head did not come in time.
    SlowHead,
    /// It had no request for too long.
    Idle,
    /// It took too little of a response.
    SlowReader,
    /// Too many frames that carry nothing.
    Flood,
}

/// Serves a connection until it closes, is taken over, or `shutdown` resolves and the request in
/// progress is answered.
pub async fn serve<H: Handler>(
    mut stream: Transport,
    peer: Peer,
    handler: Rc<H>,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Outcome {
    let peer = Rc::new(peer);
    let clock = Clock::new(options.patience(), Instant::now());
    let mut shutdown = pin!(shutdown);
    let mut is_shut_down = false;
    // Polled again after it is ready: here, and then while requests are served.
    let mut shutdown = pin!(poll_fn(|cx| {
        is_shut_down = is_shut_down || shutdown.as_mut().poll(cx).is_ready();
        if is_shut_down { Poll::Ready(()) } else { Poll::Pending }
    }));
    let mut prefix = BytesMut::new();
    let sniffed = {
        let mut sniffing = pin!(timeout(options.header_timeout, sniff(&mut stream, &mut prefix)));
        tokio::select! {
            biased;
            sniffed = &mut sniffing => sniffed,
            // What has come already, or is just coming, is still answered.
            () = &mut shutdown => match timeout(LAST_REQUEST, sniffing).await {
                Ok(sniffed) => sniffed,
                Err(_) => return Outcome::Closed,
            },
        }
    };
    match sniffed {
        Ok(Ok(Protocol::Http1)) => {
            serve_http1(stream, peer, prefix, handler, options, clock, shutdown).await
        }
        Ok(Ok(Protocol::Http2)) => {
            serve_http2(stream, peer, prefix, handler, options, clock, shutdown).await
        }
        // The client left before it said anything.
        Ok(Err(_)) => Outcome::Closed,
        Err(_) => Outcome::Cut(Cut::SlowHead),
    }
}

enum Protocol {
    Http1,
    Http2,
}

async fn sniff(stream: &mut Transport, prefix: &mut BytesMut) -> io::Result<Protocol> {
    prefix.reserve(SNIFF_BYTES);
    loop {
        if stream.read_buf(prefix).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if prefix.starts_with(HTTP2_PREFACE) {
            return Ok(Protocol::Http2);
        }
        if !HTTP2_PREFACE.starts_with(prefix) {
            return Ok(Protocol::Http1);
        }
    }
}

/// Answers a request, or says why it is `refused`: at once if that is known, or in place of what the
/// route makes of a broken body.
pub(super) async fn answer<H: Handler>(
    handler: Rc<H>,
    request: Request<Incoming>,
    peer: &Peer,
    interims: Option<&Interims>,
    options: &Options,
    refused: impl Fn() -> Option<Response<ResponseBody<H::Stream>>>,
) -> Answer<H::Stream> {
    let (mut head, body) = request.into_parts();
    let access = options.access.then(|| Box::new(Access::begin(&mut head, peer)));
    if let Some(refused) = refused() {
        return Answer::Response(refused).logged(access);
    }
    let mut body = RequestBody::new(body, options.body_rate_min);
    let awaited = head.headers.contains_key(EXPECT);
    let mut answer = handler.handle(head, &mut body, peer, interims).await;
    if let Answer::Response(response) = &mut answer {
        settle(response, body, awaited, options.leftover).await;
    }
    refused().map_or(answer, Answer::Response).logged(access)
}

impl<S: Body> Answer<S> {
    /// The same, with its lines in the access log if the request is to have any.
    fn logged(self, access: Option<Box<Access>>) -> Self {
        let Some(access) = access else { return self };
        match self {
            Self::Response(response) => Self::Response(logged(response, access)),
            Self::Upgrade(response, tunnel) => Self::Upgrade(logged(response, access), tunnel),
            Self::Stream(subscription) => {
                Self::Stream(Subscription { access: Some(access), ..subscription })
            }
        }
    }
}

/// The answer to a request of an HTTP/1 connection, its `number`th from 1 on, that the guard refuses.
/// The guard can be ahead: what it refuses may be a request that waits behind this one.
fn refused<S>(number: u64, watch: &Watch) -> Option<Response<ResponseBody<S>>> {
    let guard = watch.guard.borrow();
    let refusal = guard.refusal().filter(|refusal| refusal.request == number)?;
    tracing::debug!(?refusal, "refused a request");
    let mut response = problem(&Problem::from(&refusal.fault));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

/// What a connection becomes when it is done with requests.
enum Next {
    Stream(Box<Subscription>, Version),
    Tunnel(Box<Tunnel>),
}

impl Next {
    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..))
    }

    fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel(_))
    }
}

type Recorded = Rc<RefCell<Option<Next>>>;

async fn serve_http1<H: Handler>(
    stream: Transport,
    peer: Rc<Peer>,
    prefix: BytesMut,
    handler: Rc<H>,
    options: Options,
    mut clock: Clock,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Outcome {
    let recorded = Recorded::default();
    let pace = Pace::new(options.response_rate_min, options.send_timeout);
    let watch = Rc::new(Watch::new(Guard::new(options.limits), pace));
    let requests = Rc::new(Requests::default());
    let service = service_fn(|request: Request<Incoming>| {
        let asked = requests.begin();
        let version = request.version();
        let (handler, peer) = (Rc::clone(&handler), Rc::clone(&peer));
        let (recorded, watch) = (Rc::clone(&recorded), Rc::clone(&watch));
        Box::pin(async move {
            let refused = || refused(asked.number, &watch);
            // "A server MUST NOT send a 1xx response to an HTTP/1.0 client" (RFC 9110, 15.2).
            let interims = (version == Version::HTTP_11).then_some(&watch.interims);
            let answered = answer(handler, request, &peer, interims, &options, refused).await;
            watch.interims_written().await;
            let mut response = match answered {
                Answer::Response(response) => response,
                Answer::Upgrade(response, tunnel) => {
                    *recorded.borrow_mut() = Some(Next::Tunnel(tunnel));
                    return Ok(response.map(|body| Sending::over_http1(body, asked, &watch)));
                }
                Answer::Stream(subscription) => {
                    *recorded.borrow_mut() = Some(Next::Stream(Box::new(subscription), version));
                    watch.flushed.set(false);
                    return pending().await;
                }
            };
            if asked.number >= options.requests_max {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Sending::over_http1(body, asked, &watch)))
        })
    });
    let inspector = Inspector::Guard(Rc::clone(&watch));
    let io = TokioIo::new(Sniffed::new(prefix, stream, inspector));
    let mut builder = http1::Builder::new();
    builder.pipeline_flush(false).half_close(false).max_buf_size(options.limits.head_bytes_max);
    // hyper has room for so many on its stack, and takes an allocation a request for any other number.
    if options.limits.fields_max > HTTP1_FIELDS_INLINE {
        builder.max_headers(options.limits.fields_max);
    }
    let mut connection = builder.serve_connection(io, service);

    let mut shutting_down = false;
    let mut cut = None;
    let next = poll_fn(|cx| {
        loop {
            if connection.poll_without_shutdown(cx).is_ready() {
                // After a 101, hyper has nothing more to do.
                return Poll::Ready(recorded.borrow_mut().take_if(|next| next.is_tunnel()));
            }
            if recorded.borrow().as_ref().is_some_and(Next::is_stream) && watch.flushed.get() {
                return Poll::Ready(recorded.borrow_mut().take());
            }
            if watch.may_go_on() {
                continue;
            }
            if watch.poll_slow_reader(cx).is_ready() {
                cut = Some(Cut::SlowReader);
                return Poll::Ready(None);
            }
            if watch.wrote.take() {
                clock.restart();
            }
            let phase = if requests.are_in_progress() {
                Phase::Serving
            } else if requests.total() == 0 || watch.guard.borrow().is_in_head() {
                Phase::Head(requests.total())
            } else {
                Phase::Idle
            };
            if clock.poll_overdue(phase, cx).is_ready() {
                cut = Some(if phase == Phase::Idle { Cut::Idle } else { Cut::SlowHead });
                return Poll::Ready(None);
            }
            // After the request that is there: told to shut down, hyper does not read another.
            if shutting_down || shutdown.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            shutting_down = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await;

    let parts = connection.into_parts();
    let (transport, early) = parts.io.into_inner().into_parts();
    match next {
        Some(Next::Stream(subscription, version)) => {
            Outcome::Takeover(Takeover { transport, subscription, version })
        }
        // Who sends the new protocol's bytes before it is agreed on may mean something else by them.
        Some(Next::Tunnel(tunnel)) if parts.read_buf.is_empty() && early.is_empty() => {
            Outcome::Tunnel(transport, tunnel)
        }
        Some(Next::Tunnel(_)) | None => {
            close(transport).await;
            cut.map_or(Outcome::Closed, Outcome::Cut)
        }
    }
}

/// Closes so that the last response arrives: to close a socket with unread bytes is to reset it,
/// and a reset overtakes what was sent before (RFC 9112, 9.6).
pub async fn close(mut stream: Transport) {
    let closed = async {
        // Over TLS also what the socket has not taken yet, of which a slow reader takes its time.
        if stream.shutdown().await.is_ok() {
            let mut discarded = [0; 1024];
            while matches!(stream.read(&mut discarded).await, Ok(1..)) {}
        }
    };
    // Whether it was in time does not matter: either way the socket closes now.
    let _ = timeout(LINGER, closed).await;
}
