//! The hub: one total order over all topics. Gives each event its id, seals its frame, appends it to
//! the history and queues it to every shard, in one short critical section.
//!
//! Knows no clock, no socket and no runtime. Refuses a batch that there is no room for, before
//! anything of it is ordered. Called by `publish`'s callers, and by shards for the past.

mod keys;
#[cfg(test)]
mod tests;

pub use keys::{KEY_BYTES_MAX, Key, KeyBounds};

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::keys::{Keys, Published};
use crate::event::{Destination, Event};
use crate::history::{Bounds, History, Loss, Page, PageBounds, Past, Place, Retain, Totals};
use crate::sse::{Draft, Epoch, EventId};
use crate::sync::Mailbox;
use crate::topic::Filter;

/// Topics looked through for what is too old with each [`Hub::tidy`].
const EXPIRE_TOPICS: usize = 5_000;

/// An event that has everything but its place in the order.
#[derive(Debug)]
pub struct Submission {
    /// Where it goes.
    pub to: Destination,
    /// Its bytes without an id.
    pub draft: Draft,
    /// Time after which those who come later are not told of it.
    pub ttl: Option<Duration>,
    /// Whether it becomes its topics' value.
    pub retain: Option<Retain>,
    /// Recognises it when it is sent again.
    pub key: Option<Key>,
}

/// Why nothing of a batch was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Some shard's mailbox has no room. The publisher should try again after a moment.
    Overloaded,
    /// There are more idempotency keys than may be remembered. The publisher should try again when
    /// some have been forgotten.
    TooManyKeys,
    /// Retained values would take more than they may. Nothing but removing some helps.
    RetainedFull,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => write!(f, "the gateway has more events waiting than it may hold"),
            Self::TooManyKeys => {
                write!(f, "the gateway remembers as many idempotency keys as it may")
            }
            Self::RetainedFull => {
                write!(f, "the retained values of all topics take as many bytes as they may")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The ids of a published batch, in the batch's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    epoch: Epoch,
    seqs: Seqs,
    /// How many of the events were published now; the others had been before.
    pub fresh: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seqs {
    Run(Published),
    Each(Vec<u64>),
}

impl Receipt {
    /// The ids, in the order of the batch.
    pub fn ids(&self) -> impl Iterator<Item = EventId> {
        let (run, each) = match &self.seqs {
            Seqs::Run(run) => (run.first..run.first + run.count as u64, &[][..]),
            Seqs::Each(each) => (0..0, &each[..]),
        };
        run.chain(each.iter().copied()).map(|seq| EventId { epoch: self.epoch, seq })
    }
}

/// One shard's side of the hub.
pub type EventMailbox = Mailbox<Arc<Event>>;

/// The one order of events. Shared by all threads.
pub struct Hub {
    epoch: Epoch,
    /// The last `seq` that every mailbox has. Written under `order`, read without it.
    head: AtomicU64,
    /// Whether there are retained values. Written under `order`, read without it.
    retains: AtomicBool,
    /// Held while a batch gets its ids and goes to every mailbox: this is what makes it one order.
    order: Mutex<Order>,
    mailboxes: Box<[Arc<EventMailbox>]>,
}

/// What is only touched in order.
struct Order {
    history: History,
    keys: Keys,
}

/// What is new of a batch, and what was published before.
struct Sorted {
    fresh: Vec<Submission>,
    /// Where each event of the batch is: published before, or at this place in `fresh`. Empty where
    /// all of it is fresh.
    places: Vec<Found>,
}

enum Found {
    Published(u64),
    Fresh(usize),
}

impl Hub {
    /// A hub in front of these shards' mailboxes. `epoch` must be fresh: ids of an epoch that has
    /// been in use before would name two different events.
    pub fn new(
        epoch: Epoch,
        mailboxes: impl IntoIterator<Item = Arc<EventMailbox>>,
        history: Bounds,
        keys: KeyBounds,
    ) -> Self {
        Self {
            epoch,
            head: AtomicU64::new(0),
            retains: AtomicBool::new(false),
            order: Mutex::new(Order { history: History::new(history, 0), keys: Keys::new(keys) }),
            mailboxes: mailboxes.into_iter().collect(),
        }
    }

    /// The incarnation of this hub's order.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The id of a place in this hub's order.
    pub fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// Orders a batch, appends it to the history and queues it to every shard: all of it, or when it
    /// is refused nothing. Events whose key is known are not published again, nor is anything when
    /// `key`, the whole request's, is. `now` is when the request was accepted. Never waits for a
    /// consumer.
    pub fn publish(
        &self,
        batch: Vec<Submission>,
        key: Option<Key>,
        now: Instant,
    ) -> Result<Receipt, Refused> {
        let receipt = self.order().publish(self, batch, key, now)?;
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
        Ok(receipt)
    }

    /// The last `seq` that is in every mailbox.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Like [`Hub::head`], but also waits for a batch that is being ordered right now: a client may
    /// have got one of its events through another shard already.
    pub fn settled_head(&self) -> u64 {
        let _order = self.order();
        self.head()
    }

    /// Whether there may be retained values.
    pub fn retains(&self) -> bool {
        self.retains.load(Ordering::Acquire)
    }

    /// What a subscriber at `place` has lost of the past up to `upto`: see [`History::lost`].
    pub fn lost(&self, filters: &[Filter], place: Place, upto: u64, now: Instant) -> Option<Loss> {
        self.order().history.lost(filters, place, upto, now)
    }

    /// The next page of a subscriber's past: see [`History::page`].
    pub fn page(
        &self,
        filters: &[Filter],
        past: Past,
        place: Place,
        upto: u64,
        bounds: PageBounds,
        now: Instant,
    ) -> Page {
        self.order().history.page(filters, past, place, upto, bounds, now)
    }

    /// Forgets a part of what is too old, and says what the history holds then. Called every second.
    pub fn tidy(&self, now: Instant) -> Totals {
        let mut order = self.order();
        order.history.expire(EXPIRE_TOPICS, now);
        order.keys.forget_old(now);
        order.history.totals()
    }

    /// How full the fullest mailbox is, from 0 to 1.
    pub fn fill(&self) -> f64 {
        self.mailboxes.iter().map(|mailbox| mailbox.fill()).fold(0.0, f64::max)
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn publish(
        &mut self,
        hub: &Hub,
        batch: Vec<Submission>,
        key: Option<Key>,
        now: Instant,
    ) -> Result<Receipt, Refused> {
        let receipt = |seqs, fresh| Receipt { epoch: hub.epoch, seqs, fresh };
        if let Some(run) = key.as_ref().and_then(|key| self.find(key, now)) {
            return Ok(receipt(Seqs::Run(run), 0));
        }
        let Sorted { fresh, places } = self.sort_out(batch, now);
        self.check_room(hub, &fresh, key.is_some())?;
        let first = hub.head.load(Ordering::Relaxed) + 1;
        let run = Published { first, count: fresh.len() };
        for (seq, submission) in (first..).zip(fresh) {
            self.publish_one(hub, seq, submission, now);
        }
        hub.head.store(first + run.count as u64 - 1, Ordering::Release);
        hub.retains.store(self.history.totals().retained > 0, Ordering::Release);
        if places.is_empty() {
            if let Some(key) = key {
                self.keys.add(key, run, now);
            }
            return Ok(receipt(Seqs::Run(run), run.count));
        }
        let seq_of = |found: &Found| match found {
            Found::Published(seq) => *seq,
            Found::Fresh(at) => first + *at as u64,
        };
        Ok(receipt(Seqs::Each(places.iter().map(seq_of).collect()), run.count))
    }

    fn find(&mut self, key: &Key, now: Instant) -> Option<Published> {
        self.keys.forget_old(now);
        self.keys.find(key)
    }

    /// Takes out what has been published before, and what the batch itself has twice.
    fn sort_out(&mut self, batch: Vec<Submission>, now: Instant) -> Sorted {
        if batch.iter().all(|event| event.key.is_none()) {
            return Sorted { fresh: batch, places: Vec::new() };
        }
        let mut sorted = Sorted { fresh: Vec::new(), places: Vec::new() };
        let mut in_batch = HashMap::new();
        for event in batch {
            let at = sorted.fresh.len();
            let key = event.key.as_ref();
            let known = key.and_then(|key| self.find(key, now));
            let place = match (known, key) {
                (Some(known), _) => Found::Published(known.first),
                (None, Some(key)) => Found::Fresh(*in_batch.entry(key.clone()).or_insert(at)),
                (None, None) => Found::Fresh(at),
            };
            if matches!(place, Found::Fresh(place) if place == at) {
                sorted.fresh.push(event);
            }
            sorted.places.push(place);
        }
        sorted
    }

    fn check_room(&self, hub: &Hub, fresh: &[Submission], with_key: bool) -> Result<(), Refused> {
        let bytes = fresh.iter().map(|event| event.draft.size() + event.to.size()).sum();
        if !hub.mailboxes.iter().all(|mailbox| mailbox.has_room(fresh.len(), bytes)) {
            return Err(Refused::Overloaded);
        }
        let keys = fresh.iter().filter(|event| event.key.is_some()).count();
        if !self.keys.has_room(keys + usize::from(with_key)) {
            return Err(Refused::TooManyKeys);
        }
        let retained = fresh.iter().map(|event| match &event.retain {
            Some(Retain::Keep(name)) => {
                self.history.cost_to_retain(&event.to, name, event.draft.size())
            }
            Some(Retain::Delete(_)) | None => 0,
        });
        match retained.sum() {
            0 => Ok(()),
            more if self.history.has_room_to_retain(more) => Ok(()),
            _ => Err(Refused::RetainedFull),
        }
    }

    fn publish_one(&mut self, hub: &Hub, seq: u64, submission: Submission, now: Instant) {
        let Submission { mut to, draft, ttl, retain, key } = submission;
        let places = self.history.place(&mut to);
        let frame = draft.seal(EventId { epoch: hub.epoch, seq });
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        let event = Arc::new(Event { seq, to, frame, accepted: now, expires });
        self.history.append(&event, places, retain.as_ref(), now);
        for mailbox in &hub.mailboxes {
            mailbox.push(Arc::clone(&event));
        }
        if let Some(key) = key {
            self.keys.add(key, Published { first: seq, count: 1 }, now);
        }
    }
}
