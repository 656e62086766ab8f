//! `/log/level` of the internal listener: what the log is filtered by, and another filter.

use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use tokio::time::timeout;

use super::{RequestBody, ResponseBody, json as json_answer, method_not_allowed, problem};
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
    let read = timeout(longest, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            let detail = format!("a filter has at most {BODY_BYTES_MAX} bytes: {error}");
            return Err(Problem::new(413, "body-too-large", "Body too large", detail));
        }
        Err(_) => {
            let detail = "the request's body did not arrive in time";
            return Err(Problem::new(408, "body-timeout", "Body too slow", detail));
        }
    };
    let bad = |detail: String| {
        Problem::new(400, "bad-log-level", "Bad log level", detail).in_field("level")
    };
    let level = std::str::from_utf8(&body).map_err(|error| bad(error.to_string()))?.trim();
    logging.set_level(level).map_err(|error| bad(error.to_string()))?;
    tracing::info!(level, "the log is filtered by this until the next reload");
    Ok(())
}
