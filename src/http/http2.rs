//! One HTTP/2 connection. What its client may do is bounded here: by h2 where that has a bound, and by
//! us where it has none (`floods.rs`, `in_progress.rs`, `clock.rs`).

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Request;
use http::header::{HOST, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::clock::{Clock, Phase};
use super::connection::{Answer, Cut, Handler, Options, Outcome, answer};
use super::exec::StreamExec;
use super::floods::FrameMeter;
use super::guard::{Fault, Limits};
use super::in_progress::{Requests, Sending};
use super::io::{Inspector, Sniffed};
use super::{ResponseBody, problem};
use crate::error::Problem;
use crate::net::{Peer, Transport};

/// hyper's buffer of one HTTP/2 stream (400 KiB by default): it lies behind the ring, where nothing
/// can be dropped any more, so it is kept small.
const HTTP2_SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Longest wait for the answer to a PING.
const HTTP2_PING_TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// What an HTTP/2 client may send of its bodies before they are read, a stream and in all: this much
/// is held for a connection whose requests nobody reads.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// The smallest that there is (RFC 9113, 6.5.2).
const HTTP2_FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Requests that an HTTP/2 client may have taken back before hyper has seen them: Rapid Reset.
const HTTP2_UNSEEN_RESETS_MAX: usize = 20;

/// Streams that an HTTP/2 client may have us reset, by errors or by more streams than it may open, in a
/// connection's life: MadeYouReset.
const HTTP2_PROVOKED_RESETS_MAX: usize = 1024;

/// What a request of HTTP/2 has wrong that hyper lets pass, and the guard of HTTP/1 would not.
fn fault_of(head: &Request<Incoming>, limits: &Limits) -> Option<Fault> {
    let line = head.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if line > limits.request_line_bytes_max {
        return Some(Fault::RequestLineTooLong(limits.request_line_bytes_max));
    }
    // Fields that refer to the header table take a byte each to send.
    if head.headers().len() > limits.fields_max {
        return Some(Fault::TooManyFields(limits.fields_max));
    }
    // "A server SHOULD treat a request as malformed if it contains a Host header field that identifies
    // an entity that differs from the entity in the ':authority' pseudo-header field" (RFC 9113, 8.3.1).
    let authority = head.uri().authority()?.as_str();
    let differs = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
    head.headers().get_all(HOST).iter().any(differs).then_some(Fault::HostDiffers)
}

/// Serves an HTTP/2 connection until it closes.
pub(super) async fn serve_http2<H: Handler>(
    stream: Transport,
    peer: Rc<Peer>,
    prefix: BytesMut,
    handler: Rc<H>,
    options: Options,
    mut clock: Clock,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Outcome {
    let requests = Rc::new(Requests::default());
    let exec = StreamExec::new(options.http2.window_timeout);
    let service = service_fn(|request: Request<Incoming>| {
        let asked = requests.begin();
        let waits_since = exec.begin_stream();
        let (handler, peer) = (Rc::clone(&handler), Rc::clone(&peer));
        async move {
            let fault = fault_of(&request, &options.limits);
            let refused = || fault.as_ref().map(|fault| problem(&Problem::from(fault)));
            let handling = Rc::clone(&handler);
            // hyper cannot send interim responses over HTTP/2.
            let answered = answer(handling, request, &peer, None, &options, refused).await;
            let response = match answered {
                // HTTP/2 has no upgrades: the route does not offer one.
                Answer::Response(response) | Answer::Upgrade(response, _) => response,
                Answer::Stream(subscription) => {
                    handler.open(subscription).map(ResponseBody::Stream)
                }
            };
            Ok::<_, Infallible>(response.map(|body| Sending::over_http2(body, asked, waits_since)))
        }
    });
    let flooded = Rc::new(Cell::new(false));
    let meter = FrameMeter::new(options.http2.control_frames_max, Instant::now());
    let io = Sniffed::new(prefix, stream, Inspector::Meter(meter, Rc::clone(&flooded)));
    let ping_interval = options.http2.ping_interval;
    let head_bytes_max = u32::try_from(options.limits.head_bytes_max).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(exec.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.http2.streams_max)
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
        .max_header_list_size(head_bytes_max)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(HTTP2_UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_PROVOKED_RESETS_MAX)
        .keep_alive_interval(ping_interval)
        .keep_alive_timeout(ping_interval.min(HTTP2_PING_TIMEOUT_MAX))
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut cut = None;
    let mut is_going_away = false;
    let served = poll_fn(|cx| {
        loop {
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(served);
            }
            let phase = match requests.are_in_progress() {
                true => Phase::Serving,
                false if requests.total() == 0 => Phase::Head(0),
                false => Phase::Idle,
            };
            let is_overdue = clock.poll_overdue(phase, cx).is_ready();
            if is_overdue {
                cut = Some(if phase == Phase::Idle { Cut::Idle } else { Cut::SlowHead });
            }
            // It was told to go, and still has nothing, or still asks.
            let patience = options.requests_max.saturating_add(options.http2.streams_max.into());
            if is_going_away && (is_overdue || requests.total() > patience) {
                return Poll::Ready(Ok(()));
            }
            let is_told = is_overdue
                || requests.total() >= options.requests_max
                || shutdown.as_mut().poll(cx).is_ready();
            if is_going_away || !is_told {
                return Poll::Pending;
            }
            is_going_away = true;
            clock.hurry();
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP/2 connection failed");
    }
    if flooded.get() {
        cut = Some(Cut::Flood);
    }
    cut.map_or(Outcome::Closed, Outcome::Cut)
}
