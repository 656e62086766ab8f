//! `/log/level` of the internal listener: what the log is filtered by, and another filter.

use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::{
    RequestBody, ResponseBody, json as json_answer, method_not_allowed, problem, small_body,
};
use crate::error::Problem;
use crate::logging::Logging;

/// Its path.
pub const PATH: &str = "/log/level";

/// A filter is a few words.
const BODY_BYTES_MAX: usize = 1024;

/// Answers a request for [`PATH`]. The body of a `PUT` is the filter: `debug`, `info,tidegate=debug`.
pub async fn answer<S>(
    logging: &Logging,
    head: &Parts,
    body: &mut RequestBody,
    longest: Duration,
) -> Response<ResponseBody<S>> {
    match head.method {
        Method::GET | Method::HEAD => {}
        Method::PUT => {
            if let Err(refused) = put(logging, body, longest).await {
                return problem(&refused);
            }
        }
        _ => return method_not_allowed("GET, HEAD, PUT"),
    }
    json_answer(StatusCode::OK, json!({ "level": logging.level() }).to_string())
}

async fn put(logging: &Logging, body: &mut RequestBody, longest: Duration) -> Result<(), Problem> {
    let body = small_body::read(body, "a filter", BODY_BYTES_MAX, longest).await?;
    let bad = |detail: String| {
        Problem::new(400, "bad-log-level", "Bad log level", detail).in_field("level")
    };
    let level = std::str::from_utf8(&body).map_err(|error| bad(error.to_string()))?.trim();
    logging.set_level(level).map_err(|error| bad(error.to_string()))?;
    tracing::info!(level, "the log is filtered by this until the next reload");
    Ok(())
}
