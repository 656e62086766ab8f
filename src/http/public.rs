//! The public listener's routes: streams of ours, and the app servers' answers to everything else.

use std::rc::Rc;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, VARY};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body as _;

use super::opening;
use super::response::no_content;
use super::{Answer, RequestBody, ResponseBody, json, method_not_allowed, not_found, problem};
use crate::error::Problem;
use crate::hook::Hooks;
use crate::metrics::ShardMetrics;
use crate::net::Peer;
use crate::proxy::{Download, Exchange, Interims, Proxy, ProxyError, Reply};
use crate::subscribe::{Found, Routes, Subscription};

/// Header fields of every stream, apart from what each HTTP version adds.
pub const STREAM_HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    // `no-transform` keeps proxies from compressing, which would buffer.
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("vary", "accept"),
];

/// Answers a request for a stream. An app server may be asked first.
pub async fn subscribe<S>(
    found: &Found<'_>,
    head: &Parts,
    body: &RequestBody,
    hooks: &Hooks,
    metrics: &ShardMetrics,
) -> Answer<S> {
    if let Some(fields) = found.route.preflight(head) {
        let mut response = no_content();
        append(&mut response, &fields);
        return Answer::Response(response);
    }
    let mut answer = match open(found, head, body) {
        Answer::Stream(subscription) => {
            opening::begin(hooks, metrics, found, head, subscription).await
        }
        other => other,
    };
    if let Answer::Response(response) = &mut answer {
        // A script may read why it is refused.
        append(response, &found.route.cors(&head.headers));
    }
    answer
}

fn open<S>(found: &Found<'_>, head: &Parts, body: &RequestBody) -> Answer<S> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Answer::Response(method_not_allowed("GET, HEAD"));
    }
    if !body.is_end_stream() {
        let detail = "a request for a stream has no body";
        let refused = Problem::new(400, "unexpected-body", "Unexpected body", detail);
        return Answer::Response(problem(&refused.in_field("body")));
    }
    match found.subscription(head) {
        Err(error) => {
            // Without the query, where tokens may be.
            tracing::debug!(%error, path = ?head.uri.path(), "refused a subscription");
            Answer::Response(problem(&Problem::from(&error)))
        }
        Ok(Subscription { poll, .. }) if head.method == Method::HEAD => {
            // The fields for pages of other origins are appended to every response.
            Answer::Response(match poll {
                Some(_) => poll_answer(String::new(), &HeaderMap::new()),
                None => stream_head(ResponseBody::Full(Full::default()), &HeaderMap::new()),
            })
        }
        Ok(subscription) => Answer::Stream(subscription),
    }
}

/// Has an app server answer.
pub async fn forward<S>(
    proxy: &Rc<Proxy>,
    routes: &Routes,
    head: &Parts,
    body: &mut RequestBody,
    peer: &Peer,
    interims: Option<&Interims>,
) -> Answer<S> {
    let has_body = !body.is_end_stream();
    let asking = match proxy.prepare(head, has_body, peer, interims) {
        Ok(Some(asking)) => asking,
        Ok(None) => return Answer::Response(no_content()),
        Err(ProxyError::NoRoute) => return Answer::Response(not_found(head.uri.path())),
        Err(error) => return Answer::Response(problem(&Problem::from(&error))),
    };
    let sent = match proxy.bound(body) {
        Ok(()) => proxy.exchange(asking, body.take()).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(Reply::Own(Exchange::Response(response))) => Answer::Response(response.map(proxied)),
        Ok(Reply::Shared(seat)) => {
            let (topic, begins, fields) = (seat.topic(), seat.begins(), seat.fields());
            Answer::Stream(routes.share(head, topic, begins, fields, seat.interest))
        }
        Ok(Reply::Own(Exchange::Upgrade(response, tunnel))) => {
            Answer::Upgrade(response.map(proxied), Box::new(tunnel))
        }
        Err(error) => {
            if error.is_the_servers() {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(%error, cause, path = head.uri.path(), "a request was not answered");
            }
            let mut response = problem(&Problem::from(&error));
            if has_body {
                // Nobody reads the rest of it.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Answer::Response(response)
        }
    }
}

fn proxied<S>(body: Download) -> ResponseBody<S> {
    ResponseBody::Proxied(Box::new(body))
}

/// The response that a stream over HTTP/2, or a HEAD request, gets, with some more `fields`.
pub fn stream_head<B>(body: B, fields: &HeaderMap) -> Response<B> {
    let mut response = Response::new(body);
    for (name, value) in STREAM_HEADERS {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
    append(&mut response, fields);
    response
}

/// The response to a long poll, with some more `fields`.
pub fn poll_answer<S>(text: String, fields: &HeaderMap) -> Response<ResponseBody<S>> {
    let mut response = json(StatusCode::OK, text);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    append(&mut response, fields);
    response
}

/// The response to a long poll that is told nothing, and may be after a while.
pub fn poll_later<S>(retry_ms: u64, fields: &HeaderMap) -> Response<ResponseBody<S>> {
    let detail = "what the app server says of this client is not known now; poll again";
    let mut response = problem(&Problem::new(503, "poll-later", "Poll later", detail));
    // In whole seconds (RFC 9110, 10.2.3).
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_ms.div_ceil(1000)));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    append(&mut response, fields);
    response
}

fn append<B>(response: &mut Response<B>, fields: &HeaderMap) {
    for (name, value) in fields {
        response.headers_mut().append(name, value.clone());
    }
}
