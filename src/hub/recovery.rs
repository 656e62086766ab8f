//! From the log to the hub: what is kept of the past, which keys are known, and where the order goes
//! on.

use std::sync::Arc;
use std::time::Instant;

use super::keys::{Key, KeyBounds, Keys};
use super::waiting::WallClock;
use crate::event::{Destination, Event};
use crate::history::{Bounds, History, Retain};
use crate::journal::{self, Item, Recovered};
use crate::sse::Frame;
use crate::topic::Topic;

/// Takes what a log has kept, in its order.
pub struct Recovery {
    pub(super) history: History,
    pub(super) keys: Keys,
    /// The last `seq` that was ever given.
    pub(super) head: u64,
    clock: WallClock,
    /// Records that are whole and make no sense: of another version, or by a fault of ours.
    pub unreadable: u64,
}

impl Recovery {
    /// For a log that is about to be read.
    pub fn new(history: Bounds, keys: KeyBounds, clock: WallClock) -> Self {
        let (history, keys) = (History::new(history, 0), Keys::new(keys));
        Self { history, keys, head: 0, clock, unreadable: 0 }
    }

    /// Takes the next thing that the log has.
    pub fn take(&mut self, item: Item<'_>) {
        let taken = match item {
            Item::Hole(hole) => {
                self.history.declare_damage(hole.to);
                Some(())
            }
            Item::Value(record) => self.take_value(&record),
            Item::Record(record) => self.take_record(&record),
        };
        if taken.is_none() {
            self.unreadable += 1;
            self.history.declare_damage(item.last_seq());
        }
        self.head = item.last_seq();
    }

    fn take_value(&mut self, record: &journal::Record<'_>) -> Option<()> {
        let event = self.event(record)?;
        let journal::Retain::Keep { event_name } = record.retain else { return None };
        self.history.restore(&event, event_name.unwrap_or_default(), self.clock.now);
        Some(())
    }

    fn take_record(&mut self, record: &journal::Record<'_>) -> Option<()> {
        let event = self.event(record)?;
        let retain = match record.retain {
            journal::Retain::No => None,
            journal::Retain::Keep { event_name } => {
                Some(Retain::Keep(event_name.unwrap_or_default().into()))
            }
            journal::Retain::Delete { event_name } => {
                Some(Retain::Delete(event_name.unwrap_or_default().into()))
            }
        };
        self.history.append(&event, retain.as_ref(), self.clock.now);
        if let Some(key) = record.key.and_then(Key::from_log) {
            self.keys.recover(key, record.seq, event.accepted);
        }
        Some(())
    }

    fn event(&mut self, record: &journal::Record<'_>) -> Option<Arc<Event>> {
        let topic = |name| self.history.name(name).or_else(|| Topic::parse(name).ok());
        let to = match record.to {
            journal::To::Everyone => Destination::Everyone,
            journal::To::Topics(names) => {
                Destination::Topics(names.iter().map(topic).collect::<Option<_>>()?)
            }
        };
        let frame = Frame::from_chunk(record.frame)?;
        let accepted = self.clock.instant(record.accepted_ms);
        let expires = record.expires_ms.map(|ms| self.clock.instant(ms));
        Some(Arc::new(Event { seq: record.seq, to, frame, accepted, expires, conflate: None }))
    }

    /// The log has been read.
    pub fn finish(mut self, recovered: &Recovered) -> Self {
        let before: Instant = self.clock.now;
        self.keys.forget_old(before);
        if recovered.first_seq > 1 {
            self.history.begins_after(recovered.first_seq - 1);
        }
        self.head = recovered.next_seq - 1;
        self
    }
}
