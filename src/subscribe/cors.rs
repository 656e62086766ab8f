//! Pages of other origins (CORS, WHATWG Fetch 3.2): which header fields a stream route's responses
//! have for them, and the answer to a preflight. What a page may not do is left unsaid, which is what
//! browsers take for no.

use http::Method;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;

use crate::config::schema;
use crate::config::web::AllowedOrigin;

/// What clients of streams send beyond what browsers always allow.
const REQUEST_FIELDS: HeaderValue =
    HeaderValue::from_static("authorization, cache-control, last-event-id");

/// Seconds for which a browser remembers a preflight.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// The header fields that a route's response to a request has for pages of other origins.
pub(super) fn fields(cors: &schema::Cors, request: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if cors.origins.is_empty() {
        return fields;
    }
    if cors.origins.contains(&AllowedOrigin::Any) {
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return fields;
    }
    // Also where there is no origin: a cache must not keep the response for one that has.
    fields.insert(VARY, HeaderValue::from_static("origin"));
    let is_allowed = |origin: &&HeaderValue| {
        cors.origins.iter().any(|allowed| match allowed {
            AllowedOrigin::Exact(allowed) => origin.as_bytes() == allowed.as_bytes(),
            AllowedOrigin::Any => true,
        })
    };
    if let Some(origin) = request.get(ORIGIN).filter(is_allowed) {
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if cors.credentials {
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    fields
}

/// What a browser is told that asks whether a page may make a request, if this is such a question and
/// the route has anything to say to pages of other origins.
pub(super) fn preflight(cors: &schema::Cors, head: &Parts) -> Option<HeaderMap> {
    let asks = head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || cors.origins.is_empty() {
        return None;
    }
    let mut fields = fields(cors, &head.headers);
    if fields.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        fields.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
        fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_FIELDS);
        fields.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
    }
    Some(fields)
}
