//! Retained values: the last event of a topic, and of an event name, that its publisher wants new
//! subscribers to be told. Never evicted: a publish for which there is no room is refused before.

use std::sync::Arc;
use std::time::Instant;

use super::topic::{Retained, TopicKey};
use super::{EVENT_BYTES, EVERYONE, History, Retain, weight};
use crate::event::{Destination, Event};

impl Retained {
    fn bytes(&self) -> usize {
        weight(&self.event) + self.name.len()
    }
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

    /// Makes `event` the value of its name, or removes that.
    pub(super) fn retain(&mut self, key: TopicKey, event: &Arc<Event>, retain: &Retain) {
        let (Retain::Keep(name) | Retain::Delete(name)) = retain;
        self.remove_retained(key, |value| value.name == *name);
        if let Retain::Keep(name) = retain {
            let value = Retained { name: name.clone(), event: Arc::clone(event) };
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

    fn remove_retained(&mut self, key: TopicKey, goes: impl Fn(&Retained) -> bool) {
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
