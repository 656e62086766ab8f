//! What a publisher sends: from a request body to drafts for the hub. A body is taken whole or not
//! at all; what is wrong is named by its field. Called by `http`, which then asks the hub to order
//! the drafts.

mod error;
mod message;
#[cfg(test)]
mod tests;

pub use error::{Fault, PublishError};

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use crate::config;
use crate::config::units::Interval;
use crate::event::Destination;
use crate::history::Retain;
use crate::hub::{KEY_BYTES_MAX, Key, Submission};
use crate::query;
use crate::sse::{Draft, Fields, encoded_len};
use crate::topic::{BROADCAST, Topic};

/// Longest event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 256;

/// Longest conflation key, in bytes.
pub const CONFLATE_KEY_BYTES_MAX: usize = 256;

/// Longest reconnect delay a publisher may give, a day.
pub const RETRY_MS_MAX: u64 = 86_400_000;

/// What a publisher may send.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Size of one event as sent on a stream, and of its topics' names, in bytes.
    pub event_bytes_max: usize,
    /// Events in one request.
    pub batch_events_max: usize,
    /// Topics of one event.
    pub topics_max: usize,
    /// Names of control events.
    pub reserved: HashSet<String>,
    /// How topics begin that only the gateway itself publishes to; empty for none.
    pub reserved_topics: Box<str>,
}

impl Rules {
    /// The rules of a configuration, with the names that control events use.
    pub fn new(publish: &config::schema::Publish, reserved: HashSet<String>) -> Self {
        Self {
            event_bytes_max: publish.event_bytes_max.0,
            batch_events_max: publish.batch_events_max,
            topics_max: publish.topics_max,
            reserved,
            reserved_topics: Box::default(),
        }
    }

    /// The same, with the topics below one for the gateway alone; an empty one reserves none.
    #[must_use]
    pub fn reserving(self, topic: &str) -> Self {
        let reserved_topics = if topic.is_empty() { String::new() } else { format!("{topic}.") };
        Self { reserved_topics: reserved_topics.into(), ..self }
    }
}

/// How a publish body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// A valid publish request.
#[derive(Debug)]
pub struct Batch {
    /// Its events in order; at least one.
    pub events: Vec<Submission>,
    /// Whether it was one object, not an array or lines: the answer has the same shape.
    pub single: bool,
}

/// Reads a publish body.
pub fn parse(body: &[u8], format: Format, rules: &Rules) -> Result<Batch, PublishError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| PublishError::new("body", Fault::NotUtf8 { at: error.valid_up_to() }))?;
    match format {
        Format::Json if text.trim_ascii_start().starts_with('[') => message::array(text, rules),
        Format::Json => message::object(text, rules),
        Format::Ndjson => message::lines(text, rules),
    }
}

/// Reads the value of an `Idempotency-Key` header, for a whole request.
pub fn request_key(value: &[u8]) -> Result<Key, PublishError> {
    check_key(value)
        .map(|()| Key::Request(value.into()))
        .map_err(|fault| PublishError::new("idempotency-key", fault))
}

/// Reads `POST /topics/{topic}?event=…`: the body is the data. `topic` is percent-decoded.
pub fn parse_raw(
    topic: &[u8],
    query: Option<&str>,
    body: &[u8],
    rules: &Rules,
) -> Result<Submission, PublishError> {
    let in_field = |field: &str| {
        let field = field.to_owned();
        move |fault| PublishError::new(field, fault)
    };
    let topic = std::str::from_utf8(topic)
        .map_err(|error| in_field("topic")(Fault::NotUtf8 { at: error.valid_up_to() }))?;
    let to = destination([topic], rules).map_err(in_field("topic"))?;
    let mut extras = Extras::default();
    for (name, value) in query::pairs(query.unwrap_or_default()) {
        let name = String::from_utf8_lossy(&name).into_owned();
        let value = std::str::from_utf8(&value)
            .map_err(|error| in_field(&name)(Fault::NotUtf8 { at: error.valid_up_to() }))?;
        match &*name {
            "event" => extras.event = Some(Cow::Owned(value.to_owned())),
            "retry" => extras.retry_ms = Some(digits(value).map_err(in_field("retry"))?),
            "ttl" => extras.ttl = Some(ttl(value).map_err(in_field("ttl"))?),
            "retain" => extras.retain = flag(value).map_err(in_field("retain"))?,
            "key" => extras.key = Some(Cow::Owned(value.to_owned())),
            "conflate" => extras.conflate = Some(Cow::Owned(value.to_owned())),
            _ => return Err(in_field(&name)(Fault::UnknownParameter)),
        }
    }
    let data = std::str::from_utf8(body)
        .map_err(|error| in_field("body")(Fault::NotUtf8 { at: error.valid_up_to() }))?;
    submission(to, extras, data, rules).map_err(|(field, fault)| in_field(field)(fault))
}

/// An event that did not come in a request, of one topic.
///
/// # Errors
/// It may not be published.
pub fn event(
    topic: Topic,
    name: Option<&str>,
    data: &str,
    conflate: Option<&str>,
    rules: &Rules,
) -> Result<Submission, PublishError> {
    let in_field = |(field, fault)| PublishError::new(field, fault);
    check_topic(&topic, rules).map_err(|fault| in_field(("topic", fault)))?;
    let (event, conflate) = (name.map(Cow::Borrowed), conflate.map(Cow::Borrowed));
    let extras = Extras { event, conflate, ..Extras::default() };
    let to = Destination::Topics([topic].into());
    submission(to, extras, data, rules).map_err(in_field)
}

/// What an event has beside its topics and its data.
#[derive(Default)]
struct Extras<'a> {
    event: Option<Cow<'a, str>>,
    retry_ms: Option<u64>,
    ttl: Option<Duration>,
    retain: bool,
    key: Option<Cow<'a, str>>,
    conflate: Option<Cow<'a, str>>,
}

/// The checks that every way of publishing shares. An error comes with the field it is in.
fn submission(
    to: Destination,
    extras: Extras<'_>,
    data: &str,
    rules: &Rules,
) -> Result<Submission, (&'static str, Fault)> {
    let Extras { event, retry_ms, ttl, retain, key, conflate } = extras;
    let event = event.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = event {
        check_event_name(name, rules).map_err(|fault| ("event", fault))?;
    }
    if retry_ms.is_some_and(|retry| retry > RETRY_MS_MAX) {
        return Err(("retry", Fault::Retry));
    }
    if let Some(key) = &key {
        check_key(key.as_bytes()).map_err(|fault| ("key", fault))?;
    }
    let conflate_bytes = conflate.as_ref().map(|key| key.len());
    if conflate_bytes.is_some_and(|bytes| !(1..=CONFLATE_KEY_BYTES_MAX).contains(&bytes)) {
        return Err(("conflate", Fault::ConflateKey));
    }
    let fields = Fields { event, retry_ms, data };
    if encoded_len(&fields) + to.size() + conflate_bytes.unwrap_or(0) > rules.event_bytes_max {
        return Err(("data", Fault::EventTooLarge { max: rules.event_bytes_max }));
    }
    let name = Box::from(event.unwrap_or_default());
    let retain = retain.then_some(match data.is_empty() {
        true => Retain::Delete(name),
        false => Retain::Keep(name),
    });
    let key = key.map(|key| Key::Event(key.as_bytes().into()));
    let conflate = conflate.map(Into::into);
    Ok(Submission { to, draft: Draft::new(&fields), ttl, retain, key, conflate, is_last: false })
}

fn check_key(key: &[u8]) -> Result<(), Fault> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(Fault::Key) }
}

/// A length of time: whole seconds, or with a unit.
fn ttl(text: &str) -> Result<Duration, Fault> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let ttl = seconds.or_else(|| text.parse::<Interval>().ok().map(|interval| interval.0));
    ttl.filter(|ttl| !ttl.is_zero()).ok_or(Fault::Ttl)
}

fn flag(text: &str) -> Result<bool, Fault> {
    text.parse().map_err(|_| Fault::Flag)
}

fn check_event_name(name: &str, rules: &Rules) -> Result<(), Fault> {
    if name.len() > EVENT_NAME_BYTES_MAX {
        return Err(Fault::EventNameTooLong);
    }
    if let Some(character) = name.chars().find(|character| character.is_control()) {
        return Err(Fault::EventNameCharacter(character));
    }
    if rules.reserved.contains(name) {
        return Err(Fault::Reserved(name.to_owned()));
    }
    Ok(())
}

fn check_topic(topic: &Topic, rules: &Rules) -> Result<(), Fault> {
    let reserved = &*rules.reserved_topics;
    if !reserved.is_empty() && topic.as_str().starts_with(reserved) {
        return Err(Fault::ReservedTopic(reserved.to_owned()));
    }
    Ok(())
}

fn destination<'a>(
    topics: impl IntoIterator<Item = &'a str>,
    rules: &Rules,
) -> Result<Destination, Fault> {
    let mut parsed = Vec::new();
    let mut everyone = false;
    for (index, text) in topics.into_iter().enumerate() {
        if index == rules.topics_max {
            return Err(Fault::TooManyTopics { max: rules.topics_max });
        }
        if text == BROADCAST {
            everyone = true;
        } else {
            let topic = Topic::parse(text).map_err(Fault::Topic)?;
            check_topic(&topic, rules)?;
            parsed.push(topic);
        }
    }
    if everyone {
        return Ok(Destination::Everyone);
    }
    if parsed.is_empty() {
        return Err(Fault::NoTopic);
    }
    parsed.sort_unstable();
    parsed.dedup();
    Ok(Destination::Topics(parsed.into()))
}

/// The digits-only form that SSE's `retry:` has.
fn digits(text: &str) -> Result<u64, Fault> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Retry);
    }
    text.parse().map_err(|_| Fault::Retry)
}
