//! The debug page: a few files that the binary holds, so that it works offline and needs no build. It
//! talks to the internal API of its own origin and to nothing else.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::http::ResponseBody;

/// Where the page is; its files are below.
const PATH: &str = "/debug/";

/// What the page may do: its own scripts and styles, and requests to its own origin. Nothing inline, so
/// that a topic or an event that gets into the markup is still no script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $type:literal) => {
        File { name: $name, content_type: $type, text: include_str!(concat!("page/", $name)) }
    };
}

static INDEX: File = file!("index.html", "text/html; charset=utf-8");

static FILES: [File; 6] = [
    file!("app.css", "text/css; charset=utf-8"),
    file!("app.js", "text/javascript; charset=utf-8"),
    file!("dom.js", "text/javascript; charset=utf-8"),
    file!("plot.js", "text/javascript; charset=utf-8"),
    file!("tables.js", "text/javascript; charset=utf-8"),
    file!("tail.js", "text/javascript; charset=utf-8"),
];

pub(super) fn is_path(path: &str) -> bool {
    path == "/" || path == "/debug" || path.starts_with(PATH)
}

/// Answers a request to read one of the files; `None` if there is no such file.
pub(super) fn answer<S>(head: &Parts) -> Option<Response<ResponseBody<S>>> {
    let file = match head.uri.path() {
        PATH => &INDEX,
        path => match path.strip_prefix(PATH) {
            Some(name) => FILES.iter().find(|file| file.name == name)?,
            None => return Some(to_page()),
        },
    };
    let tag = format!("\"{:08x}\"", crc32c::crc32c(file.text.as_bytes()));
    let tag = HeaderValue::try_from(tag).expect("hexadecimal digits");
    let is_known = head.headers.get(IF_NONE_MATCH).is_some_and(|known| *known == tag);
    let body = if is_known { "" } else { file.text };
    let mut response = Response::new(ResponseBody::Full(Full::from(body)));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, file.content_type),
        // Asked for again each time, and mostly answered by 304.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// By a relative way, so that it is right behind a proxy too that puts the listener below a path.
fn to_page<S>() -> Response<ResponseBody<S>> {
    let mut response = Response::new(ResponseBody::Full(Full::default()));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("debug/"));
    response
}
