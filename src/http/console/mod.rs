//! The internal API's views of the running gateway (`docs/API.md`), and the debug page that shows them.
//! Everything is computed when somebody asks, a bounded part at a time; nothing is on an event's way.

mod overview;
mod page;
mod parameters;
mod streams;
mod tail;
mod topics;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{ResponseBody, json as json_text, method_not_allowed, problem};
use crate::error::Problem;
use crate::hub::Hub;
use crate::inspect::Inspector;
use crate::metrics::Metrics;
use crate::settings::SettingsWatch;

/// Requests that may wait for events at a time, all shards together.
pub const TAILS_MAX: usize = 64;

/// The internal API in OpenAPI's terms; `tests/console/openapi.rs` holds real answers to it.
const OPENAPI: &str = include_str!("openapi.json");

type Answered<S> = Result<Response<ResponseBody<S>>, Problem>;

/// What the views are computed from. Shared by all shards.
pub struct Console {
    /// The way to ask the shards.
    pub inspector: Inspector,
    /// The order and the history.
    pub hub: Arc<Hub>,
    /// Every shard's cells.
    pub metrics: Arc<Metrics>,
    /// The limits.
    pub settings: SettingsWatch,
    /// Connections of the public listeners.
    pub connections: Arc<AtomicUsize>,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// When the gateway started.
    pub started: SystemTime,
    /// Places for requests that wait for events.
    pub tails: Semaphore,
}

impl Console {
    /// Answers a request for one of the views; `None` if its path is none of them. Requests with other
    /// methods to `/topics/…` are those of publishers.
    pub async fn answer<S>(&self, head: &Parts) -> Option<Response<ResponseBody<S>>> {
        let path = head.uri.path();
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        let answered = if let Some(id) = path.strip_prefix("/streams/") {
            match (id.split_once('/'), &head.method) {
                (None, &Method::DELETE) => self.end_stream(id).await,
                (None, _) if is_read => self.show_stream(id).await,
                (None, _) => return Some(method_not_allowed("GET, HEAD, DELETE")),
                (Some((id, "explain")), _) if is_read => self.explain(id, head).await,
                (Some((_, "explain")), _) => return Some(method_not_allowed("GET, HEAD")),
                (Some(_), _) => return None,
            }
        } else if let Some(topic) = path.strip_prefix("/topics/") {
            if !is_read {
                return None;
            }
            self.show_topic(topic, head).await
        } else if page::is_path(path) {
            if !is_read {
                return Some(method_not_allowed("GET, HEAD"));
            }
            return page::answer(head);
        } else {
            match path {
                "/streams" | "/topics" | "/tail" | "/stats" | "/shards" | "/limits"
                | "/version" | "/openapi.json"
                    if !is_read =>
                {
                    return Some(method_not_allowed("GET, HEAD"));
                }
                "/streams" => self.list_streams(head).await,
                "/topics" => self.list_topics(head).await,
                "/tail" => self.tail(head).await,
                "/stats" => Ok(json(&self.stats())),
                "/shards" => Ok(json(&self.shards())),
                "/limits" => Ok(json(&self.limits())),
                "/version" => Ok(json(&self.version())),
                "/openapi.json" => Ok(json_text(StatusCode::OK, OPENAPI.to_owned())),
                _ => return None,
            }
        };
        Some(answered.unwrap_or_else(|refused| problem(&refused)))
    }
}

fn json<S>(answer: &impl Serialize) -> Response<ResponseBody<S>> {
    let text = serde_json::to_string(answer).expect("an answer is texts, numbers and flags");
    json_text(StatusCode::OK, text)
}
