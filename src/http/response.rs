//! Responses: JSON, text, problems.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::access::Access;
use crate::error::Problem;
use crate::proxy::Download;

/// A response's body.
#[derive(Debug)]
pub enum ResponseBody<S> {
    /// One that is complete.
    Full(Full<Bytes>),
    /// A stream of ours.
    Stream(S),
    /// An app server's.
    Proxied(Box<Download>),
    /// Any of these, with a line in the access log when it is over.
    Logged(Box<Logged<S>>),
}

/// A body whose request is told of when it has been sent, or given up.
#[derive(Debug)]
pub struct Logged<S> {
    body: ResponseBody<S>,
    access: Box<Access>,
    status: u16,
    bytes: u64,
    is_complete: bool,
}

impl<S> Drop for Logged<S> {
    fn drop(&mut self) {
        self.access.answered(self.status, self.bytes, self.is_complete);
    }
}

/// Whether nothing comes of a body.
fn is_empty<S: Body>(body: &ResponseBody<S>) -> bool {
    match body {
        ResponseBody::Full(body) => body.is_end_stream(),
        ResponseBody::Stream(body) => body.is_end_stream(),
        ResponseBody::Proxied(body) => body.is_end_stream(),
        ResponseBody::Logged(logged) => logged.is_complete,
    }
}

/// Has a response told of in the access log.
pub(super) fn logged<S: Body>(
    response: Response<ResponseBody<S>>,
    access: Box<Access>,
) -> Response<ResponseBody<S>> {
    let status = response.status().as_u16();
    response.map(|body| {
        let is_complete = is_empty(&body);
        ResponseBody::Logged(Box::new(Logged { body, access, status, bytes: 0, is_complete }))
    })
}

impl<S: Body<Data = Bytes, Error = Infallible> + Unpin> Logged<S> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.bytes += data.map_or(0, Bytes::len) as u64;
            self.is_complete = frame.is_none() || self.body.is_end_stream();
        }
        polled
    }
}

impl<S: Body<Data = Bytes, Error = Infallible> + Unpin> Body for ResponseBody<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Stream(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Proxied(body) => Pin::new(body).poll_frame(cx),
            Self::Logged(logged) => logged.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Proxied(body) => body.is_end_stream(),
            Self::Logged(logged) => logged.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
            Self::Proxied(body) => body.size_hint(),
            Self::Logged(logged) => logged.body.size_hint(),
        }
    }
}

impl<S> ResponseBody<S> {
    /// Whether it comes in its own time, and may be taken so.
    pub(super) fn is_stream(&self) -> bool {
        match self {
            Self::Full(_) => false,
            Self::Stream(_) => true,
            Self::Proxied(body) => body.is_event_stream(),
            Self::Logged(logged) => logged.body.is_stream(),
        }
    }
}

impl<S: Body> ResponseBody<S> {
    /// Whether what it gave last was the end: where an app server has not said how much comes, that is
    /// known only later. Streams of events do not come to one by themselves.
    pub(super) fn may_be_over(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Proxied(body) if body.is_event_stream() => false,
            Self::Proxied(body) => body.is_end_stream() || body.size_hint().exact().is_none(),
            Self::Logged(logged) => logged.body.may_be_over(),
        }
    }
}

/// A response with a complete body.
fn full<S>(
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
) -> Response<ResponseBody<S>> {
    let mut response = Response::new(ResponseBody::Full(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON text.
pub fn json<S>(status: StatusCode, body: String) -> Response<ResponseBody<S>> {
    full(status, "application/json", body.into())
}

/// A text, or what looks like one.
pub fn text<S>(content_type: &'static str, body: String) -> Response<ResponseBody<S>> {
    full(StatusCode::OK, content_type, body.into())
}

/// Nothing to say.
pub(super) fn no_content<S>() -> Response<ResponseBody<S>> {
    let mut response = Response::new(ResponseBody::Full(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// An error, as RFC 9457 has it.
pub fn problem<S>(problem: &Problem) -> Response<ResponseBody<S>> {
    let status = StatusCode::from_u16(problem.status).expect("problems have HTTP status codes");
    let body = serde_json::to_vec(problem).expect("a problem is strings and a number");
    full(status, "application/problem+json", body.into())
}

/// No such path.
pub fn not_found<S>(path: &str) -> Response<ResponseBody<S>> {
    let detail = format!("nothing is served at {path}");
    problem(&Problem::new(404, "not-found", "Not found", detail))
}

/// The path is right but the method is not.
pub fn method_not_allowed<S>(allow: &'static str) -> Response<ResponseBody<S>> {
    let detail = format!("this path allows {allow}");
    let mut response =
        problem(&Problem::new(405, "method-not-allowed", "Method not allowed", detail));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}
