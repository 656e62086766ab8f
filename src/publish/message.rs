//! The JSON forms of a publish body: an object, an array, lines. `data` is never rebuilt: what the
//! publisher wrote is what subscribers get, except that a string is sent as the text it means.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Batch, Extras, Fault, PublishError, Rules, destination, submission, ttl};
use crate::hub::Submission;

/// Sent when a message has no `data`.
const DEFAULT_DATA: &str = "{}";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    topic: Topics<'a>,
    #[serde(borrow, default)]
    event: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Data<'a>,
    #[serde(default)]
    retry: Option<u64>,
    #[serde(default)]
    ttl: Option<Ttl>,
    #[serde(default)]
    retain: Option<bool>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    conflate: Option<Text<'a>>,
}

impl Message<'_> {
    /// `prefix` is the message's place in the body: empty, or `[3].`.
    fn check(self, prefix: &str, rules: &Rules) -> Result<Submission, PublishError> {
        let in_field = |(field, fault)| PublishError::new(format!("{prefix}{field}"), fault);
        let to = match &self.topic {
            Topics::One(topic) => destination([&*topic.0], rules),
            Topics::Many(topics) => destination(topics.iter().map(|topic| &*topic.0), rules),
        };
        let to = to.map_err(|fault| in_field(("topic", fault)))?;
        let data = self.data.text().map_err(|fault| in_field(("data", fault)))?;
        let extras = Extras {
            event: self.event.map(|name| name.0),
            retry_ms: self.retry,
            ttl: self.ttl.map(|ttl| ttl.0),
            retain: self.retain.unwrap_or_default(),
            key: self.key.map(|key| key.0),
            conflate: self.conflate.map(|key| key.0),
        };
        submission(to, extras, &data, rules).map_err(in_field)
    }
}

/// A string, borrowed from the body when it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Whole seconds, or a text with a unit.
struct Ttl(Duration);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TtlVisitor;
        impl Visitor<'_> for TtlVisitor {
            type Value = Ttl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "whole seconds, or a text such as \"30s\"")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Ttl, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ttl, E> {
                ttl(text).map(Ttl).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(TtlVisitor)
    }
}

enum Topics<'a> {
    One(Text<'a>),
    Many(Vec<Text<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Topics<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopicsVisitor;
        impl<'de> Visitor<'de> for TopicsVisitor {
            type Value = Topics<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a topic or an array of topics")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Topics<'de>, E> {
                Ok(Topics::One(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Topics<'de>, E> {
                Ok(Topics::One(Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Topics<'de>, A::Error> {
                let topics = de::value::SeqAccessDeserializer::new(seq);
                Vec::deserialize(topics).map(Topics::Many)
            }
        }
        deserializer.deserialize_any(TopicsVisitor)
    }
}

/// `data` as it was written. A type of its own because `null` is data, unlike no `data`.
#[derive(Default)]
struct Data<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

impl<'a> Data<'a> {
    fn text(&self) -> Result<Cow<'a, str>, Fault> {
        let raw = self.0.map_or(DEFAULT_DATA, RawValue::get);
        if !raw.starts_with('"') {
            return Ok(Cow::Borrowed(raw));
        }
        // Only a lone surrogate escape gets here and fails.
        let text: Text<'a> =
            serde_json::from_str(raw).map_err(|error| Fault::Json(error.to_string()))?;
        Ok(text.0)
    }
}

pub(super) fn object(text: &str, rules: &Rules) -> Result<Batch, PublishError> {
    let message: Message<'_> = parse(text, "")?;
    Ok(Batch { events: vec![message.check("", rules)?], single: true })
}

pub(super) fn array(text: &str, rules: &Rules) -> Result<Batch, PublishError> {
    let messages: Vec<Message<'_>> = parse(text, "")?;
    check_count(messages.len(), rules)?;
    let events = messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| message.check(&format!("[{index}]."), rules))
        .collect::<Result<_, _>>()?;
    Ok(Batch { events, single: false })
}

pub(super) fn lines(text: &str, rules: &Rules) -> Result<Batch, PublishError> {
    let lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
    let mut events = Vec::new();
    for (index, line) in lines.enumerate() {
        check_count(index + 1, rules)?;
        let prefix = format!("[{index}].");
        let message: Message<'_> = parse(line, &prefix)?;
        events.push(message.check(&prefix, rules)?);
    }
    check_count(events.len(), rules)?;
    Ok(Batch { events, single: false })
}

fn check_count(events: usize, rules: &Rules) -> Result<(), PublishError> {
    let max = rules.batch_events_max;
    match events {
        0 => Err(PublishError::new("body", Fault::NoEvent)),
        count if count > max => Err(PublishError::new("body", Fault::TooManyEvents { max })),
        _ => Ok(()),
    }
}

/// Parses, and on failure parses again to find out which field it was: good requests do not pay
/// for the names in bad ones' errors.
fn parse<'a, T: Deserialize<'a>>(text: &'a str, prefix: &str) -> Result<T, PublishError> {
    let error = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(located) => located.path().to_string(),
        Ok(_) => String::new(),
    };
    let message = error.to_string();
    Err(PublishError::new(field_name(&path, prefix, &message), Fault::Json(message)))
}

/// The path to the fault; an unknown or missing field is not in it, but in the message.
fn field_name(path: &str, prefix: &str, message: &str) -> String {
    let path = path.trim_end_matches(['.', '?']);
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .into_iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    let name = match named {
        Some(name) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    };
    match (prefix.is_empty(), name.is_empty()) {
        (true, true) => "body".to_owned(),
        (_, true) => prefix.trim_end_matches('.').to_owned(),
        _ => format!("{prefix}{name}"),
    }
}
