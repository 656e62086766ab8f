//! Retained values for the log: those whose records it is about to trim. Called by the log's thread.

use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::waiting::{WallClock, to_log};
use crate::event::{Destination, Event};
use crate::history::TopicValue;
use crate::journal;

/// A retained value, and the topics whose value it is.
#[derive(Debug)]
pub struct RetainedValue {
    /// Of the event's topics, those that have no other value by now.
    to: Destination,
    name: Box<str>,
    event: Arc<Event>,
}

impl RetainedValue {
    /// In the log's own terms.
    pub fn as_log(&self, clock: WallClock) -> journal::Record<'_> {
        let Event { seq, frame, accepted, expires, .. } = &*self.event;
        journal::Record {
            seq: *seq,
            accepted_ms: clock.ms(*accepted),
            expires_ms: expires.map(|expires| clock.ms(expires)),
            to: to_log(&self.to),
            retain: journal::Retain::Keep { event_name: Some(&self.name) },
            key: None,
            frame: frame.chunk(),
        }
    }
}

impl Hub {
    /// The retained values that are older than `seq`, in the order of their `seq`s. Under the lock
    /// they are collected only: at most as many as `retained_bytes_max` has room for.
    pub fn values_before(&self, seq: u64, now: Instant) -> Vec<RetainedValue> {
        let mut values = self.order().history.values_before(seq, now);
        values.sort_by_key(|value| value.event.seq);
        let events = values.chunk_by(|one, next| one.event.seq == next.event.seq);
        events.map(RetainedValue::of).collect()
    }
}

impl RetainedValue {
    /// One event, as the value of some of its topics.
    fn of(values: &[TopicValue]) -> Self {
        let TopicValue { name, event, .. } = &values[0];
        // What goes to everyone has no topic beside.
        let topics: Option<_> = values.iter().map(|value| value.topic.clone()).collect();
        let to = topics.map_or(Destination::Everyone, Destination::Topics);
        Self { to, name: name.clone(), event: Arc::clone(event) }
    }
}
