//! Retained values: the last event of a topic, and of an event name, that its publisher wants new
//! subscribers to be told. Never evicted: a publish for which there is no room is refused before. Where
//! there is a log, it gives its thread those that a trim would take, and takes them back at a start.

use std::sync::Arc;
use std::time::Instant;

use super::topic::{Retained, TopicKey};
use super::{EVENT_BYTES, EVERYONE, History, Kept, Retain};
use crate::event::{Destination, Event};
use crate::topic::Topic;

impl<E: Kept> Retained<E> {
    fn bytes(&self) -> usize {
        self.event.bytes() + self.name.len()
    }
}

/// A value of one topic.
#[derive(Clone, Debug)]
pub struct TopicValue {
    /// Absent where it is of all streams.
    pub topic: Option<Topic>,
    /// The event's name.
    pub name: Box<str>,
    /// The event. It may have other topics, which have other values by now.
    pub event: Arc<Event>,
}

/// Bytes that an event takes at most as the value of this name for each of its topics.
pub fn bytes_to_retain(event: &Arc<Event>, name: &str) -> usize {
    let topics = match &event.to {
        Destination::Everyone => 1,
        Destination::Topics(topics) => topics.len(),
    };
    topics * (event.bytes() + name.len())
}

impl History {
    /// Bytes that the retained values grow by, at most, when an event of `bytes` becomes the value of
    /// this name for each topic of `to`.
    pub fn cost_to_retain(&self, to: &Destination, name: &str, bytes: usize) -> usize {
        let keys: Vec<_> = match to {
            Destination::Everyone => vec![Some(EVERYONE)],
            Destination::Topics(topics) => {
                topics.iter().map(|topic| self.find(topic.as_str())).collect()
            }
        };
        let each = bytes + to.size() + name.len() + EVENT_BYTES;
        let cost = |key: Option<TopicKey>| {
            let values = key.map_or(&[][..], |key| &self.topics[key].retained);
            let replaced = values.iter().find(|value| *value.name == *name);
            each.saturating_sub(replaced.map_or(0, Retained::bytes))
        };
        keys.into_iter().map(cost).sum()
    }

    /// Whether the retained values may grow by so many bytes.
    pub fn has_room_to_retain(&self, more: usize) -> bool {
        self.totals.retained_bytes + more <= self.bounds.retained_bytes_max
    }

    /// The values that have not expired and are older than `seq`, in no order.
    pub fn values_before(&self, seq: u64, now: Instant) -> Vec<TopicValue> {
        let topics = self.retaining.iter().map(|&key| &self.topics[key]);
        let values = topics.flat_map(|topic| {
            let older = topic.retained.iter().take_while(move |value| value.event.seq < seq);
            older.filter(move |value| !value.event.is_expired(now)).map(|value| TopicValue {
                topic: topic.name.clone(),
                name: value.name.clone(),
                event: Arc::clone(&value.event),
            })
        });
        values.collect()
    }
}

impl<E: Kept> History<E> {
    /// Takes a value that has outlived its record in the log: it is no event of the past any more.
    /// Values come in the order of their `seq`s, and before all events.
    pub fn restore(&mut self, event: &E, to: &Destination, name: &str, now: Instant) {
        self.newest = event.seq();
        let keys = match to {
            Destination::Everyone => vec![EVERYONE],
            Destination::Topics(topics) => {
                topics.iter().map(|topic| self.find_or_add(topic)).collect()
            }
        };
        for key in keys {
            self.topics[key].note(event.seq(), to);
            self.retain(key, event, &Retain::Keep(name.into()));
            if key != EVERYONE {
                self.recency[1].move_to_end(&mut self.topics, key);
            }
        }
        self.enforce_bounds(now);
    }

    /// Makes `event` the value of its name, or removes that.
    pub(super) fn retain(&mut self, key: TopicKey, event: &E, retain: &Retain) {
        let (Retain::Keep(name) | Retain::Delete(name)) = retain;
        self.remove_retained(key, |value| value.name == *name);
        if let Retain::Keep(name) = retain {
            let value = Retained { name: name.clone(), event: event.clone() };
            self.totals.retained += 1;
            self.totals.retained_bytes += value.bytes();
            // The newest has the greatest `seq`: the values stay sorted.
            self.topics[key].retained.push(value);
        }
        self.note_retaining(key);
    }

    /// Removes the values of a topic that have expired.
    pub(super) fn drop_expired_retained(&mut self, key: TopicKey, now: Instant) {
        if !self.topics[key].retained.is_empty() {
            self.remove_retained(key, |value| value.event.is_expired(now));
            self.note_retaining(key);
        }
    }

    fn remove_retained(&mut self, key: TopicKey, goes: impl Fn(&Retained<E>) -> bool) {
        let totals = &mut self.totals;
        self.topics[key].retained.retain(|value| {
            let goes = goes(value);
            if goes {
                totals.retained -= 1;
                totals.retained_bytes -= value.bytes();
            }
            !goes
        });
    }

    /// Moves a topic that has got its first value, or lost its last one, among the others of its
    /// kind: to the end, where readers look first.
    fn note_retaining(&mut self, key: TopicKey) {
        let retains = !self.topics[key].retained.is_empty();
        let retained = match retains {
            true => !self.retaining.insert(key),
            false => self.retaining.remove(&key),
        };
        if key != EVERYONE && retained != retains {
            self.recency[usize::from(retained)].remove(&mut self.topics, key);
            self.recency[usize::from(retains)].push(&mut self.topics, key);
            self.topics[key].touched = self.newest;
        }
        self.reclass(key);
    }
}
