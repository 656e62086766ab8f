//! Header fields on their way: what is between two hops only stays there, and what tells the server
//! who asks is our word, not the client's.

use std::collections::BTreeMap;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    MAX_FORWARDS, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Uri, Version, response};
use smallvec::SmallVec;

use super::error::ProxyError;
use super::table::Route;
use crate::config::web::{FieldName, FieldValue};
use crate::media::EVENT_STREAM;
use crate::net::{Peer, Scheme};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whether a field is between two hops only (RFC 9110, 7.6.1), beside what `Connection` names.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a field is what only we, or a proxy that is trusted, may say.
fn is_trusted_only(name: &str) -> bool {
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-")
}

/// Whether servers that turn fields into variables take a field for one of ours, `X_Forwarded_For`, or
/// for one that says how long the body is.
fn is_lookalike(name: &str) -> bool {
    name.contains('_') && {
        let dashed = name.replace('_', "-");
        let frames = matches!(&*dashed, "content-length" | "transfer-encoding");
        frames || is_trusted_only(&dashed) || dashed == X_REQUEST_ID.as_str()
    }
}

/// Longest request id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a request is sent on with.
#[derive(Debug)]
pub(super) struct Forwarding<'a> {
    pub(super) peer: &'a Peer,
    /// The host that the client has asked for.
    pub(super) host: Option<HeaderValue>,
    /// Whether the peer's word about its own clients is believed.
    pub(super) is_trusted: bool,
    /// The protocol that the client wants to go on with.
    pub(super) upgrade: Option<HeaderValue>,
    /// Of a request that a trusted peer has not given an id.
    pub(super) request_id: u128,
}

/// Fields that a request may get beside the client's.
const ADDED_FIELDS: usize = 10;

/// The host that a request is for: its target's, or that of its `Host`.
pub(super) fn host(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(HOST).filter(|host| host.to_str().is_ok()).cloned(),
    }
}

/// The protocol that the client wants to go on with, if it may: HTTP/2 would be a way past what is
/// checked here, and a request with a body is not over when the other protocol begins.
pub(super) fn upgrade(head: &Parts, has_body: bool) -> Option<HeaderValue> {
    let protocol = head.headers.get(UPGRADE)?;
    let text = protocol.to_str().ok()?;
    let is_one = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
    let is_http = text.to_ascii_lowercase().starts_with("h2")
        || text.to_ascii_lowercase().starts_with("http")
        || text.to_ascii_lowercase().starts_with("tls");
    let is_asked =
        tokens(&head.headers, CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let is_get = head.method == Method::GET && head.version == Version::HTTP_11;
    (is_one && !is_http && is_asked && is_get && !has_body).then(|| protocol.clone())
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

/// The request to the server that a client's becomes. It can be made again for another server.
pub(super) fn to_server<B>(
    head: &Parts,
    body: B,
    route: &Route,
    forwarding: &Forwarding<'_>,
) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(&head.uri, route);
    *request.headers_mut() = HeaderMap::with_capacity(head.headers.len() + ADDED_FIELDS);
    let headers = request.headers_mut();
    let is_trusted = forwarding.is_trusted;
    let named: SmallVec<[&str; 4]> = tokens(&head.headers, CONNECTION).collect();
    let stays_here = |name: &str| {
        is_hop_by_hop(name)
            || (is_trusted_only(name) && !is_trusted)
            || is_lookalike(name)
            // A client that waits for a go-ahead gets it from us, when the server wants the body.
            || name == "expect"
            || named.iter().any(|named| named.eq_ignore_ascii_case(name))
    };
    for (name, value) in &head.headers {
        if !stays_here(name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Ok(Some(hops)) = max_forwards(&head.headers)
        && head.method == Method::OPTIONS
    {
        headers.insert(MAX_FORWARDS, hops.saturating_sub(1).into());
    }
    join_cookies(headers);
    set_forwarded(headers, forwarding);
    add_via(headers, head.version);
    set_request_id(headers, forwarding);
    change(headers, &route.rules.request_remove, &route.rules.request_set);
    if let Some(protocol) = &forwarding.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if tokens(&head.headers, TE).any(|one| one.eq_ignore_ascii_case("trailers")) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(host) = &forwarding.host {
        headers.insert(HOST, host.clone());
    }
    request
}

/// Gives a request HTTP/2's form: the host is in the target, and framing is not in the fields
/// (RFC 9113, 8.2.2 and 8.3.1).
pub(super) fn to_http2<B>(request: &mut Request<B>, is_tls: bool) {
    let headers = request.headers_mut();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let host = headers.remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let path = request.uri().path_and_query().cloned();
    let mut target = http::uri::Parts::default();
    target.scheme = Some(if is_tls { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
    target.authority = authority;
    target.path_and_query = path;
    if let Ok(target) = Uri::from_parts(target) {
        *request.uri_mut() = target;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Whether a response is a stream of events.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    EVENT_STREAM.is_of_body(headers)
}

/// Makes a server's response one to the client. `upgrade` is the protocol that is switched to.
pub(super) fn to_client(head: &mut response::Parts, route: &Route, upgrade: Option<HeaderValue>) {
    let headers = &mut head.headers;
    remove(headers, is_hop_by_hop);
    add_via(headers, head.version);
    if is_event_stream(headers) {
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

/// Makes the fields of a server's interim response (1xx) those of one to the client. What the route adds
/// belongs to its response. It has no content, and so no length (RFC 9110, 8.6).
pub(super) fn interim_to_client(headers: &mut HeaderMap, version: Version, route: &Route) {
    remove(headers, is_hop_by_hop);
    headers.remove(CONTENT_LENGTH);
    add_via(headers, version);
    change(headers, &route.rules.response_remove, &BTreeMap::new());
}

/// What the server is asked for: always a path, since that is what a server that is no proxy expects.
fn target(uri: &Uri, route: &Route) -> Uri {
    if route.rules.rewrite.is_none() && uri.authority().is_none() {
        return uri.clone();
    }
    let asked = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (path, query) = (route.path(uri.path()), uri.query());
    // A URL without a path has a query that begins at once: `http://a?x`.
    let target = match (path.as_ref() == uri.path() && asked.starts_with('/'), query) {
        (true, _) => asked.parse(),
        (false, None) => path.parse(),
        (false, Some(query)) => format!("{path}?{query}").parse(),
    };
    target.unwrap_or_else(|_| Uri::from_static("/"))
}

/// Removes what `Connection` names and what is `doomed`.
fn remove(headers: &mut HeaderMap, doomed: impl Fn(&str) -> bool) {
    let named = tokens(headers, CONNECTION).filter_map(|name| name.parse().ok());
    let doomed = headers.keys().filter(|name| doomed(name.as_str())).cloned();
    let names: SmallVec<[HeaderName; 4]> = named.chain(doomed).collect();
    for name in names {
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
    let Forwarding { peer, host, .. } = forwarding;
    let (ip, ip_text) = (peer.address.ip().to_canonical(), &peer.ip_text);
    let proto = match peer.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let (open, close) = if ip.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
    let ip = ip_text.to_str().unwrap_or_default();
    let own = match host.as_ref().and_then(|host| host.to_str().ok()) {
        Some(host) => ["for=", open, ip, close, ";proto=", proto, ";host=\"", host, "\""].concat(),
        None => ["for=", open, ip, close, ";proto=", proto].concat(),
    };
    // Where a trusted peer has told the client's address in one of these fields, another one that began
    // with us would name that peer as the client.
    let is_told =
        [FORWARDED, X_FORWARDED_FOR, X_REAL_IP].iter().any(|name| headers.contains_key(name));
    if !is_told || headers.contains_key(FORWARDED) {
        append_to_list(headers, FORWARDED, HeaderValue::try_from(own).ok());
    }
    if !is_told || headers.contains_key(X_FORWARDED_FOR) {
        append_to_list(headers, X_FORWARDED_FOR, Some(ip_text.clone()));
    }
    if !is_told {
        headers.insert(X_REAL_IP, ip_text.clone());
    }
    // What the first proxy says is what the client has done; those after it only pass it on.
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
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
fn set_request_id(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    let is_good = |id: &HeaderValue| {
        let id = id.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    };
    if !forwarding.is_trusted || !headers.get(X_REQUEST_ID).is_some_and(is_good) {
        let id = HeaderValue::try_from(format!("{:032x}", forwarding.request_id));
        headers.insert(X_REQUEST_ID, id.expect("hexadecimal digits are visible"));
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

/// Adds to the list that a trusted peer has begun.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, own: Option<HeaderValue>) {
    let Some(mut list) = own else { return };
    if headers.contains_key(&name) {
        let lines = headers.get_all(&name).iter().chain([&list]).map(HeaderValue::as_bytes);
        let lines: Vec<&[u8]> = lines.collect();
        list = HeaderValue::from_bytes(&lines.join(&b", "[..])).unwrap_or(list);
    }
    headers.insert(name, list);
}
