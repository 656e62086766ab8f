//! An event as it travels: ordered, encoded, shared by all that hold it. Made by the hub; kept by
//! the history, carried by mailboxes and waiting in rings.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::sse::{Frame, Gzip};
use crate::sync::Weigh;
use crate::topic::Topic;

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To every stream.
    Everyone,
    /// To the streams that subscribe to one of these topics, once each.
    Topics(Topics),
}

/// The topics of one event. Most have one, which needs no allocation of its own.
pub type Topics = SmallVec<[Topic; 1]>;

impl Destination {
    /// Bytes that the topics' names take: an event keeps them alive wherever it waits.
    pub fn size(&self) -> usize {
        match self {
            Self::Everyone => 0,
            Self::Topics(topics) => topics.iter().map(|topic| topic.as_str().len()).sum(),
        }
    }
}

/// Name of an event that its publisher gave none.
const UNNAMED: &[u8] = b"message";

/// Which events a subscriber gets, by their names: these, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventNames(Option<Box<[Box<str>]>>);

/// Events of every name.
pub static ALL_NAMES: EventNames = EventNames(None);

impl EventNames {
    /// Events with these names; `message` is an event without one.
    pub fn only(mut names: Vec<Box<str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(Some(names.into()))
    }

    /// Which ones; `None` for all.
    pub fn named(&self) -> Option<&[Box<str>]> {
        self.0.as_deref()
    }

    /// Whether some are left out.
    pub fn are_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Whether an event is one of these.
    pub fn have(&self, event: &Event) -> bool {
        self.0.as_ref().is_none_or(|names| {
            let name = event.frame.name().unwrap_or(UNNAMED);
            names.binary_search_by(|own| own.as_bytes().cmp(name)).is_ok()
        })
    }
}

/// An ordered, encoded event.
#[derive(Debug)]
pub struct Event {
    /// Its place in the total order.
    pub seq: u64,
    /// Where it goes.
    pub to: Destination,
    /// Its bytes.
    pub frame: Frame,
    /// Its bytes on compressed streams.
    pub gzip: Gzip,
    /// When its publisher's request was accepted.
    pub accepted: Instant,
    /// When it is worth nothing any more to those who come later.
    pub expires: Option<Instant>,
    /// Whether its topics are over: streams that it goes to end behind it.
    pub is_last: bool,
    /// Where it waits for one stream, it takes the place of what goes to the same topics with this key.
    pub conflate: Option<Box<str>>,
}

impl Event {
    /// Whether somebody who comes at `now` has no use for it.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether this is to take the place of an older event.
    pub fn replaces(&self, older: &Self) -> bool {
        self.conflate.is_some() && self.conflate == older.conflate && self.to == older.to
    }
}

impl Weigh for Arc<Event> {
    fn weight(&self) -> usize {
        self.frame.size() + self.to.size() + self.conflate.as_ref().map_or(0, |key| key.len())
    }
}
