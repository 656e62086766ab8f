//! From the log to the hub: what is kept of the past, which keys are known, and where the order goes
//! on.
//!
//! A log has many times more events than the history keeps. So while it is read the history holds
//! places in the log instead of events, which are made at the end, of what it still holds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::keys::{Key, KeyBounds, Keys};
use super::waiting::WallClock;
use crate::event::{Destination, Event};
use crate::history::{Bounds, History, Kept, Retain, kept_bytes};
use crate::journal::{self, Item, RecordPlace, Recovered};
use crate::sse::{Frame, Gzip};
use crate::topic::Topic;

/// Takes what a log has kept, in its order.
pub struct Recovery {
    history: History<Found>,
    keys: Keys,
    head: u64,
    clock: WallClock,
    /// Records that are whole and make no sense: of another version, or by a fault of ours.
    pub unreadable: u64,
}

/// What was before, as far as it is kept.
pub struct Restored {
    pub(super) history: History,
    pub(super) keys: Keys,
    /// The last `seq` that was ever given.
    pub(super) head: u64,
}

/// An event that was found. Small: what the history forgets, it fetches from memory that nobody has
/// touched for long, and several of these are fetched at once.
#[derive(Clone)]
enum Found {
    /// In the log. It never expires, and takes so many bytes.
    There { seq: u64, place: RecordPlace, bytes: u32 },
    /// Here, since it is a value whose record has been trimmed, or it expires.
    Here(Arc<Event>),
}

const _: () = assert!(size_of::<Found>() == 24);

impl Kept for Found {
    fn seq(&self) -> u64 {
        match self {
            Self::There { seq, .. } => *seq,
            Self::Here(event) => event.seq(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::There { bytes, .. } => *bytes as usize,
            Self::Here(event) => event.bytes(),
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        match self {
            Self::There { .. } => false,
            Self::Here(event) => event.is_expired(now),
        }
    }
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
            Item::Record(record, place) => self.take_record(&record, place),
        };
        if taken.is_none() {
            self.unreadable += 1;
            self.history.declare_damage(item.last_seq());
        }
        self.head = item.last_seq();
    }

    fn take_value(&mut self, record: &journal::Record<'_>) -> Option<()> {
        let event = Arc::new(self.event(record)?);
        let journal::Retain::Keep { event_name } = record.retain else { return None };
        let (name, now) = (event_name.unwrap_or_default(), self.clock.now);
        self.history.restore(&Found::Here(Arc::clone(&event)), &event.to, name, now);
        Some(())
    }

    fn take_record(&mut self, record: &journal::Record<'_>, place: RecordPlace) -> Option<()> {
        if let journal::To::Topics(names) = record.to
            && names.iter().any(Topic::is_private_name)
        {
            // Who was given the topic is not known any more, and it is never given again.
            return Some(());
        }
        let to = self.destination(record)?;
        let found = match record.expires_ms {
            Some(_) => Found::Here(Arc::new(self.event(record)?)),
            None if !Frame::is_chunk(record.frame) => return None,
            None => {
                // A record is far shorter than 4 GiB.
                let bytes = kept_bytes(record.frame, &to) as u32;
                Found::There { seq: record.seq, place, bytes }
            }
        };
        let retain = match record.retain {
            journal::Retain::No => None,
            journal::Retain::Keep { event_name } => {
                Some(Retain::Keep(event_name.unwrap_or_default().into()))
            }
            journal::Retain::Delete { event_name } => {
                Some(Retain::Delete(event_name.unwrap_or_default().into()))
            }
        };
        self.history.keep(&found, &to, retain.as_ref(), self.clock.now);
        if let Some(key) = record.key.and_then(Key::from_log) {
            self.keys.recover(key, record.seq, self.clock.instant(record.accepted_ms));
        }
        Some(())
    }

    fn destination(&mut self, record: &journal::Record<'_>) -> Option<Destination> {
        let topic = |name| self.history.name(name).or_else(|| Topic::parse(name).ok());
        Some(match record.to {
            journal::To::Everyone => Destination::Everyone,
            journal::To::Topics(names) => {
                Destination::Topics(names.iter().map(topic).collect::<Option<_>>()?)
            }
        })
    }

    fn event(&mut self, record: &journal::Record<'_>) -> Option<Event> {
        let (to, frame) = (self.destination(record)?, Frame::from_chunk(record.frame)?);
        let accepted = self.clock.instant(record.accepted_ms);
        let expires = record.expires_ms.map(|ms| self.clock.instant(ms));
        Some(Event {
            seq: record.seq,
            to,
            frame,
            gzip: Gzip::default(),
            accepted,
            expires,
            conflate: None,
            is_last: false,
        })
    }

    /// The log has been read. `read_again` shows records by their places, as
    /// [`Journal::read_again`](journal::Journal::read_again) does.
    ///
    /// # Errors
    /// A record is not what it was a moment ago.
    pub fn finish(
        mut self,
        recovered: &Recovered,
        read_again: impl FnOnce(
            &[(RecordPlace, u64)],
            &mut dyn FnMut(journal::Record<'_>),
        ) -> io::Result<()>,
    ) -> io::Result<Restored> {
        self.keys.forget_old(self.clock.now);
        if recovered.first_seq > 1 {
            self.history.begins_after(recovered.first_seq - 1);
        }
        let mut wanted: Vec<_> = self.history.held().filter_map(Found::wanted).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut events = HashMap::with_capacity(wanted.len());
        read_again(&wanted, &mut |record| {
            if let Some(event) = self.event(&record) {
                events.insert(event.seq, Arc::new(event));
            }
        })?;
        if events.len() < wanted.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let history = self.history.map(|found| match found {
            Found::There { seq, .. } => Arc::clone(&events[seq]),
            Found::Here(event) => Arc::clone(event),
        });
        Ok(Restored { history, keys: self.keys, head: recovered.next_seq - 1 })
    }
}

impl Found {
    fn wanted(&self) -> Option<(RecordPlace, u64)> {
        match self {
            Self::There { seq, place, .. } => Some((*place, *seq)),
            Self::Here(_) => None,
        }
    }
}
