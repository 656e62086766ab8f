//! The hub: one total order over all topics. Gives each event its id, seals its frame and queues it
//! to every shard, in one short critical section.
//!
//! Knows no clock, no socket and no runtime. Refuses a batch that some shard has no room for,
//! before anything of it is ordered. Called by `publish`'s callers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::sse::{Draft, Epoch, EventId, Frame};
use crate::sync::{Mailbox, Weigh};
use crate::topic::Topic;

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To every stream.
    Everyone,
    /// To the streams that subscribe to one of these topics, once each.
    Topics(Box<[Topic]>),
}

/// An ordered, encoded event: what travels to the shards, shared by all of them.
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
}

impl Weigh for Arc<Event> {
    fn weight(&self) -> usize {
        self.frame.size() + self.to.size()
    }
}

impl Destination {
    /// Bytes that the topics' names take: an event keeps them alive wherever it waits.
    pub fn size(&self) -> usize {
        match self {
            Self::Everyone => 0,
            Self::Topics(topics) => topics.iter().map(|topic| topic.as_str().len()).sum(),
        }
    }
}

/// An event that has everything but its place in the order.
#[derive(Debug)]
pub struct Submission {
    /// Where it goes.
    pub to: Destination,
    /// Its bytes without an id.
    pub draft: Draft,
}

/// Some shard's mailbox has no room for the batch: nothing of it was published. The publisher
/// should try again after a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway has more events waiting than it may hold")
    }
}

impl std::error::Error for Overloaded {}

/// The ids of a published batch: consecutive, in the batch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    epoch: Epoch,
    first: u64,
    count: usize,
}

impl Receipt {
    /// The ids, in the order of the batch.
    pub fn ids(self) -> impl Iterator<Item = EventId> {
        (self.first..).take(self.count).map(move |seq| EventId { epoch: self.epoch, seq })
    }
}

/// One shard's side of the hub.
pub type EventMailbox = Mailbox<Arc<Event>>;

/// The one order of events. Shared by all threads.
pub struct Hub {
    epoch: Epoch,
    /// The last `seq` that every mailbox has. Written under `order`, read without it.
    head: AtomicU64,
    /// Held while a batch gets its ids and goes to every mailbox: this is what makes it one order.
    order: Mutex<()>,
    mailboxes: Box<[Arc<EventMailbox>]>,
}

impl Hub {
    /// A hub in front of these shards' mailboxes. `epoch` must be fresh: ids of an epoch that has
    /// been in use before would name two different events.
    pub fn new(epoch: Epoch, mailboxes: impl IntoIterator<Item = Arc<EventMailbox>>) -> Self {
        Self {
            epoch,
            head: AtomicU64::new(0),
            order: Mutex::new(()),
            mailboxes: mailboxes.into_iter().collect(),
        }
    }

    /// The incarnation of this hub's order.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Orders a batch and queues it to every shard: all of it, or on [`Overloaded`] nothing.
    /// `now` is when the publisher's request was accepted. Never waits for a consumer.
    pub fn publish(&self, batch: Vec<Submission>, now: Instant) -> Result<Receipt, Overloaded> {
        let count = batch.len();
        let bytes = batch.iter().map(|event| event.draft.size() + event.to.size()).sum();
        let first = {
            let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.mailboxes.iter().all(|mailbox| mailbox.has_room(count, bytes)) {
                return Err(Overloaded);
            }
            let first = self.head.load(Ordering::Relaxed) + 1;
            for (seq, Submission { to, draft }) in (first..).zip(batch) {
                let frame = draft.seal(EventId { epoch: self.epoch, seq });
                let event = Arc::new(Event { seq, to, frame, accepted: now });
                for mailbox in &self.mailboxes {
                    mailbox.push(Arc::clone(&event));
                }
            }
            self.head.store(first + count as u64 - 1, Ordering::Release);
            first
        };
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
        Ok(Receipt { epoch: self.epoch, first, count })
    }

    /// The last `seq` that is in every mailbox.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Like [`Hub::head`], but also waits for a batch that is being ordered right now: a client may
    /// have got one of its events through another shard already.
    pub fn settled_head(&self) -> u64 {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.head()
    }

    /// How full the fullest mailbox is, from 0 to 1.
    pub fn fill(&self) -> f64 {
        self.mailboxes.iter().map(|mailbox| mailbox.fill()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    //! Order, all-or-nothing, and the ids a publisher is told.

    use super::*;
    use crate::sse::Fields;

    fn submission(data: &str) -> Submission {
        let draft = Draft::new(&Fields { data, ..Fields::default() });
        Submission { to: Destination::Everyone, draft }
    }

    fn hub(events_max: usize, bytes_max: usize) -> (Hub, [Arc<EventMailbox>; 2]) {
        let mailboxes = [(); 2].map(|()| Arc::new(Mailbox::new(events_max, bytes_max)));
        (Hub::new(Epoch::new(5), mailboxes.clone()), mailboxes)
    }

    #[test]
    fn every_shard_gets_every_event_in_one_order() {
        let (hub, mailboxes) = hub(8, 1 << 20);
        let receipt = hub.publish(vec![submission("a"), submission("b")], Instant::now()).unwrap();
        hub.publish(vec![submission("c")], Instant::now()).unwrap();
        let ids: Vec<_> = receipt.ids().map(|id| id.to_string()).collect();
        assert_eq!(ids, ["000000000005-1", "000000000005-2"]);
        for mailbox in mailboxes {
            let seqs: Vec<_> =
                std::iter::from_fn(|| mailbox.pop()).map(|event| event.seq).collect();
            assert_eq!(seqs, [1, 2, 3]);
        }
        assert_eq!(hub.head(), 3);
    }

    #[test]
    fn a_batch_without_room_leaves_no_trace() {
        let (hub, mailboxes) = hub(2, 1 << 20);
        mailboxes[1].push(Arc::new(Event {
            seq: 0,
            to: Destination::Everyone,
            frame: submission("x").draft.seal_without_id(),
            accepted: Instant::now(),
        }));
        let batch = vec![submission("a"), submission("b")];
        assert_eq!(hub.publish(batch, Instant::now()), Err(Overloaded));
        assert_eq!((mailboxes[0].len(), mailboxes[1].len()), (0, 1));
        assert_eq!(hub.head(), 0);
        let receipt = hub.publish(vec![submission("c")], Instant::now()).unwrap();
        assert_eq!(receipt.ids().next().unwrap().seq, 1);
    }
}
