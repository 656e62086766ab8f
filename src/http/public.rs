//! The public listener's routes: streams, and 404 for everything else.

use http::request::Parts;
use http::{Method, Response};
use http_body_util::Either;
use hyper::body::{Body, Incoming};

use super::{Answer, method_not_allowed, not_found, problem};
use crate::error::Problem;
use crate::subscribe;

/// Header fields of every stream, apart from what each HTTP version adds.
pub const STREAM_HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    // `no-transform` keeps proxies from compressing, which would buffer.
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("vary", "accept"),
];

/// Answers a request to the public listener.
pub fn answer<S>(head: &Parts, body: &Incoming, topics_max: usize) -> Answer<S> {
    if head.uri.path() != subscribe::PATH {
        return Answer::Response(not_found(head.uri.path()));
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return Answer::Response(method_not_allowed("GET, HEAD"));
    }
    if !body.is_end_stream() {
        let detail = "a request for a stream has no body";
        let refused = Problem::new(400, "unexpected-body", "Unexpected body", detail);
        return Answer::Response(problem(&refused.in_field("body")));
    }
    match subscribe::parse(head, topics_max) {
        Err(error) => {
            tracing::debug!(%error, query = ?head.uri.query(), "refused a subscription");
            Answer::Response(problem(&Problem::from(&error)))
        }
        Ok(_) if head.method == Method::HEAD => {
            Answer::Response(stream_head(Either::Left(http_body_util::Full::default())))
        }
        Ok(subscription) => Answer::Stream(subscription),
    }
}

/// The response that a stream over HTTP/2, or a HEAD request, gets.
pub fn stream_head<B>(body: B) -> Response<B> {
    let mut response = Response::builder();
    for (name, value) in STREAM_HEADERS {
        response = response.header(name, value);
    }
    response.body(body).expect("the stream's header fields are constants")
}
