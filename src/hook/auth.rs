//! Forward auth: the app server decides who may have a stream, of what, and until when.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::answers::Bytes;
use super::ask::{Answered, Client, Question, Server};
use super::error::{HookError, HookFault};
use super::sessions::SESSION_BYTES_MAX;
use crate::config::schema;
use crate::config::web::OptionalUrl;
use crate::tls::TlsError;
use crate::topic::Filter;

/// Asks for the topics that a client wants, and says those that it gets.
const TOPICS: HeaderName = HeaderName::from_static("tidegate-topics");
const SESSION: HeaderName = HeaderName::from_static("tidegate-session");
const EXPIRES: HeaderName = HeaderName::from_static("tidegate-expires");
const METADATA: HeaderName = HeaderName::from_static("tidegate-metadata");

/// Bytes of a denial, all of which is passed on.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the JSON that `hello` says to the client.
const METADATA_BYTES_MAX: usize = 4 * 1024;

/// What a topic's name has to be rid of in a list in a field.
const ENCODED: &AsciiSet = &CONTROLS.add(b',').add(b'%').add(b' ');

/// What an app server lets a client have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// In place of the topics that the route or the client names.
    pub topics: Option<Box<[Filter]>>,
    /// Names the streams that can be ended together.
    pub session: Option<Arc<str>>,
    /// When it is over.
    pub ends: Option<Instant>,
    /// JSON for the client.
    pub metadata: Option<Box<str>>,
    /// How many sessions had been revoked before the app server was asked.
    pub asked_at: u64,
}

/// What has become of a question, to be shared.
pub(super) type Decided = Result<Arc<Grant>, HookError>;

impl Bytes for Decided {
    fn bytes(&self) -> usize {
        match self {
            Ok(grant) => {
                let topics = grant.topics.iter().flatten();
                let topics: usize =
                    topics.map(|topic| size_of_val(topic) + topic.as_str().len()).sum();
                topics + grant.metadata.as_ref().map_or(0, |metadata| metadata.len())
            }
            Err(HookError::Denied(denial)) => denial.body.len(),
            Err(HookError::Failed(_)) => 0,
        }
    }
}

/// The decisions of one route.
pub(super) struct AuthHook {
    spec: schema::ForwardAuth,
    server: Server,
    topics_max: usize,
}

impl AuthHook {
    pub(super) fn new(
        spec: &schema::ForwardAuth,
        upstream: &OptionalUrl,
        topics_max: usize,
    ) -> Result<Self, TlsError> {
        let url = spec.url.server(upstream).expect("a valid configuration has it");
        let ca = ("stream.routes.auth.ca", &*spec.ca);
        let server = Server::new(url, ca, "*/*", spec.timeout.0, ANSWER_BYTES_MAX)?;
        Ok(Self { spec: spec.clone(), server, topics_max })
    }

    /// Whether a client may have these topics.
    pub(super) fn question(&self, client: &Client<'_>, topics: &[Filter]) -> Question {
        let names: Vec<_> = topics
            .iter()
            .map(|topic| utf8_percent_encode(topic.as_str(), ENCODED).to_string())
            .collect();
        let names = HeaderValue::from_str(&names.join(", "));
        let mut question = Question::new(&self.spec.url, &self.spec.headers, client);
        question.add(TOPICS, names.expect("what is percent-encoded is visible ASCII"));
        question
    }

    pub(super) fn ttl(&self) -> Duration {
        self.spec.ttl.0
    }

    pub(super) async fn decide(
        &self,
        question: &Question,
        asked_at: u64,
        turns: &Semaphore,
    ) -> Decided {
        let answered = self.server.ask(question, turns).await?;
        match answered.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(answered.denial()),
            status if status.is_success() => {
                let grant = self.grant(&answered, asked_at).map_err(HookFault::bad)?;
                Ok(grant.into())
            }
            status => {
                let why = format!("it is {status}, and neither 2xx nor 401 or 403");
                Err(HookFault::bad(why).into())
            }
        }
    }

    fn grant(&self, answered: &Answered, asked_at: u64) -> Result<Grant, String> {
        let headers = &answered.headers;
        let session = one(headers, &SESSION)?.map(|name| match name.len() {
            1..=SESSION_BYTES_MAX => Ok(Arc::from(name)),
            _ => Err(format!("`{SESSION}` has 1 to {SESSION_BYTES_MAX} bytes")),
        });
        let metadata = one(headers, &METADATA)?.map(|text| {
            let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
            let fits = is_json && text.len() <= METADATA_BYTES_MAX;
            let why = || format!("`{METADATA}` is JSON of at most {METADATA_BYTES_MAX} bytes");
            fits.then(|| Box::from(text)).ok_or_else(why)
        });
        Ok(Grant {
            topics: self.topics(headers)?,
            session: session.transpose()?,
            ends: one(headers, &EXPIRES)?.map(instant_of).transpose()?,
            metadata: metadata.transpose()?,
            asked_at,
        })
    }

    fn topics(&self, headers: &HeaderMap) -> Result<Option<Box<[Filter]>>, String> {
        if !headers.contains_key(TOPICS) {
            return Ok(None);
        }
        let mut topics = Vec::new();
        for value in headers.get_all(TOPICS) {
            let text = value.to_str().map_err(|_| format!("`{TOPICS}` is not ASCII"))?;
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let name = percent_decode_str(name).decode_utf8();
                let name = name.map_err(|_| format!("`{TOPICS}` is not UTF-8"))?;
                let topic = Filter::parse(&name);
                topics.push(topic.map_err(|error| format!("`{TOPICS}` has {name:?}: {error}"))?);
            }
        }
        if !(1..=self.topics_max).contains(&topics.len()) {
            let max = self.topics_max;
            return Err(format!("`{TOPICS}` has {}; it must have 1 to {max}", topics.len()));
        }
        topics.sort_unstable();
        topics.dedup();
        Ok(Some(topics.into()))
    }
}

/// The value of a field that is there once at most.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| format!("`{name}` is not visible ASCII"))
        }
        (Some(_), Some(_)) => Err(format!("`{name}` is there more than once")),
    }
}

/// Of seconds since 1970, by the clocks of now. Far away is as good as never: streams end before.
fn instant_of(seconds: &str) -> Result<Instant, String> {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let digits = seconds.bytes().all(|byte| byte.is_ascii_digit()) && !seconds.is_empty();
    let seconds: u64 = digits
        .then(|| seconds.parse().ok())
        .flatten()
        .ok_or_else(|| format!("`{EXPIRES}` is {seconds:?}, not in seconds since 1970"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Instant::now() + Duration::from_secs(seconds).saturating_sub(now).min(FAR))
}
