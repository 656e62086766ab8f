//! `POST /publish` and `POST /topics/{topic}`: reads the body within its bounds, has `publish` make
//! drafts of it and the hub order them, and answers with the ids.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::time::timeout;

use super::browsers::refuse_other_sites;
use super::{RequestBody, ResponseBody, json, method_not_allowed, problem};
use crate::error::Problem;
use crate::hub::{self, Hub, Receipt};
use crate::media;
use crate::metrics::ShardMetrics;
use crate::publish::{self, Batch, Format};
use crate::request_body::{BodyError, BodyFault};
use crate::settings::SettingsWatch;
use crate::sync::{Outcome, Settled};

/// Path of the JSON publish route.
pub const PATH: &str = "/publish";

/// Path before the topic of the raw publish route.
pub const TOPICS: &str = "/topics/";

/// Longest wait for the log: a disk that takes longer is not one to wait for.
const LOG_PATIENCE: Duration = Duration::from_secs(30);

/// Recognises a request that is sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The publish routes of one shard.
#[derive(Clone)]
pub struct PublishRoute {
    /// Orders what is published.
    pub hub: Arc<Hub>,
    /// What may be published, and how long it may take.
    pub settings: SettingsWatch,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// The cells of the shard that serves this route.
    pub metrics: Arc<ShardMetrics>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Ids {
    Id(String),
    Ids(Vec<String>),
}

#[derive(Serialize)]
struct Accepted {
    #[serde(flatten)]
    ids: Ids,
    durability: &'static str,
    duplicate: bool,
}

impl PublishRoute {
    /// Answers a request whose path is [`PATH`] or begins with [`TOPICS`].
    pub async fn answer<S>(
        &self,
        head: &Parts,
        body: &mut RequestBody,
    ) -> Response<ResponseBody<S>> {
        let response = match self.publish(head, body).await {
            Ok((receipt, single)) => accepted(&receipt, single, self.durability),
            Err(Refused::Method) if head.uri.path() == PATH => method_not_allowed("POST"),
            Err(Refused::Method) => method_not_allowed("GET, HEAD, POST"),
            Err(Refused::Problem(refused)) => {
                tracing::debug!(path = ?head.uri.path(), ?refused, "refused a publish request");
                with_hints(problem(&refused), &refused)
            }
        };
        self.metrics.count_publish(response.status().as_u16());
        response
    }

    async fn publish(
        &self,
        head: &Parts,
        body: &mut RequestBody,
    ) -> Result<(Receipt, bool), Refused> {
        if head.method != Method::POST {
            return Err(Refused::Method);
        }
        refuse_other_sites(&head.headers)?;
        let key = head.headers.get(IDEMPOTENCY_KEY);
        let key = key.map(|key| publish::request_key(key.as_bytes())).transpose();
        let key = key.map_err(|error| Problem::from(&error))?;
        let raw_topic = head.uri.path().strip_prefix(TOPICS);
        let format = match raw_topic {
            Some(_) => None,
            None => Some(format(&head.headers)?),
        };
        let settings = self.settings.now();
        let bytes_max = settings.config.publish.body_bytes_max.0;
        let body = read(body, bytes_max, settings.config.server.body_timeout.0).await?;
        // Time counts from here: a publisher's slow upload is not the gateway's latency.
        let accepted = Instant::now();
        let parsed = match format {
            Some(format) => publish::parse(&body, format, &settings.rules),
            None => {
                let topic = percent_decode_str(raw_topic.unwrap_or_default());
                let topic = std::borrow::Cow::from(topic);
                publish::parse_raw(&topic, head.uri.query(), &body, &settings.rules)
                    .map(|event| Batch { events: vec![event], single: true })
            }
        };
        let Batch { events, single } = parsed.map_err(|error| Problem::from(&error))?;
        if key.is_some() && events.iter().any(|event| event.key.is_some()) {
            let detail =
                "a request has either an idempotency-key or events with a key of their own";
            let refused = Problem::new(400, "two-keys", "Two idempotency keys", detail);
            return Err(refused.in_field(IDEMPOTENCY_KEY).into());
        }
        let published = self.hub.publish(events, key, accepted);
        let mut receipt = published.map_err(|error| Problem::from(&error))?;
        if let Some(logged) = receipt.logged.take() {
            self.wait_for(logged).await?;
        }
        self.metrics.events_published.add(receipt.fresh as u64);
        self.metrics.publish.observe(accepted.elapsed());
        Ok((receipt, single))
    }

    /// Waits until the log has what was published.
    async fn wait_for(&self, logged: Settled) -> Result<(), Problem> {
        match timeout(LOG_PATIENCE, logged).await {
            Ok(Outcome::Logged) => Ok(()),
            Ok(Outcome::Full) => Err(Problem::from(&hub::Refused::LogFull)),
            Ok(Outcome::Failed) => Err(Problem::from(&hub::Refused::LogFailed)),
            Err(_) => {
                let detail = "the event log's disk does not answer; whether the events will be \
                              published is not known: send them again with an idempotency key";
                Err(Problem::new(503, "log-slow", "Event log too slow", detail))
            }
        }
    }
}

/// Reads the body, never holding more than the bound. One that is announced too large is not held at
/// all.
async fn read(body: &mut RequestBody, max: usize, longest: Duration) -> Result<Bytes, Refused> {
    if body.size_hint().lower() > max as u64 {
        return Err(too_large(max));
    }
    let collected = timeout(longest, collect(body, max)).await;
    collected.unwrap_or_else(|_| Err(too_slow("the request's body did not arrive in time")))
}

/// Reads a body of at most `max` bytes. One that arrives in one piece is not copied.
async fn collect(body: &mut RequestBody, max: usize) -> Result<Bytes, Refused> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        if first.len().max(whole.len()) + data.len() > max {
            return Err(too_large(max));
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(first.len() + data.len() + body.size_hint().lower() as usize);
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

enum Refused {
    Method,
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

fn too_large(max: usize) -> Refused {
    let detail = format!("a publish request's body has at most {max} bytes");
    Problem::new(413, "body-too-large", "Body too large", detail).in_field("body").into()
}

fn broken(error: &BodyError) -> Refused {
    match error {
        BodyError::Fault(BodyFault::TooSlow(_)) => too_slow(&error.to_string()),
        BodyError::Fault(BodyFault::TooLarge(_) | BodyFault::Broken) | BodyError::Broken(_) => {
            let detail = "the request's body ended before it was complete";
            Problem::new(400, "incomplete-body", "Incomplete body", detail).in_field("body").into()
        }
    }
}

fn too_slow(detail: &str) -> Refused {
    Problem::new(408, "body-timeout", "Body too slow", detail).in_field("body").into()
}

/// The body's format. curl says `application/x-www-form-urlencoded` unless told otherwise, so that
/// is taken for JSON.
fn format(headers: &HeaderMap) -> Result<Format, Refused> {
    if !headers.contains_key(CONTENT_TYPE) {
        return Ok(Format::Json);
    }
    let is = |name: &str| media::of_body(headers).eq_ignore_ascii_case(name);
    if is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl") {
        return Ok(Format::Ndjson);
    }
    if is("application/json") || is("application/x-www-form-urlencoded") {
        return Ok(Format::Json);
    }
    let detail = "publish takes application/json or application/x-ndjson";
    let refused = Problem::new(415, "unsupported-media-type", "Unsupported media type", detail);
    Err(refused.in_field("content-type").into())
}

fn accepted<S>(
    receipt: &Receipt,
    single: bool,
    durability: &'static str,
) -> Response<ResponseBody<S>> {
    let mut ids = receipt.ids().map(|id| id.to_string());
    let ids = match ids.next() {
        Some(id) if single => Ids::Id(id),
        first => Ids::Ids(first.into_iter().chain(ids).collect()),
    };
    let answer = Accepted { ids, durability, duplicate: receipt.fresh == 0 };
    let body = serde_json::to_string(&answer).expect("an answer is strings and a flag");
    json(StatusCode::ACCEPTED, body)
}

fn with_hints<S>(
    mut response: Response<ResponseBody<S>>,
    refused: &Problem,
) -> Response<ResponseBody<S>> {
    if matches!(refused.status, 429 | 503) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if refused.status == 408 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
