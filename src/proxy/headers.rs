//! Header fields on their way: what is between two hops only stays there, and what tells the server
//! who asks is our word, not the client's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, response};
use hyper::body::{Body as _, Incoming};

use super::error::ProxyError;
use super::table::Route;
use crate::config::web::{FieldName, FieldValue};
use crate::net::{Peer, Scheme};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Between two hops only (RFC 9110, 7.6.1), beside what `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What only we, or a proxy that is trusted, may say.
const TRUSTED_ONLY: [HeaderName; 8] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    X_REAL_IP,
];

/// Longest request id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a request is sent on with.
pub(super) struct Forwarding<'a> {
    pub(super) peer: &'a Peer,
    /// The host that the client has asked for.
    pub(super) host: Option<&'a str>,
    /// Whether the peer's word about its own clients is believed.
    pub(super) is_trusted: bool,
    /// The protocol that the client wants to go on with.
    pub(super) upgrade: Option<&'a HeaderValue>,
}

/// The host that a request is for: its target's, or that of its `Host`.
pub(super) fn host(head: &Parts) -> Option<&str> {
    let of_target = head.uri.authority().map(http::uri::Authority::as_str);
    of_target.or_else(|| head.headers.get(HOST)?.to_str().ok())
}

/// The protocol that the client wants to go on with, if it may: HTTP/2 would be a way past what is
/// checked here, and a request with a body is not over when the other protocol begins.
pub(super) fn upgrade(head: &Parts, body: Option<&Incoming>) -> Option<HeaderValue> {
    let protocol = head.headers.get(UPGRADE)?;
    let text = protocol.to_str().ok()?;
    let is_one = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
    let is_http = text.to_ascii_lowercase().starts_with("h2")
        || text.to_ascii_lowercase().starts_with("http")
        || text.to_ascii_lowercase().starts_with("tls");
    let is_asked =
        tokens(&head.headers, CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let is_whole = body.is_none_or(Incoming::is_end_stream);
    let is_get = head.method == Method::GET && head.version == Version::HTTP_11;
    (is_one && !is_http && is_asked && is_whole && is_get).then(|| protocol.clone())
}

/// Whether `Max-Forwards` says that the request is for us.
pub(super) fn is_last_hop(head: &Parts) -> Result<bool, ProxyError> {
    Ok(max_forwards(&head.headers)? == Some(0))
}

fn max_forwards(headers: &HeaderMap) -> Result<Option<u32>, ProxyError> {
    let Some(value) = headers.get(MAX_FORWARDS) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).map(Some).ok_or(ProxyError::MaxForwards)
}

/// Makes a client's request one to the server.
pub(super) fn to_server(head: &mut Parts, route: &Route, forwarding: &Forwarding<'_>) {
    let wants_trailers = tokens(&head.headers, TE).any(|one| one.eq_ignore_ascii_case("trailers"));
    if let Ok(Some(hops)) = max_forwards(&head.headers)
        && head.method == Method::OPTIONS
    {
        head.headers.insert(MAX_FORWARDS, hops.saturating_sub(1).into());
    }
    let headers = &mut head.headers;
    remove_hop_by_hop(headers);
    // A client that waits for a go-ahead gets it from us, when the server wants the body.
    headers.remove(EXPECT);
    join_cookies(headers);
    set_forwarded(headers, forwarding);
    add_via(headers, head.version);
    set_request_id(headers, forwarding.is_trusted);
    change(headers, &route.rules.request_remove, &route.rules.request_set);
    if let Some(protocol) = forwarding.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if wants_trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(host) = forwarding.host.and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.insert(HOST, host);
    }
    head.uri = target(&head.uri, route);
    head.version = Version::HTTP_11;
}

/// Makes a server's response one to the client. `upgrade` is the protocol that is switched to.
pub(super) fn to_client(head: &mut response::Parts, route: &Route, upgrade: Option<HeaderValue>) {
    let headers = &mut head.headers;
    remove_hop_by_hop(headers);
    add_via(headers, head.version);
    let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    if content_type.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
    {
        // For the proxies before us: each event counts when it comes.
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    change(headers, &route.rules.response_remove, &route.rules.response_set);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    head.version = Version::HTTP_11;
}

/// What the server is asked for: always a path, since that is what a server that is no proxy expects.
fn target(uri: &Uri, route: &Route) -> Uri {
    let asked = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (path, query) = (route.path(uri.path()), uri.query());
    let target = match (path.as_ref() == uri.path(), query) {
        (true, _) => asked.parse(),
        (false, None) => path.parse(),
        (false, Some(query)) => format!("{path}?{query}").parse(),
    };
    target.unwrap_or_else(|_| Uri::from_static("/"))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(headers, CONNECTION).filter_map(|name| name.parse().ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The comma-separated parts of all of a field's lines.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// HTTP/2 may send a cookie a line, HTTP/1 has one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn set_forwarded(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    remove_lookalikes(headers);
    if !forwarding.is_trusted {
        for name in TRUSTED_ONLY {
            headers.remove(name);
        }
    }
    let Forwarding { peer, host, .. } = *forwarding;
    let ip = peer.address.ip().to_canonical();
    let proto = match peer.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let node = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    let quoted_host = host.map_or(String::new(), |host| format!(";host=\"{host}\""));
    append_text(headers, FORWARDED, &format!("for={node};proto={proto}{quoted_host}"));
    append_text(headers, X_FORWARDED_FOR, &ip.to_string());
    // What the first proxy says is what the client has done; those after it only pass it on.
    set_if_absent(headers, X_FORWARDED_PROTO, proto);
    set_if_absent(headers, X_REAL_IP, &ip.to_string());
    if let Some(host) = host {
        set_if_absent(headers, X_FORWARDED_HOST, host);
    }
}

/// Servers that turn fields into variables take `X_Forwarded_For` for `X-Forwarded-For`.
fn remove_lookalikes(headers: &mut HeaderMap) {
    let is_lookalike = |name: &&HeaderName| {
        let name = name.as_str();
        name.contains('_') && {
            let dashed = name.replace('_', "-");
            TRUSTED_ONLY.iter().chain(&[X_REQUEST_ID]).any(|trusted| *trusted == *dashed)
        }
    };
    let lookalikes: Vec<HeaderName> = headers.keys().filter(is_lookalike).cloned().collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

fn add_via(headers: &mut HeaderMap, version: Version) {
    let hop = match version {
        Version::HTTP_10 => "1.0 tidegate",
        Version::HTTP_2 => "2.0 tidegate",
        _ => "1.1 tidegate",
    };
    headers.append(VIA, HeaderValue::from_static(hop));
}

/// A request's own id if a trusted peer has given it one, else a new one.
fn set_request_id(headers: &mut HeaderMap, is_trusted: bool) {
    let is_good = |id: &HeaderValue| {
        let id = id.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    };
    if !is_trusted || !headers.get(X_REQUEST_ID).is_some_and(is_good) {
        let id = format!("{:032x}", fastrand::u128(..));
        set_text(headers, X_REQUEST_ID, &id);
    }
}

fn change(headers: &mut HeaderMap, remove: &[FieldName], set: &BTreeMap<FieldName, FieldValue>) {
    for FieldName(name) in remove {
        headers.remove(name);
    }
    for (FieldName(name), FieldValue(value)) in set {
        headers.insert(name.clone(), value.clone());
    }
}

fn set_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn set_if_absent(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if !headers.contains_key(&name) {
        set_text(headers, name, text);
    }
}

/// Adds to the list that a trusted peer has begun.
fn append_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    let begun: Vec<&str> = headers.get_all(&name).iter().filter_map(|v| v.to_str().ok()).collect();
    if begun.is_empty() {
        set_text(headers, name, text);
    } else {
        let list = format!("{}, {text}", begun.join(", "));
        set_text(headers, name, &list);
    }
}
