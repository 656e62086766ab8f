//! Why a publish request is refused. All of it is the publisher's to mend.

use std::fmt;

use super::{CONFLATE_KEY_BYTES_MAX, EVENT_NAME_BYTES_MAX, RETRY_MS_MAX};
use crate::hub::KEY_BYTES_MAX;
use crate::topic::TopicError;

/// What is wrong, and in which field. Nothing of the request was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishError {
    /// The field, as a path into the body: `[3].event`, `topic[1]`; or `body`.
    pub field: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl PublishError {
    pub(super) fn new(field: impl Into<String>, fault: Fault) -> Self {
        Self { field: field.into(), fault }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not UTF-8.
    NotUtf8 {
        /// Bytes before the first that is not.
        at: usize,
    },
    /// It is not JSON, not of the right type, or not a field of a message. The text is the JSON
    /// parser's.
    Json(String),
    /// The request has no event.
    NoEvent,
    /// The request has more events than a batch may have.
    TooManyEvents {
        /// How many it may have.
        max: usize,
    },
    /// The event has no topic.
    NoTopic,
    /// The event has more topics than it may have.
    TooManyTopics {
        /// How many it may have.
        max: usize,
    },
    /// A topic is not one.
    Topic(TopicError),
    /// The event's name is longer than [`EVENT_NAME_BYTES_MAX`].
    EventNameTooLong,
    /// The event's name holds a control character.
    EventNameCharacter(char),
    /// The event's name is that of a control event.
    Reserved(String),
    /// The topic is one that only the gateway publishes to: it begins so.
    ReservedTopic(String),
    /// `retry` is not a number of milliseconds of at most [`RETRY_MS_MAX`].
    Retry,
    /// The event would take more bytes on a stream than it may.
    EventTooLarge {
        /// How many it may take.
        max: usize,
    },
    /// A query parameter that this request does not have.
    UnknownParameter,
    /// `ttl` is not a length of time above zero.
    Ttl,
    /// An idempotency key is empty, or longer than [`KEY_BYTES_MAX`].
    Key,
    /// A conflation key is empty, or longer than [`CONFLATE_KEY_BYTES_MAX`].
    ConflateKey,
    /// A parameter is neither `true` nor `false`.
    Flag,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { at } => write!(f, "not UTF-8 from byte {at} on"),
            Self::Json(message) => write!(f, "{message}"),
            Self::NoEvent => write!(f, "a request publishes at least one event"),
            Self::TooManyEvents { max } => write!(f, "a request publishes at most {max} events"),
            Self::NoTopic => write!(f, "an event goes to at least one topic"),
            Self::TooManyTopics { max } => write!(f, "an event goes to at most {max} topics"),
            Self::Topic(error) => error.fmt(f),
            Self::EventNameTooLong => {
                write!(f, "an event's name has at most {EVENT_NAME_BYTES_MAX} bytes")
            }
            Self::EventNameCharacter(character) => write!(
                f,
                "an event's name holds no control characters, and this one holds {}",
                character.escape_unicode()
            ),
            Self::Reserved(name) => write!(
                f,
                "`{name}` is the name of a control event; choose another, or rename the control \
                 event in [stream.control]"
            ),
            Self::ReservedTopic(start) => write!(
                f,
                "topics that begin with `{start}` are for the states of sources; choose another, or \
                 change `sources.topic`"
            ),
            Self::Retry => {
                write!(f, "retry is a whole number of milliseconds of at most {RETRY_MS_MAX}")
            }
            Self::EventTooLarge { max } => {
                write!(
                    f,
                    "the event, as sent on a stream, and its topics take more than {max} bytes"
                )
            }
            Self::UnknownParameter => {
                write!(
                    f,
                    "not a parameter of this request: it has `event`, `retry`, `ttl`, `retain`, \
                     `key` and `conflate`"
                )
            }
            Self::Ttl => {
                write!(
                    f,
                    "ttl is a length of time above zero: whole seconds, or a text such as 30s"
                )
            }
            Self::Key => {
                write!(f, "an idempotency key has at least one byte and at most {KEY_BYTES_MAX}")
            }
            Self::ConflateKey => write!(
                f,
                "a conflation key has at least one byte and at most {CONFLATE_KEY_BYTES_MAX}"
            ),
            Self::Flag => write!(f, "the value is either `true` or `false`"),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.fault)
    }
}

impl std::error::Error for PublishError {}
