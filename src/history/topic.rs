//! What is kept of one topic: its last events, oldest first, its retained values, and up to where
//! the rest is forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::limits::Limits;
use super::list::Link;
use super::{Kept, Loss, Past, Place, TOPIC_BYTES};
use crate::event::{Destination, Event};
use crate::topic::{BROADCAST, Topic};

/// A topic's place in the table.
pub(super) type TopicKey = usize;

/// A retained value: the last event of its topic with its name.
#[derive(Debug)]
pub(super) struct Retained<E> {
    pub(super) name: Box<str>,
    pub(super) event: E,
}

#[derive(Debug)]
pub(super) struct TopicHistory<E> {
    /// `None` is what goes to everyone.
    pub(super) name: Option<Topic>,
    pub(super) limits: Limits,
    events: VecDeque<E>,
    /// Bytes of `events`.
    pub(super) bytes: usize,
    /// Sorted by `seq`. Those that are no longer in `events` are read with them.
    pub(super) retained: Vec<Retained<E>>,
    /// `seq` of the last event.
    pub(super) last: u64,
    /// At least `last`: the newest `seq` of all when it was put at the end of its list.
    pub(super) touched: u64,
    /// Where the topic's entry began. Of what was before nothing is known.
    known_from: u64,
    /// `seq` of the first event after `known_from`.
    first: u64,
    /// `seq` of the last event that is gone, if any is.
    forgotten_to: u64,
    /// How many after `known_from` are gone.
    forgotten: u64,
    /// The history's count of forgettings when the last one went.
    forgotten_at: u64,
    /// Whether any of its events is of another topic too.
    pub(super) shares_events: bool,
    pub(super) links: [Link; 2],
    /// The list it is in by its size.
    pub(super) class: usize,
}

impl<E: Kept> TopicHistory<E> {
    /// Something may have happened up to `known_from` (0: nothing has), and been forgotten at
    /// `forgotten_at`.
    pub(super) fn new(
        name: Option<Topic>,
        limits: Limits,
        known_from: u64,
        forgotten_at: u64,
    ) -> Self {
        Self {
            name,
            limits,
            events: VecDeque::new(),
            bytes: 0,
            retained: Vec::new(),
            last: known_from,
            touched: known_from,
            known_from,
            first: u64::MAX,
            forgotten_to: known_from,
            forgotten: 0,
            forgotten_at,
            shares_events: false,
            links: [Link::default(); 2],
            class: 0,
        }
    }

    /// Of what was before, nothing is known.
    pub(super) fn known_only_after(&mut self, seq: u64, at: u64) {
        self.known_from = self.known_from.max(seq);
        if self.forgotten_to < seq {
            (self.forgotten_to, self.forgotten_at) = (seq, at);
        }
    }

    /// It is new, behind `seq`.
    pub(super) fn begin(&mut self, seq: u64, at: u64) {
        self.known_only_after(seq, at);
        self.last = self.last.max(seq);
    }

    pub(super) fn text(&self) -> &str {
        self.name.as_ref().map_or(BROADCAST, Topic::as_str)
    }

    /// Bytes that it takes without any event.
    pub(super) fn own_bytes(&self) -> usize {
        self.text().len() + TOPIC_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The oldest event that is held.
    pub(super) fn oldest(&self) -> Option<&E> {
        self.events.front()
    }

    /// Something has happened in it.
    pub(super) fn note(&mut self, seq: u64, to: &Destination) {
        self.shares_events |= matches!(to, Destination::Topics(topics) if topics.len() > 1);
        self.last = seq;
        self.touched = seq;
    }

    pub(super) fn push(&mut self, event: E, to: &Destination) {
        self.note(event.seq(), to);
        self.first = self.first.min(event.seq());
        self.bytes += event.bytes();
        self.events.push_back(event);
    }

    /// Forgets the oldest event. An event that had expired is not missed by anyone.
    pub(super) fn forget_oldest(&mut self, now: Instant, at: u64) -> Option<E> {
        let oldest = self.events.pop_front()?;
        self.bytes -= oldest.bytes();
        if !oldest.is_expired(now) {
            self.forgotten_to = oldest.seq();
            self.forgotten += 1;
            self.forgotten_at = at;
        }
        if self.events.is_empty() {
            // Not every topic comes back.
            self.events = VecDeque::new();
        }
        Some(oldest)
    }

    /// Whether it is beyond its limits of events or bytes.
    pub(super) fn is_too_large(&self) -> bool {
        self.events.len() > self.limits.events_max || self.bytes > self.limits.bytes_max
    }

    /// Whether events are gone that a reader up to `upto` has still to come to: to the history
    /// readers are shards, and events are on their way to them.
    pub(super) fn forgot_beyond(&self, upto: u64) -> bool {
        self.forgotten_to > upto
    }

    /// What a reader at `place` has lost up to `upto` and not been told of.
    pub(super) fn lost_since(&self, place: Place, upto: u64) -> Option<Loss> {
        let Place { after, told_at } = place;
        if self.forgotten_to <= after || self.forgotten_at < told_at {
            return None;
        }
        if self.forgot_beyond(upto) {
            let is_all_beyond = self.first > upto && self.known_from <= after;
            return (!is_all_beyond).then_some(Loss { to: upto, count: None, by_damage: false });
        }
        let to = self.forgotten_to;
        let is_known = after < self.first && after >= self.known_from && told_at == 0;
        if !is_known {
            return Some(Loss { to, count: None, by_damage: false });
        }
        // A retained value is still there; one that the reader has is none of those that are gone.
        let is_kept = |value: &&Retained<E>| value.event.seq() > after && value.event.seq() <= to;
        let kept = self.retained.iter().filter(is_kept).count() as u64;
        let count = self.forgotten.saturating_sub(kept);
        (count > 0).then_some(Loss { to, count: Some(count), by_damage: false })
    }

    /// The events, for others in their place.
    pub(super) fn map<T>(self, event: &impl Fn(&E) -> T) -> TopicHistory<T> {
        let retained = self.retained.into_iter();
        let retained =
            retained.map(|Retained { name, event: of }| Retained { name, event: event(&of) });
        TopicHistory {
            name: self.name,
            limits: self.limits,
            events: self.events.iter().map(event).collect(),
            bytes: self.bytes,
            retained: retained.collect(),
            last: self.last,
            touched: self.touched,
            known_from: self.known_from,
            first: self.first,
            forgotten_to: self.forgotten_to,
            forgotten: self.forgotten,
            forgotten_at: self.forgotten_at,
            shares_events: self.shares_events,
            links: self.links,
            class: self.class,
        }
    }

    /// Everything that it holds.
    pub(super) fn held(&self) -> impl Iterator<Item = &E> {
        self.retained.iter().map(|value| &value.event).chain(&self.events)
    }
}

impl TopicHistory<Arc<Event>> {
    /// Whether its oldest event is older than it may be.
    pub(super) fn is_too_old(&self, now: Instant) -> bool {
        let age = |oldest: &Arc<Event>| now.saturating_duration_since(oldest.accepted);
        self.events.front().is_some_and(|oldest| age(oldest) > self.limits.age_max)
    }

    /// What there is after `after`, in order. Expired events are among it.
    pub(super) fn since(&self, past: Past, after: u64) -> impl Iterator<Item = &Arc<Event>> {
        let (kept_from, begin) = match past {
            Past::Retained => (u64::MAX, self.events.len()),
            Past::Events => (
                self.events.front().map_or(u64::MAX, |oldest| oldest.seq),
                self.events.partition_point(|event| event.seq <= after),
            ),
        };
        // A retained value outlives its place among the events.
        let retained = self.retained.iter().map(|retained| &retained.event);
        retained
            .filter(move |event| event.seq > after && event.seq < kept_from)
            .chain(self.events.range(begin..))
    }
}
