//! The run's book of events: what the gateway answered for each published event, and
//! which id its readers saw. Written by the publisher and all readers without locks.
//!
//! An event can reach a stream before its publisher reads the 202, so whoever learns
//! an id first writes it down and everyone after compares; the 202 has the last word.

use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
};

use crate::clock::now_ns;
use crate::payload::EventId;

/// How long a reader in doubt waits for a 202.
const ANSWER_PATIENCE_NS: u64 = 200_000_000;

/// Events per lazily made segment, 16 bytes each.
const SEGMENT_EVENTS: usize = 1 << 14;
/// Segments at most: a thousand million events, 16 GiB if a run gets that far.
const SEGMENTS_MAX: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Sent, no answer read. A run that ends well has none of these.
    Pending,
    Accepted,
    /// 429 or 503: this number must reach nobody.
    Refused,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// Sequence number of the event's id, plus one; 0 while unknown.
    seq_plus_one: AtomicU64,
    answer: AtomicU32,
    /// Reader threads whose streams all have the event.
    threads_done: AtomicU32,
}

pub(crate) struct Ledger {
    segments: Box<[OnceLock<Box<[Slot]>>]>,
    epoch: OnceLock<Box<[u8]>>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let segments = (0..SEGMENTS_MAX).map(|_| OnceLock::new()).collect();
        Self { segments, epoch: OnceLock::new() }
    }

    fn slot(&self, number: u64) -> &Slot {
        let number = usize::try_from(number).expect("64-bit targets only");
        let segment = self.segments[number / SEGMENT_EVENTS]
            .get_or_init(|| (0..SEGMENT_EVENTS).map(|_| Slot::default()).collect());
        &segment[number % SEGMENT_EVENTS]
    }

    /// Numbers a run may use.
    pub(crate) fn capacity(&self) -> u64 {
        (SEGMENTS_MAX * SEGMENT_EVENTS) as u64
    }

    /// Notes the epoch of an id or cursor. `Err`: the run began with another one.
    pub(crate) fn note_epoch(&self, epoch: &[u8]) -> Result<(), String> {
        let known = self.epoch.get_or_init(|| epoch.into());
        if **known == *epoch {
            return Ok(());
        }
        let (old, new) = (String::from_utf8_lossy(known), String::from_utf8_lossy(epoch));
        Err(format!("epoch {new} in a run that began with epoch {old}"))
    }

    /// The epoch of the run's ids, once one is known.
    pub(crate) fn epoch(&self) -> Option<&[u8]> {
        self.epoch.get().map(|epoch| &**epoch)
    }

    /// A stream got event `number` as `id`. `Err`: it is known by another one.
    pub(crate) fn note_seen(&self, number: u64, id: EventId<'_>) -> Result<(), String> {
        self.note_epoch(id.epoch)?;
        let slot = self.slot(number);
        let mine = id.seq + 1;
        // A plain load first: all but one of an event's deliveries only compare.
        let mut known = slot.seq_plus_one.load(Acquire);
        if known == 0 {
            match slot.seq_plus_one.compare_exchange(0, mine, AcqRel, Acquire) {
                Ok(_) => return Ok(()),
                Err(winner) => known = winner,
            }
        }
        if known != mine {
            known = self.await_answer(number);
        }
        if known == mine {
            return Ok(());
        }
        Err(format!("event {number} came as seq {}, its id has seq {}", id.seq, known - 1))
    }

    /// Two streams disagree about an id: which of them is wrong, only the publisher's
    /// answer can tell, and it is on its way. That may hold the reader up: the run has
    /// its violation already.
    #[cold]
    fn await_answer(&self, number: u64) -> u64 {
        let deadline = now_ns() + ANSWER_PATIENCE_NS;
        while self.answer(number) == Answer::Pending && now_ns() < deadline {
            std::thread::yield_now();
        }
        self.slot(number).seq_plus_one.load(Acquire)
    }

    /// The gateway answered that event `number` goes by `id`, and that is its id from
    /// now on. Returns the other one that a stream got it by before, if so.
    pub(crate) fn accept(&self, number: u64, id: EventId<'_>) -> Result<Option<u64>, String> {
        self.note_epoch(id.epoch)?;
        let slot = self.slot(number);
        let before = slot.seq_plus_one.swap(id.seq + 1, AcqRel);
        self.set_answer(number, Answer::Accepted);
        Ok(before.checked_sub(1).filter(|seq| *seq != id.seq))
    }

    pub(crate) fn seq(&self, number: u64) -> Option<u64> {
        self.slot(number).seq_plus_one.load(Acquire).checked_sub(1)
    }

    pub(crate) fn set_answer(&self, number: u64, answer: Answer) {
        self.slot(number).answer.store(answer as u32, Release);
    }

    pub(crate) fn answer(&self, number: u64) -> Answer {
        match self.slot(number).answer.load(Acquire) {
            0 => Answer::Pending,
            1 => Answer::Accepted,
            _ => Answer::Refused,
        }
    }

    /// One more thread's streams all have event `number`; returns how many do now.
    pub(crate) fn thread_done(&self, number: u64) -> u32 {
        self.slot(number).threads_done.fetch_add(1, AcqRel) + 1
    }
}
