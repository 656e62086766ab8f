//! `DELETE /sessions/{name}` of the internal listener: ends the streams of a session.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::task::spawn_local;

use super::{ResponseBody, json as json_answer, method_not_allowed, not_found};
use crate::hook::{SESSION_BYTES_MAX, Sessions};

/// The sessions are below it.
pub const PATH: &str = "/sessions/";

/// Answers a request whose path begins with [`PATH`].
pub async fn answer<S>(sessions: &Arc<Sessions>, head: &Parts) -> Response<ResponseBody<S>> {
    let path = head.uri.path();
    let encoded = path.strip_prefix(PATH).unwrap_or_default();
    let Ok(name) = percent_decode_str(encoded).decode_utf8() else { return not_found(path) };
    if !(1..=SESSION_BYTES_MAX).contains(&name.len()) {
        return not_found(path);
    }
    if head.method != Method::DELETE {
        return method_not_allowed("DELETE");
    }
    let (sessions, name) = (Arc::clone(sessions), name.into_owned());
    // Whoever asks may go: all shards are told in any case.
    let revoking = spawn_local(async move { sessions.revoke(&name).await });
    let ended = revoking.await.unwrap_or(0);
    json_answer(StatusCode::OK, json!({ "ended": ended }).to_string())
}
