//! What publishers give to the hub, and what they get for it: ids, or the reason why there are none.

use std::fmt;
use std::time::Duration;

use super::keys::{Key, Published};
use crate::event::Destination;
use crate::history::Retain;
use crate::sse::{Draft, Epoch, EventId};
use crate::sync::Settled;

/// An event that has everything but its place in the order.
#[derive(Clone, Debug)]
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
    /// Whether its topics are over.
    pub is_last: bool,
    /// See [`Event::conflate`](crate::event::Event::conflate).
    pub conflate: Option<Box<str>>,
}

impl Submission {
    /// Bytes that it counts for wherever it waits.
    pub(super) fn weight(&self) -> usize {
        let key = self.conflate.as_ref().map_or(0, |key| key.len());
        self.draft.size() + self.to.size() + key
    }
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
    /// The log's disk has no room. The publisher should try again when there is some.
    LogFull,
    /// The log has failed. Nothing helps but to look at the disk and start again.
    LogFailed,
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
            Self::LogFull => write!(f, "the disk of the event log is full"),
            Self::LogFailed => write!(f, "the event log has failed, and takes nothing more"),
        }
    }
}

impl std::error::Error for Refused {}

/// The ids of a published batch, in the batch's order.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub(super) epoch: Epoch,
    pub(super) seqs: Seqs,
    /// How many of the events were published now; the others had been before.
    pub fresh: usize,
    /// Where there is a log: settled once the batch is in it. Until then the ids are not to be told.
    pub logged: Option<Settled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seqs {
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
