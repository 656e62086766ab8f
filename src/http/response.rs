//! Responses: JSON, text, problems.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};

use crate::error::Problem;

/// A body that is complete, or a stream of `S`.
pub type ResponseBody<S> = Either<Full<Bytes>, S>;

/// A response with a complete body.
fn full<S>(
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
) -> Response<ResponseBody<S>> {
    let mut response = Response::new(Either::Left(Full::new(body)));
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
