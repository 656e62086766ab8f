//! `tidegate canary`: a client and a publisher at once, which see for themselves that a gateway works. Opens
//! a stream, publishes an event, and waits until that very event has come, under the id that the publisher
//! was told. Knows of the gateway only what its users know. Called by `main`.

use std::fmt;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::runtime;
use tokio::time::{self, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::web::{ServerUrl, StreamUrl};
use crate::event_stream::{self, EventStream, NoStream};
use crate::fetch::{Fetch, FetchError, Inbound};
use crate::sse::Item;
use crate::tls::{self, TlsError};

/// The answer to a publish, at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Name, data and id of an event on the stream, at most; ours has some dozen.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// How long the gateway keeps what a canary has published.
const TTL: &str = "10s";

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct Canary {
    /// The stream. Without a path it is `/events`, and the topic is named in the query.
    pub public: StreamUrl,
    /// Where to publish.
    pub internal: ServerUrl,
    /// The topic that is published to, and that the stream must be of.
    pub topic: String,
    /// Longest time for all of it.
    pub timeout: Duration,
    /// File of the authorities (PEM) for https; none for the system's.
    pub ca: Option<String>,
    /// `authorization` of the stream's request.
    pub subscribe_authorization: Option<HeaderValue>,
    /// `authorization` of the publish.
    pub publish_authorization: Option<HeaderValue>,
}

/// The event came.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Its id.
    pub id: String,
    /// From the beginning until the stream was open.
    pub opened: Duration,
    /// From the publish until its answer.
    pub acknowledged: Duration,
    /// From the publish until the event was there.
    pub received: Duration,
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [opened, acknowledged, received] =
            [self.opened, self.acknowledged, self.received].map(|time| time.as_secs_f64() * 1e3);
        write!(
            f,
            "ok: event {} opened {opened:.1} ms acknowledged {acknowledged:.1} ms received \
             {received:.1} ms",
            self.id
        )
    }
}

/// Why the event was not seen.
#[derive(Debug)]
pub enum CanaryError {
    /// There is no runtime to be had.
    System(std::io::Error),
    /// There are no authorities to verify certificates with.
    Tls(TlsError),
    /// The time was over before this.
    Late(&'static str, Duration),
    /// Whoever has this address, which this flag gives, did not answer.
    Unanswered(&'static str, ServerUrl, FetchError),
    /// The public side has no stream for us.
    NoStream(NoStream),
    /// The stream broke off, or ended, before the event.
    StreamEnded(Option<hyper::Error>),
    /// The event was not accepted.
    Refused(StatusCode, String),
    /// The event came with another id than its publisher was told.
    WrongId {
        /// What the publisher was told.
        answered: String,
        /// What the stream said.
        received: String,
    },
}

impl fmt::Display for CanaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "cannot start a runtime: {error}"),
            Self::Tls(error) => error.fmt(f),
            Self::Late(what, longest) => write!(f, "{what} did not come within {longest:?}"),
            Self::Unanswered(flag, server, error) => {
                write!(f, "{flag} {}: {error}", String::from(server.clone()))
            }
            Self::NoStream(why) => write!(f, "--public: {why}"),
            Self::StreamEnded(None) => {
                write!(f, "--public: the stream ended before the event came")
            }
            Self::StreamEnded(Some(error)) => write!(f, "--public: the stream broke off: {error}"),
            Self::Refused(status, body) => {
                write!(f, "--internal: the event was not accepted: {status} {body}")
            }
            Self::WrongId { answered, received } => {
                write!(f, "the event was published as {answered:?} and came as {received:?}")
            }
        }
    }
}

impl std::error::Error for CanaryError {}

/// Sends out a canary and waits for it.
///
/// # Errors
/// It did not come back in time and whole.
pub fn run(canary: &Canary) -> Result<Sighting, CanaryError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CanaryError::System)?.block_on(canary.fly())
}

impl Canary {
    async fn fly(&self) -> Result<Sighting, CanaryError> {
        let begun = Instant::now();
        let end = time::Instant::now() + self.timeout;
        let late = |what| move |_| CanaryError::Late(what, self.timeout);
        let is_tls = self.public.server.is_tls || self.internal.is_tls;
        let tls = is_tls.then(|| tls::connectors("--ca", self.ca.as_deref())).transpose();
        let tls = tls.map_err(CanaryError::Tls)?.map(|connectors| connectors.http1);

        let stream = timeout_at(end, self.subscribe(tls.as_ref())).await;
        let stream = stream.map_err(late("a stream"))??;
        let opened = begun.elapsed();

        // Nobody else's canary has this name.
        let name = format!("canary {:016x}", fastrand::u64(..));
        let published = Instant::now();
        let publish = async {
            let id = timeout_at(end, self.publish(&name, tls.as_ref())).await;
            Ok((id.map_err(late("an answer to the publish"))??, published.elapsed()))
        };
        let receive = async {
            let id = timeout_at(end, expect(&name, stream)).await;
            Ok((id.map_err(late("the event"))??, published.elapsed()))
        };
        let ((answered, acknowledged), (id, received)) = tokio::try_join!(publish, receive)?;
        if answered != id {
            return Err(CanaryError::WrongId { answered, received: id });
        }
        Ok(Sighting { id, opened, acknowledged, received })
    }

    /// Opens the stream. What is published from then on comes on it.
    async fn subscribe(
        &self,
        tls: Option<&TlsConnector>,
    ) -> Result<EventStream<Inbound>, CanaryError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.extend(self.subscribe_authorization.clone().map(|value| (AUTHORIZATION, value)));
        let fetch = self.request(&self.public.server, tls, self.target(), headers);
        let response = fetch.send().await;
        let server = &self.public.server;
        let response =
            response.map_err(|error| CanaryError::Unanswered("--public", server.clone(), error))?;
        event_stream::check_head(response.status(), response.headers())
            .map_err(CanaryError::NoStream)?;
        Ok(EventStream::new(response.into_body(), EVENT_BYTES_MAX, ""))
    }

    /// Publishes an event with this data; gives its id.
    async fn publish(&self, data: &str, tls: Option<&TlsConnector>) -> Result<String, CanaryError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.publish_authorization.clone().map(|value| (AUTHORIZATION, value)));
        let target = PathAndQuery::from_static("/publish");
        let event = json!({"topic": self.topic, "data": data, "ttl": TTL});
        let fetch = Fetch {
            body: Some(event.to_string().into()),
            ..self.request(&self.internal, tls, target, headers)
        };
        let response = fetch.send().await;
        let server = &self.internal;
        let response = response
            .map_err(|error| CanaryError::Unanswered("--internal", server.clone(), error))?;
        let (status, body) = text(response).await;
        let answer: Option<Value> = serde_json::from_str(&body).ok();
        match answer.as_ref().and_then(|answer| answer["id"].as_str()) {
            Some(id) if status == StatusCode::ACCEPTED => Ok(id.to_owned()),
            _ => Err(CanaryError::Refused(status, body)),
        }
    }

    fn request<'a>(
        &self,
        server: &'a ServerUrl,
        tls: Option<&'a TlsConnector>,
        target: PathAndQuery,
        headers: HeaderMap,
    ) -> Fetch<'a> {
        let tls = tls.filter(|_| server.is_tls);
        // The deadline over all is the one that counts.
        let [connect_timeout, head_timeout] = [self.timeout * 2, Duration::ZERO];
        Fetch { server, tls, target, headers, body: None, connect_timeout, head_timeout }
    }

    fn target(&self) -> PathAndQuery {
        if self.public.target != "/" {
            return self.public.target.clone();
        }
        let topic = utf8_percent_encode(&self.topic, NON_ALPHANUMERIC);
        format!("/events?topic={topic}").try_into().expect("what is encoded may be in a query")
    }
}

/// Waits for the event with this data; gives its id.
async fn expect(data: &str, mut stream: EventStream<Inbound>) -> Result<String, CanaryError> {
    loop {
        while let Some(item) = stream.pull() {
            if let Item::Event(event) = item
                && event.data == data
            {
                return Ok(event.last_event_id.to_owned());
            }
        }
        let more = stream.read().await.map_err(|error| CanaryError::StreamEnded(Some(error)))?;
        if !more {
            return Err(CanaryError::StreamEnded(None));
        }
    }
}

/// The status of a response, and as much of its body as helps.
async fn text(response: Response<Inbound>) -> (StatusCode, String) {
    let status = response.status();
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => (status, String::from_utf8_lossy(&body.to_bytes()).into_owned()),
        Err(error) => (status, error.to_string()),
    }
}
