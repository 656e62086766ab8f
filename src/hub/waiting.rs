//! Between order and delivery, where there is a log: what has its ids and is not in the log yet.
//!
//! The log's thread takes the oldest batches, writes them, and then has the hub deliver them. A batch
//! is in one write or in none. When the disk has no room, everything that waits is taken out of the
//! order again: nobody has seen any of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keys::{Key, Published};
use super::{Hub, Refused, Submission};
use crate::event::{Destination, Event};
use crate::history::{Retain, bytes_to_retain};
use crate::journal;
use crate::sync::{Outcome, Ticket, Weigh as _};

/// An event that is not delivered yet.
#[derive(Debug)]
pub(super) struct OrderedEvent {
    pub(super) event: Arc<Event>,
    pub(super) retain: Option<Retain>,
    pub(super) key: Option<Key>,
}

/// The events of one request.
#[derive(Debug)]
pub struct OrderedBatch {
    pub(super) events: Vec<OrderedEvent>,
    pub(super) run: Published,
    /// The whole request's.
    pub(super) key: Option<Key>,
    /// Those who wait for it: its publisher, and whoever has sent it again meanwhile.
    pub(super) tickets: Vec<Arc<Ticket>>,
}

/// Turns the gateway's clock into the log's, which goes on when the machine does not.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// A moment,
    pub now: Instant,
    /// and what it is in milliseconds since 1970.
    pub now_ms: u64,
}

impl WallClock {
    pub(super) fn ms(&self, at: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(at).as_millis() as u64;
        let ahead = at.saturating_duration_since(self.now).as_millis() as u64;
        self.now_ms.saturating_sub(ago).saturating_add(ahead)
    }

    /// The other way; what is too long ago for the gateway's clock was just now.
    pub(super) fn instant(&self, ms: u64) -> Instant {
        let then = match ms.checked_sub(self.now_ms) {
            Some(ahead) => self.now.checked_add(Duration::from_millis(ahead)),
            None => self.now.checked_sub(Duration::from_millis(self.now_ms - ms)),
        };
        then.unwrap_or(self.now)
    }
}

impl OrderedBatch {
    /// The batch as the log keeps it. A request's key is with each of its events.
    pub fn records(&self, clock: WallClock) -> impl Iterator<Item = LogRecord<'_>> {
        self.events.iter().map(move |ordered| {
            let event = &*ordered.event;
            LogRecord {
                seq: event.seq,
                accepted_ms: clock.ms(event.accepted),
                expires_ms: event.expires.map(|expires| clock.ms(expires)),
                event,
                retain: ordered.retain.as_ref(),
                key: ordered.key.as_ref().or(self.key.as_ref()).map(Key::to_log),
            }
        })
    }

    pub(super) fn weight(&self) -> usize {
        self.events.iter().map(|ordered| ordered.event.weight()).sum()
    }

    /// Bytes that its values take at most, whatever they replace.
    fn retained_bytes(&self) -> usize {
        let bytes = self.events.iter().map(|ordered| match &ordered.retain {
            Some(Retain::Keep(name)) => bytes_to_retain(&ordered.event, name),
            Some(Retain::Delete(_)) | None => 0,
        });
        bytes.sum()
    }
}

/// An event with what it needs to be logged.
#[derive(Debug)]
pub struct LogRecord<'a> {
    seq: u64,
    accepted_ms: u64,
    expires_ms: Option<u64>,
    event: &'a Event,
    retain: Option<&'a Retain>,
    key: Option<Vec<u8>>,
}

impl LogRecord<'_> {
    /// In the log's own terms.
    pub fn as_log(&self) -> journal::Record<'_> {
        journal::Record {
            seq: self.seq,
            accepted_ms: self.accepted_ms,
            expires_ms: self.expires_ms,
            to: to_log(&self.event.to),
            retain: match self.retain {
                None => journal::Retain::No,
                Some(Retain::Keep(name)) => journal::Retain::Keep { event_name: Some(name) },
                Some(Retain::Delete(name)) => journal::Retain::Delete { event_name: Some(name) },
            },
            key: self.key.as_deref(),
            frame: self.event.frame.chunk(),
        }
    }
}

/// Where an event goes, in the log's own terms.
pub(super) fn to_log(to: &Destination) -> journal::To<'_> {
    match to {
        Destination::Everyone => journal::To::Everyone,
        Destination::Topics(topics) => journal::To::Topics(journal::TopicNames::new(topics)),
    }
}

impl Hub {
    /// [Publishes](Hub::publish), and waits for the log where there is one.
    ///
    /// # Errors
    /// Nothing was published. After [`Refused::LogFailed`] nothing ever is.
    pub async fn publish_to_log(
        &self,
        batch: Vec<Submission>,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some(logged) = self.publish(batch, None, now)?.logged else { return Ok(()) };
        match logged.await {
            Outcome::Logged => Ok(()),
            Outcome::Full => Err(Refused::LogFull),
            Outcome::Failed => Err(Refused::LogFailed),
        }
    }
}

/// Everything that waits for the log, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) batches: VecDeque<OrderedBatch>,
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// What of `retained_bytes_max` the values among it may take.
    pub(super) retained_bytes: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, batch: OrderedBatch) {
        self.events += batch.events.len();
        self.bytes += batch.weight();
        self.retained_bytes += batch.retained_bytes();
        self.batches.push_back(batch);
    }

    pub(super) fn pop(&mut self) -> Option<OrderedBatch> {
        let batch = self.batches.pop_front()?;
        self.events -= batch.events.len();
        self.bytes -= batch.weight();
        self.retained_bytes -= batch.retained_bytes();
        Some(batch)
    }

    /// Has somebody else wait for the batch with this event, if it is still waiting.
    pub(super) fn join(&mut self, seq: u64) -> Option<Arc<Ticket>> {
        let at = self.batches.partition_point(|batch| batch.run.first <= seq).checked_sub(1)?;
        let batch = self.batches.get_mut(at)?;
        let ticket = Ticket::new();
        batch.tickets.push(Arc::clone(&ticket));
        Some(ticket)
    }
}
