//! The past: what has been published and may be asked for again. Bounded for each topic, and for all
//! together; what is gone is known to be gone.
//!
//! Owns the retained values too. Knows no clock, no socket and no runtime. Called by the hub under
//! its lock: to append is to move a few pointers, to read takes a bounded page.
//!
//! Every topic has its own queue, so a reader of few topics pays for those only. Three orders go
//! through the topics: by name, to find one; by their last event, so that a reader of a pattern looks
//! at what has changed since its cursor and at nothing else; and by size, so that, when everything
//! together is too much, the topic that holds the most gives first.

mod limits;
mod list;
mod overview;
mod page;
mod retained;
#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests;
mod topic;

pub use limits::{Bounds, Limits};
pub use overview::{TopicPage, TopicReport};
pub use page::{Loss, Page, PageBounds, PageRequest, Past, Place, Wants};
pub use retained::{TopicValue, bytes_to_retain};

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashTable;
use slab::Slab;

use self::list::{List, Through};
use self::topic::{TopicHistory, TopicKey};
use crate::event::{Destination, Event};
use crate::sync::Weigh as _;
use crate::topic::Topic;

/// What an event takes beyond its frame and its topics' names: counters, a place in a queue, room that
/// the encoder left, and what the allocator adds. Measured: with it, `bytes_max` is what the process
/// grows by.
const EVENT_BYTES: usize = size_of::<Event>() + 120;

/// What a topic takes beyond its name and its events.
const TOPIC_BYTES: usize = size_of::<TopicHistory<Arc<Event>>>() + 2 * size_of::<usize>();

/// The topic of what goes to everyone: always there.
const EVERYONE: TopicKey = 0;

/// A topic with nothing but its watermark may stay as long as all of these take no more than this
/// part of all bytes.
const EMPTY_SHARE: usize = 8;

/// Sizes are told apart by a quarter of their power of two: see [`class_of`].
const CLASSES: usize = 4 * usize::BITS as usize;

/// The class of topics without events and with a retained value, which keeps them.
const RETAINING: usize = CLASSES;

/// What stands for an event: itself, or while a log is read, where in the log it is.
pub trait Kept: Clone {
    /// The event's place in the order.
    fn seq(&self) -> u64;
    /// Bytes that the event counts for where it is kept.
    fn bytes(&self) -> usize;
    /// Whether somebody who comes at `now` has no use for it.
    fn is_expired(&self, now: Instant) -> bool;
}

impl Kept for Arc<Event> {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn bytes(&self) -> usize {
        self.weight() + EVENT_BYTES
    }

    fn is_expired(&self, now: Instant) -> bool {
        Event::is_expired(self, now)
    }
}

/// Bytes that an event counts for where it is kept. `frame` is its chunk.
pub fn kept_bytes(frame: &[u8], to: &Destination) -> usize {
    frame.len() + to.size() + EVENT_BYTES
}

/// Topics of a class differ in size by less than a quarter; 0 is for those without events.
fn class_of(bytes: usize) -> usize {
    match bytes.checked_ilog2() {
        None => 0,
        Some(power @ 0..2) => 1 + power as usize,
        Some(power) => 4 * power as usize + ((bytes >> (power - 2)) & 3),
    }
}

/// Whether an event becomes the value that new subscribers of its topics are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retain {
    /// It replaces the value of this event name.
    Keep(Box<str>),
    /// It removes the value of this event name.
    Delete(Box<str>),
}

/// What the history holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events; one with several topics counts for each.
    pub events: usize,
    /// Bytes of `bytes_max` in use.
    pub bytes: usize,
    /// Topics that something is known of.
    pub topics: usize,
    /// Retained values.
    pub retained: usize,
    /// Bytes of `retained_bytes_max` in use.
    pub retained_bytes: usize,
}

/// All topics' past.
pub struct History<E = Arc<Event>> {
    bounds: Bounds,
    topics: Slab<TopicHistory<E>>,
    by_name: HashTable<TopicKey>,
    hasher: RandomState,
    /// All topics but [`EVERYONE`], by their last event: those without a retained value and those
    /// with one.
    recency: [List; 2],
    /// The same topics by their size. Those of class 0 have nothing, in the order in which they came
    /// to that.
    sizes: Box<[List]>,
    /// No class above this one, but [`RETAINING`], has a topic.
    largest: usize,
    /// Topics with a retained value.
    retaining: BTreeSet<TopicKey>,
    totals: Totals,
    /// Bytes that topics of class 0 take.
    empty_bytes: usize,
    /// Of topics that are not here, nothing is known up to this `seq`.
    unknown_to: u64,
    /// Counts occasions to forget: tells readers what is news to them.
    forgettings: u64,
    /// `forgettings` when `unknown_to` last rose.
    unknown_at: u64,
    /// The end of the last hole in the log, and `forgettings` when it was found.
    damaged_to: u64,
    damaged_at: u64,
    /// `seq` of the last event.
    newest: u64,
    /// The topic whose name was asked for last: most often that of the next event.
    named: TopicKey,
    /// Where the next round of [`History::expire`] goes on.
    expire_at: TopicKey,
}

impl<E: Kept> History<E> {
    /// A history of an order that begins with `unknown_to + 1`; 0 where it is new.
    pub fn new(bounds: Bounds, unknown_to: u64) -> Self {
        let everyone = TopicHistory::new(None, bounds.topic, unknown_to, 0);
        let mut topics = Slab::new();
        topics.insert(everyone);
        Self {
            bounds,
            topics,
            by_name: HashTable::new(),
            hasher: RandomState::new(),
            recency: [List::new(Through::Recency); 2],
            sizes: vec![List::new(Through::Size); CLASSES + 1].into(),
            largest: 0,
            retaining: BTreeSet::new(),
            totals: Totals::default(),
            empty_bytes: 0,
            unknown_to,
            forgettings: 0,
            unknown_at: 0,
            damaged_to: 0,
            damaged_at: 0,
            newest: unknown_to,
            named: EVERYONE,
            expire_at: 0,
        }
    }

    /// What is held now.
    pub fn totals(&self) -> Totals {
        Totals { topics: self.by_name.len(), ..self.totals }
    }

    /// Puts other bounds in place. What is beyond them goes with the next event of its topic, or with
    /// [`History::expire`]; what is too old is not shown from now on. Looks at every topic.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        for (_, topic) in &mut self.topics {
            topic.limits = match &topic.name {
                Some(name) => self.bounds.limits(name),
                None => self.bounds.topic,
            };
        }
    }

    /// Makes the names of an event's topics those that are here already, so that they are kept once.
    pub fn share_names(&mut self, to: &mut Destination) {
        let Destination::Topics(topics) = to else { return };
        for topic in topics {
            if let Some(name) = self.name(topic.as_str()) {
                *topic = name;
            }
        }
    }

    /// The name that is here already.
    pub fn name(&mut self, text: &str) -> Option<Topic> {
        self.named = self.find(text)?;
        self.topics[self.named].name.clone()
    }

    /// Takes the next event of the order, which goes `to` these topics. Forgets what the bounds do not
    /// allow together with it.
    pub fn keep(&mut self, event: &E, to: &Destination, retain: Option<&Retain>, now: Instant) {
        self.newest = event.seq();
        match to {
            Destination::Everyone => self.append_to(EVERYONE, event, to, retain, now),
            Destination::Topics(topics) => {
                for topic in topics {
                    let key = self.find_or_add(topic);
                    self.append_to(key, event, to, retain, now);
                }
            }
        }
        self.enforce_bounds(now);
    }

    /// Begins a topic behind `seq`. Nothing is known of what may have been before.
    pub fn begin(&mut self, topic: &Topic, seq: u64) {
        let key = self.find_or_add(topic);
        self.forgettings += 1;
        self.topics[key].begin(seq, self.forgettings);
    }

    /// The log has come to its end: what was before `first` is not known any more.
    pub fn begins_after(&mut self, unknown_to: u64) {
        self.forgettings += 1;
        self.unknown_at = self.forgettings;
        self.unknown_to = self.unknown_to.max(unknown_to);
        for (_, topic) in &mut self.topics {
            topic.known_only_after(unknown_to, self.forgettings);
        }
    }

    /// The log has a hole up to `to`: nobody knows whose events were in it.
    pub fn declare_damage(&mut self, to: u64) {
        self.forgettings += 1;
        (self.damaged_to, self.damaged_at) = (to, self.forgettings);
        self.newest = self.newest.max(to);
    }

    fn find(&self, topic: &str) -> Option<TopicKey> {
        let hash = self.hasher.hash_one(topic);
        self.by_name.find(hash, |key| self.topics[*key].text() == topic).copied()
    }

    fn find_or_add(&mut self, topic: &Topic) -> TopicKey {
        let named = self.topics.get(self.named).and_then(|named| named.name.as_ref());
        if named.is_some_and(|named| named.is_same(topic)) {
            return self.named;
        }
        if let Some(key) = self.find(topic.as_str()) {
            return key;
        }
        let limits = self.bounds.limits(topic);
        let entry =
            TopicHistory::new(Some(topic.clone()), limits, self.unknown_to, self.unknown_at);
        self.totals.bytes += entry.own_bytes();
        self.empty_bytes += entry.own_bytes();
        let key = self.topics.insert(entry);
        let (topics, hasher) = (&self.topics, &self.hasher);
        let hash_of = |key: &TopicKey| hasher.hash_one(topics[*key].text());
        self.by_name.insert_unique(hasher.hash_one(topic.as_str()), key, hash_of);
        self.recency[0].push(&mut self.topics, key);
        self.sizes[0].push(&mut self.topics, key);
        key
    }

    fn append_to(
        &mut self,
        key: TopicKey,
        event: &E,
        to: &Destination,
        retain: Option<&Retain>,
        now: Instant,
    ) {
        let topic = &mut self.topics[key];
        topic.push(event.clone(), to);
        self.totals.events += 1;
        self.totals.bytes += event.bytes();
        if let Some(retain) = retain {
            self.retain(key, event, retain);
        }
        if key != EVERYONE {
            let retaining = usize::from(self.retaining.contains(&key));
            self.recency[retaining].move_to_end(&mut self.topics, key);
        }
        // Age can wait: for `expire`, or for somebody who reads the topic.
        self.trim(key, now, TopicHistory::is_too_large);
    }

    /// Forgets the oldest of a topic while it is beyond a limit.
    fn trim(&mut self, key: TopicKey, now: Instant, is_beyond: impl Fn(&TopicHistory<E>) -> bool) {
        self.forgettings += 1;
        while is_beyond(&self.topics[key]) && self.forget_oldest(key, now) {}
        self.reclass(key);
    }

    /// Forgets the oldest event of a topic, if it has any.
    fn forget_oldest(&mut self, key: TopicKey, now: Instant) -> bool {
        let Some(event) = self.topics[key].forget_oldest(now, self.forgettings) else {
            return false;
        };
        self.totals.events -= 1;
        self.totals.bytes -= event.bytes();
        true
    }

    /// Puts a topic into the list of its size.
    fn reclass(&mut self, key: TopicKey) {
        let topic = &mut self.topics[key];
        let new = match class_of(topic.bytes) {
            0 if !topic.retained.is_empty() => RETAINING,
            class => class,
        };
        let old = std::mem::replace(&mut topic.class, new);
        if key == EVERYONE || old == new {
            return;
        }
        let own_bytes = topic.own_bytes();
        if new == 0 {
            self.empty_bytes += own_bytes;
        } else if old == 0 {
            self.empty_bytes -= own_bytes;
        }
        self.sizes[old].remove(&mut self.topics, key);
        self.sizes[new].push(&mut self.topics, key);
        if new != RETAINING {
            self.largest = self.largest.max(new);
        }
    }

    fn enforce_bounds(&mut self, now: Instant) {
        while self.by_name.len() > self.bounds.topics_max && self.drop_a_topic() {}
        while self.empty_bytes > self.bounds.bytes_max / EMPTY_SHARE && self.drop_an_empty_topic() {
        }
        while self.totals.bytes > self.bounds.bytes_max {
            if !self.forget_of_the_largest(now) && !self.drop_an_empty_topic() {
                return;
            }
        }
    }

    /// Forgets the oldest event of a topic that holds about as much as any. What goes to everyone
    /// gives like the others.
    fn forget_of_the_largest(&mut self, now: Instant) -> bool {
        while self.largest > 0 && self.sizes[self.largest].first().is_none() {
            self.largest -= 1;
        }
        let key = match self.sizes[self.largest].first() {
            Some(key) if class_of(self.topics[EVERYONE].bytes) <= self.largest => key,
            _ => EVERYONE,
        };
        self.forgettings += 1;
        if !self.forget_oldest(key, now) {
            return false;
        }
        if key != EVERYONE && class_of(self.topics[key].bytes) == self.topics[key].class {
            self.sizes[self.largest].move_to_end(&mut self.topics, key);
        }
        self.reclass(key);
        true
    }

    /// Makes room for another topic: one without events goes, else the one that has been quiet for
    /// longest. Topics with a retained value stay: those are bounded by their own bytes.
    fn drop_a_topic(&mut self) -> bool {
        self.drop_an_empty_topic() || self.drop_first(self.recency[0])
    }

    fn drop_an_empty_topic(&mut self) -> bool {
        self.drop_first(self.sizes[0])
    }

    fn drop_first(&mut self, list: List) -> bool {
        let Some(key) = list.first() else { return false };
        let topic = &self.topics[key];
        // Who asks for this topic later is told that something may be gone.
        self.forgettings += 1;
        self.unknown_at = self.forgettings;
        self.unknown_to = self.unknown_to.max(topic.last);
        self.totals.events -= topic.len();
        self.totals.bytes -= topic.bytes + topic.own_bytes();
        if topic.class == 0 {
            self.empty_bytes -= topic.own_bytes();
        }
        let (class, hash) = (topic.class, self.hasher.hash_one(topic.text()));
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == key) {
            entry.remove();
        }
        self.sizes[class].remove(&mut self.topics, key);
        self.recency[0].remove(&mut self.topics, key);
        self.topics.remove(key);
        true
    }
}

impl<E: Kept> History<E> {
    /// Everything that is held, in no order. What several topics have comes several times.
    pub fn held(&self) -> impl Iterator<Item = &E> {
        self.topics.iter().flat_map(|(_, topic)| topic.held())
    }

    /// The same past, with others in the place of what stands for the events.
    pub fn map<T>(self, event: impl Fn(&E) -> T) -> History<T> {
        let topics = self.topics.into_iter();
        History {
            bounds: self.bounds,
            topics: topics.map(|(key, topic)| (key, topic.map(&event))).collect(),
            by_name: self.by_name,
            hasher: self.hasher,
            recency: self.recency,
            sizes: self.sizes,
            largest: self.largest,
            retaining: self.retaining,
            totals: self.totals,
            empty_bytes: self.empty_bytes,
            unknown_to: self.unknown_to,
            forgettings: self.forgettings,
            unknown_at: self.unknown_at,
            damaged_to: self.damaged_to,
            damaged_at: self.damaged_at,
            newest: self.newest,
            named: self.named,
            expire_at: self.expire_at,
        }
    }
}

impl History {
    /// Takes the next event of the order: see [`History::keep`].
    pub fn append(&mut self, event: &Arc<Event>, retain: Option<&Retain>, now: Instant) {
        self.keep(event, &event.to, retain, now);
    }

    /// Forgets what is too old, of the next `most` topics. Readers never see what is too old, so
    /// this is about memory only.
    pub fn expire(&mut self, most: usize, now: Instant) {
        let end = self.topics.capacity();
        for _ in 0..most.min(end) {
            if self.expire_at >= end {
                self.expire_at = 0;
            }
            if self.topics.contains(self.expire_at) {
                self.forget_old(self.expire_at, now);
            }
            self.expire_at += 1;
        }
        self.enforce_bounds(now);
    }

    /// Forgets what of a topic is too old.
    fn forget_old(&mut self, key: TopicKey, now: Instant) {
        self.trim(key, now, |topic| topic.is_too_large() || topic.is_too_old(now));
        self.drop_expired_retained(key, now);
    }
}
