//! Bodies of the internal listener that are a few words or texts, read whole.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::RequestBody;
use crate::error::Problem;

/// A body of at most `bytes_max`, within `longest`. `what` it is, is what a client is told that sends more.
///
/// # Errors
/// 413, or 408.
pub(super) async fn read(
    body: &mut RequestBody,
    what: &str,
    bytes_max: usize,
    longest: Duration,
) -> Result<Bytes, Problem> {
    match timeout(longest, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => {
            let detail = format!("{what} has at most {bytes_max} bytes: {error}");
            Err(Problem::new(413, "body-too-large", "Body too large", detail))
        }
        Err(_) => {
            let detail = "the request's body did not arrive in time";
            Err(Problem::new(408, "body-timeout", "Body too slow", detail))
        }
    }
}
