//! An event as it travels: ordered, encoded, shared by all that hold it. Made by the hub; kept by
//! the history, carried by mailboxes and waiting in rings.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::sse::Frame;
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

/// An ordered, encoded event.
#[derive(Debug)]
pub struct Event {
    /// Its place in the total order.
    pub seq: u64,
    /// Where it goes.
    pub to: Destination,
    /// Its bytes.
    pub frame: Frame,
    /// When its publisher's request was accepted.
    pub accepted: Instant,
    /// When it is worth nothing any more to those who come later.
    pub expires: Option<Instant>,
    /// Whether its topics are over: streams that it goes to end behind it.
    pub is_last: bool,
}

impl Event {
    /// Whether somebody who comes at `now` has no use for it.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Weigh for Arc<Event> {
    fn weight(&self) -> usize {
        self.frame.size() + self.to.size()
    }
}
