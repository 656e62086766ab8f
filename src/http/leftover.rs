//! What a route has not read of a request's body.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONNECTION, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::timeout;

use super::RequestBody;

/// How much of an unread body is read and thrown away so that its connection can go on.
#[derive(Clone, Copy, Debug)]
pub struct LeftoverBounds {
    /// Bytes.
    pub bytes_max: usize,
    /// Longest wait for them.
    pub timeout: Duration,
}

/// Sees to it that a connection goes on after `response`, or that the response says that it does
/// not: hyper closes a connection whose request was not read to its end without a word, and the
/// client's next request would be lost. `awaited` is whether the client waits for a go-ahead
/// (`Expect`): then it has sent nothing and gets none.
pub(super) async fn settle<B>(
    response: &mut Response<B>,
    body: RequestBody,
    awaited: bool,
    bounds: LeftoverBounds,
) {
    let closes = response.headers().contains_key(CONNECTION);
    if body.is_end_stream() || closes {
        return;
    }
    // In a box, since every request's future would have room for it, and few read on.
    let reading = Box::pin(timeout(bounds.timeout, discard(body, bounds.bytes_max)));
    if awaited || !reading.await.unwrap_or(false) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whether the body's end came within `bytes_max`.
async fn discard(mut body: RequestBody, bytes_max: usize) -> bool {
    let mut length = 0;
    while length <= bytes_max {
        match body.frame().await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => length += frame.data_ref().map_or(0, Bytes::len),
        }
    }
    false
}
