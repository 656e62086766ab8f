//! Why a stream has an event, or has not: what is known of it, and what is not known any more.

use serde::Serialize;

use super::report::{as_text, as_texts};
use crate::sse::EventId;
use crate::topic::{Filter, Topic};

/// What is to be explained to somebody who looks at a stream.
#[derive(Clone, Debug)]
pub enum About {
    /// An event.
    Event(EventId),
    /// Any event of a topic.
    Topic(Topic),
}

/// What became of an event on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its id is of another epoch.
    OtherOrder,
    /// Its id is beyond the last event.
    NotYet,
    /// The history does not hold it any more.
    NoLongerKnown,
    /// None of what the stream has asked for is one of its topics.
    NotAskedFor,
    /// The stream has asked for its topic, and not for events of its name.
    FilteredByName,
    /// It was accepted before the stream opened, or in the same moment.
    BeforeItOpened,
    /// It waits for the stream.
    Waiting,
    /// It was lost to the stream.
    Dropped,
    /// A newer event with its conflation key took its place while it waited.
    Conflated,
    /// It was lost to the stream, or a newer event took its place before that.
    DroppedOrConflated,
    /// It has been written.
    Delivered,
    /// It has been written, or a newer event took its place before that.
    DeliveredOrConflated,
    /// It lies in a gap in which some events may have been there.
    InAGap,
    /// The stream was told of gaps that are not remembered any more.
    GapsForgotten,
    /// The stream is ending.
    Ending,
    /// Asked by topic: the stream gets its events.
    AskedFor,
}

impl Outcome {
    /// Whether the event was written to the stream's connection; `None` where that is not known, or not
    /// decided.
    pub fn delivered(self) -> Option<bool> {
        match self {
            Self::Delivered => Some(true),
            Self::OtherOrder
            | Self::NotYet
            | Self::NotAskedFor
            | Self::FilteredByName
            | Self::Dropped
            | Self::Conflated
            | Self::DroppedOrConflated => Some(false),
            Self::NoLongerKnown
            | Self::DeliveredOrConflated
            | Self::BeforeItOpened
            | Self::Waiting
            | Self::InAGap
            | Self::GapsForgotten
            | Self::Ending
            | Self::AskedFor => None,
        }
    }

    /// In words.
    pub fn why(self) -> &'static str {
        match self {
            Self::OtherOrder => {
                "The id is of another epoch: it names an event of a time before the gateway lost its \
                 history, or of another gateway."
            }
            Self::NotYet => "No event has this id yet.",
            Self::NoLongerKnown => {
                "The history does not hold the event any more, so its topics are not known."
            }
            Self::NotAskedFor => "The stream has not asked for any of the event's topics.",
            Self::FilteredByName => {
                "The stream has asked for the event's topic, and only for events of other names."
            }
            Self::BeforeItOpened => {
                "The event was accepted before the stream opened. The stream has it only if it came \
                 with a cursor before it, which is not kept."
            }
            Self::Waiting => "The event waits for the stream: its client has not taken it yet.",
            Self::Dropped => {
                "The event was dropped: it is part of a gap that the stream is told of."
            }
            Self::Conflated => {
                "A newer event with the same topics and conflation key took its place while it waited \
                 for the stream. Its publisher asked for that: it is no loss, and no gap tells of it."
            }
            Self::DroppedOrConflated => {
                "The event was not written. Either it was dropped, as part of a gap that the stream is \
                 told of, or a newer event with its conflation key had taken its place before."
            }
            Self::DeliveredOrConflated => {
                "The stream is past the event, and was told of no gap over it. It was written to the \
                 connection, or a newer event with its conflation key took its place while it waited: \
                 which of the two is not kept."
            }
            Self::Delivered => {
                "The event was written to the connection, and no gap was told over it. Whether the \
                 client has read it, the gateway cannot know."
            }
            Self::InAGap => {
                "The stream read the past, and was told of a gap there. Some events inside it were \
                 still held and were written; whether this one was among them is not known."
            }
            Self::GapsForgotten => {
                "The stream is past the event. Whether it was told of a gap over it is not known: of \
                 the gaps told since it opened, not all are remembered."
            }
            Self::Ending => "The stream is ending; what it had asked for is not kept.",
            Self::AskedFor => {
                "The stream gets the events of this topic, if they have one of the names that it has \
                 asked for."
            }
        }
    }
}

/// A gap over an event.
#[derive(Clone, Debug, Serialize)]
pub struct GapOver {
    /// The last event before it, where it is known.
    pub after: Option<String>,
    /// The last lost event.
    pub to: String,
    /// How many were lost, where it is known.
    pub count: Option<u64>,
    /// Why.
    pub reason: &'static str,
    /// Whether the stream has been told of it.
    pub told: bool,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What became of the event.
    pub outcome: Outcome,
    /// See [`Outcome::delivered`].
    pub delivered: Option<bool>,
    /// See [`Outcome::why`].
    pub why: &'static str,
    /// Topics of the event, where it is held; `*` for one that goes to everyone.
    pub event_topics: Option<Vec<String>>,
    /// Name of the event, where it is held and has one.
    pub event_name: Option<String>,
    /// What the stream has asked for.
    #[serde(serialize_with = "as_texts")]
    pub stream_topics: Vec<Filter>,
    /// The names of the events that it has asked for; `None` for all.
    pub stream_names: Option<Vec<Box<str>>>,
    /// Which of its topics the event is of; `*` where it goes to everyone.
    pub matched_by: Option<String>,
    /// Up to where the stream has been sent everything, or been told that it is lost.
    #[serde(serialize_with = "as_text")]
    pub cursor: EventId,
    /// The gap that the event lies in, if one is known.
    pub gap: Option<GapOver>,
}
