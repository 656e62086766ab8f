//! The hub: one total order over all topics. Gives each event its id, seals its frame, appends it to
//! the history and queues it to every shard, in one short critical section.
//!
//! Knows no clock, no socket and no runtime. Refuses a batch that there is no room for, before
//! anything of it is ordered. Called by `publish`'s callers, and by shards for the past.

mod bounds;
mod keys;
mod overview;
mod recovery;
mod submission;
#[cfg(test)]
mod tests;
mod values;
mod waiting;

pub use keys::{KEY_BYTES_MAX, Key, KeyBounds};
pub use recovery::{Recovery, Restored};
pub use submission::{Receipt, Refused, Submission};
pub use values::RetainedValue;
pub use waiting::{LogRecord, OrderedBatch, WallClock};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::keys::{Keys, Published};
use self::submission::Seqs;
use self::waiting::{OrderedEvent, Waiting};
use crate::event::Event;
use crate::history::{Bounds, History, Loss, Page, PageRequest, Place, Retain, Totals, Wants};
use crate::sse::{Epoch, EventId, Gzip};
use crate::sync::{Mailbox, Outcome, Settled, Ticket};
use crate::topic::Topic;

/// Topics looked through for what is too old with each [`Hub::tidy`].
const EXPIRE_TOPICS: usize = 5_000;

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
    /// Told when something has begun to wait for the log.
    to_log: Condvar,
    mailboxes: Box<[Arc<EventMailbox>]>,
}

/// What is only touched in order.
struct Order {
    history: History,
    keys: Keys,
    /// The last `seq` that was given. Where there is no log, that is the head.
    ordered: u64,
    /// What has its `seq` and is not in the log yet; absent where there is no log.
    waiting: Option<Waiting>,
    /// Whether the log has failed.
    failed: bool,
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

impl Found {
    /// Its `seq`, where the first fresh one has `first`.
    fn seq(&self, first: u64) -> u64 {
        match self {
            Self::Published(seq) => *seq,
            Self::Fresh(at) => first + *at as u64,
        }
    }
}

impl Hub {
    /// A hub in front of these shards' mailboxes, without a log. `epoch` must be fresh: ids of an
    /// epoch that has been in use before would name two different events.
    pub fn new(
        epoch: Epoch,
        mailboxes: impl IntoIterator<Item = Arc<EventMailbox>>,
        history: Bounds,
        keys: KeyBounds,
    ) -> Self {
        let (history, keys) = (History::new(history, 0), Keys::new(keys));
        let order = Order { history, keys, ordered: 0, waiting: None, failed: false };
        Self::of(epoch, mailboxes, order)
    }

    /// A hub that goes on where a log ends: see [`Recovery`].
    pub fn with_log(
        epoch: Epoch,
        mailboxes: impl IntoIterator<Item = Arc<EventMailbox>>,
        restored: Restored,
    ) -> Self {
        let Restored { history, keys, head } = restored;
        let waiting = Some(Waiting::default());
        let order = Order { history, keys, ordered: head, waiting, failed: false };
        Self::of(epoch, mailboxes, order)
    }

    fn of(
        epoch: Epoch,
        mailboxes: impl IntoIterator<Item = Arc<EventMailbox>>,
        order: Order,
    ) -> Self {
        Self {
            epoch,
            head: AtomicU64::new(order.ordered),
            retains: AtomicBool::new(order.history.totals().retained > 0),
            order: Mutex::new(order),
            to_log: Condvar::new(),
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
    /// is refused nothing. Where there is a log, that waits until the batch is in it, and the receipt
    /// says when. Events whose key is known are not published again, nor is anything when
    /// `key`, the whole request's, is. `now` is when the request was accepted. Never waits for a
    /// consumer.
    pub fn publish(
        &self,
        batch: Vec<Submission>,
        key: Option<Key>,
        now: Instant,
    ) -> Result<Receipt, Refused> {
        let receipt = self.order().publish(self, batch, key, now)?;
        match receipt.logged {
            Some(_) => self.to_log.notify_one(),
            None => self.wake_shards(),
        }
        Ok(receipt)
    }

    fn wake_shards(&self) {
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
    }

    /// Waits until something is to be logged, or for so long. Called by the log's thread.
    pub fn wait_for_log(&self, longest: Duration) -> bool {
        let is_idle = |order: &mut Order| {
            order.waiting.as_ref().is_none_or(|waiting| waiting.batches.is_empty())
        };
        let order = self.to_log.wait_timeout_while(self.order(), longest, is_idle);
        let (mut order, _) = order.unwrap_or_else(PoisonError::into_inner);
        !is_idle(&mut order)
    }

    /// Shows the log's thread what is to be logged, oldest first, as long as it `takes` it. Returns
    /// how many batches it has taken.
    pub fn show_to_log(&self, takes: impl FnMut(&OrderedBatch) -> bool) -> usize {
        let order = self.order();
        let batches = order.waiting.iter().flat_map(|waiting| &waiting.batches);
        batches.map(takes).take_while(|taken| *taken).count()
    }

    /// Delivers the oldest batches, which are in the log now.
    pub fn logged(&self, batches: usize, now: Instant) {
        self.order().deliver_logged(self, batches, now);
        self.wake_shards();
    }

    /// Nothing that waits has come into the log: it is as if it had never been ordered. After
    /// [`Outcome::Failed`] nothing is taken any more.
    pub fn not_logged(&self, outcome: Outcome) {
        self.order().take_back(self, outcome);
    }

    /// Begins a topic that is new: whoever has a cursor from before is told that something is missing.
    /// Returns where it begins.
    pub fn begin(&self, topic: &Topic) -> EventId {
        let mut order = self.order();
        let seq = order.ordered;
        order.history.begin(topic, seq);
        self.id(seq)
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
    pub fn lost(&self, wants: Wants<'_>, place: Place, upto: u64, now: Instant) -> Option<Loss> {
        self.order().history.lost(wants, place, upto, now)
    }

    /// The next page of a subscriber's past: see [`History::page`].
    pub fn page(&self, request: PageRequest<'_>, now: Instant) -> Page {
        self.order().history.page(request, now)
    }

    /// Forgets a part of what is too old, and says what the history holds then. Called every second.
    pub fn tidy(&self, now: Instant) -> Totals {
        let mut order = self.order();
        order.history.expire(EXPIRE_TOPICS, now);
        order.keys.forget_old(now);
        order.history.totals()
    }

    /// Whether the log has failed.
    pub fn has_failed(&self) -> bool {
        self.order().failed
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
        if self.failed {
            return Err(Refused::LogFailed);
        }
        let epoch = hub.epoch;
        if let Some(run) = key.as_ref().and_then(|key| self.find(key, now)) {
            let logged = self.join(run.first);
            return Ok(Receipt { epoch, seqs: Seqs::Run(run), fresh: 0, logged });
        }
        let Sorted { fresh, places } = self.sort_out(batch, now);
        self.check_room(hub, &fresh, key.is_some())?;
        let run = Published { first: self.ordered + 1, count: fresh.len() };
        let seqs = match places.is_empty() {
            true => Seqs::Run(run),
            false => Seqs::Each(places.iter().map(|found| found.seq(run.first)).collect()),
        };
        if let Some(key) = &key {
            self.keys.add(key.clone(), run, now);
        }
        let events: Vec<_> = (run.first..)
            .zip(fresh)
            .map(|(seq, submission)| self.order_one(hub, seq, submission, now))
            .collect();
        self.ordered += run.count as u64;
        let logged = match &mut self.waiting {
            None => {
                self.deliver(hub, events, now);
                None
            }
            Some(waiting) if !events.is_empty() => {
                let ticket = Ticket::new();
                let tickets = vec![Arc::clone(&ticket)];
                waiting.push(OrderedBatch { events, run, key, tickets });
                Some(Settled(ticket))
            }
            // All of it was published before, and the last of it may be on its way into the log.
            Some(_) => places.iter().map(|found| found.seq(0)).max().and_then(|seq| self.join(seq)),
        };
        Ok(Receipt { epoch, seqs, fresh: run.count, logged })
    }

    /// Has a publisher wait for an event that it has sent before.
    fn join(&mut self, seq: u64) -> Option<Settled> {
        self.waiting.as_mut()?.join(seq).map(Settled)
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
        let fresh_bytes: usize = fresh.iter().map(Submission::weight).sum();
        // What waits for the log has its room already.
        let waiting = self.waiting.as_ref();
        let (ahead, ahead_bytes) = waiting.map_or((0, 0), |ahead| (ahead.events, ahead.bytes));
        let (events, bytes) = (ahead + fresh.len(), ahead_bytes + fresh_bytes);
        if !hub.mailboxes.iter().all(|mailbox| mailbox.has_room(events, bytes)) {
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
        let retained_ahead = waiting.map_or(0, |ahead| ahead.retained_bytes);
        match retained.sum::<usize>() {
            0 => Ok(()),
            more if self.history.has_room_to_retain(retained_ahead + more) => Ok(()),
            _ => Err(Refused::RetainedFull),
        }
    }

    /// Gives an event its place.
    fn order_one(
        &mut self,
        hub: &Hub,
        seq: u64,
        submission: Submission,
        now: Instant,
    ) -> OrderedEvent {
        let Submission { mut to, draft, ttl, retain, key, conflate, is_last } = submission;
        self.history.share_names(&mut to);
        let frame = draft.seal(hub.id(seq));
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        if let Some(key) = &key {
            self.keys.add(key.clone(), Published { first: seq, count: 1 }, now);
        }
        let event = Arc::new(Event {
            seq,
            to,
            frame,
            gzip: Gzip::default(),
            accepted: now,
            expires,
            conflate,
            is_last,
        });
        OrderedEvent { event, retain, key }
    }

    /// Appends events to the history and queues them to every shard.
    fn deliver(&mut self, hub: &Hub, events: Vec<OrderedEvent>, now: Instant) {
        let Some(last) = events.last().map(|last| last.event.seq) else { return };
        for OrderedEvent { event, retain, .. } in events {
            self.history.append(&event, retain.as_ref(), now);
            for mailbox in &hub.mailboxes {
                mailbox.push(Arc::clone(&event));
            }
        }
        hub.head.store(last, Ordering::Release);
        hub.retains.store(self.history.totals().retained > 0, Ordering::Release);
    }

    fn deliver_logged(&mut self, hub: &Hub, batches: usize, now: Instant) {
        for _ in 0..batches {
            let Some(batch) = self.waiting.as_mut().and_then(Waiting::pop) else { return };
            let OrderedBatch { events, tickets, .. } = batch;
            self.deliver(hub, events, now);
            tickets.iter().for_each(|ticket| ticket.settle(Outcome::Logged));
        }
    }

    fn take_back(&mut self, hub: &Hub, outcome: Outcome) {
        self.failed |= outcome == Outcome::Failed;
        while let Some(batch) = self.waiting.as_mut().and_then(Waiting::pop) {
            for key in batch.events.iter().filter_map(|ordered| ordered.key.as_ref()) {
                self.keys.remove(key);
            }
            if let Some(key) = &batch.key {
                self.keys.remove(key);
            }
            batch.tickets.iter().for_each(|ticket| ticket.settle(outcome));
        }
        self.ordered = hub.head();
    }
}
