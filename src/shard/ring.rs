//! The ring: what waits for one stream whose client is not reading. Bounded in events and in bytes;
//! when full the oldest goes, is counted, and a gap is owed. An event with a conflation key takes the place of
//! the one before it, which is no loss. Owned by one shard, which both pushes
//! and pops.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Event;
use crate::sync::Weigh as _;
use crate::sync::primitives::ArrayQueue;

/// How much may wait in one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingBounds {
    /// Events.
    pub(super) frames_max: usize,
    /// Bytes of their frames and topics. One event always fits: the configuration sees to it.
    pub(super) bytes_max: usize,
}

/// Events that a stream has lost since it was last told: always the ones right after what it was
/// last sent, since the oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// The last of them.
    pub(super) to: u64,
    /// How many.
    pub(super) count: u64,
}

/// What an event has put out of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Displaced {
    /// Events that are lost to the stream: a gap tells it.
    pub(super) dropped: u64,
    /// The one whose place it has taken.
    pub(super) conflated: u64,
}

impl Lost {
    fn add(lost: &mut Option<Self>, seq: u64) {
        let count = lost.map_or(0, |lost| lost.count) + 1;
        *lost = Some(Self { to: seq, count });
    }
}

pub(super) struct Ring {
    /// Popped for a write that did not take them, oldest first; older than all of `queue`.
    returned: VecDeque<Arc<Event>>,
    queue: ArrayQueue<Arc<Event>>,
    bytes: usize,
    bounds: RingBounds,
    lost: Option<Lost>,
}

impl Ring {
    pub(super) fn new(bounds: RingBounds) -> Self {
        Self {
            returned: VecDeque::new(),
            queue: ArrayQueue::new(bounds.frames_max),
            bytes: 0,
            bounds,
            lost: None,
        }
    }

    pub(super) fn bounds(&self) -> RingBounds {
        self.bounds
    }

    pub(super) fn len(&self) -> usize {
        self.returned.len() + self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an event and returns how many had to go for it.
    pub(super) fn push(&mut self, event: Arc<Event>) -> Displaced {
        let conflated = if event.conflate.is_some() { self.take_out_older(&event) } else { 0 };
        let size = event.weight();
        let mut dropped = 0;
        while self.bytes + size > self.bounds.bytes_max && self.drop_oldest() {
            dropped += 1;
        }
        // While events have been returned, the queue alone does not know that the ring is full.
        if !self.returned.is_empty() && self.len() == self.bounds.frames_max {
            self.drop_oldest();
            dropped += 1;
        }
        self.bytes += size;
        if let Some(oldest) = self.queue.force_push(event) {
            self.forget(&oldest);
            dropped += 1;
        }
        Displaced { dropped, conflated }
    }

    /// Takes out the event that a newer one is to replace, if it waits here: there is never more than one.
    /// Costs a pass over the ring, since the queue gives up its events in their order only.
    fn take_out_older(&mut self, newer: &Event) -> u64 {
        let waiting = self.len();
        if let Some(at) = self.returned.iter().position(|older| newer.replaces(older)) {
            self.bytes -= self.returned.remove(at).map_or(0, |older| older.weight());
        } else {
            for _ in 0..self.queue.len() {
                let Some(older) = self.queue.pop() else { break };
                if newer.replaces(&older) {
                    self.bytes -= older.weight();
                } else {
                    self.queue.push(older).expect("there is room where one was popped");
                }
            }
        }
        (waiting - self.len()) as u64
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.returned.pop_front().or_else(|| self.queue.pop());
        oldest.inspect(|oldest| self.forget(oldest)).is_some()
    }

    fn forget(&mut self, oldest: &Arc<Event>) {
        self.bytes -= oldest.weight();
        Lost::add(&mut self.lost, oldest.seq);
    }

    /// Starts the ring with a loss that happened before it was made.
    pub(super) fn owe(&mut self, lost: Lost) {
        debug_assert!(self.lost.is_none() && self.is_empty());
        self.lost = Some(lost);
    }

    /// What the client has to be told before the next event is popped.
    pub(super) fn take_lost(&mut self) -> Option<Lost> {
        self.lost.take()
    }

    /// The same, without taking it.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// Whether this event waits here. Costs a turn of the ring, since the queue can be read in no other way.
    pub(super) fn holds(&self, seq: u64) -> bool {
        let mut is_here = self.returned.iter().any(|event| event.seq == seq);
        for _ in 0..self.queue.len() {
            let Some(event) = self.queue.pop() else { break };
            is_here |= event.seq == seq;
            self.queue.push(event).expect("there is room where one was popped");
        }
        is_here
    }

    pub(super) fn owes(&self) -> bool {
        self.lost.is_some()
    }

    /// Takes the oldest event.
    pub(super) fn pop(&mut self) -> Option<Arc<Event>> {
        debug_assert!(self.lost.is_none(), "a gap comes before the next event");
        let oldest = self.returned.pop_front().or_else(|| self.queue.pop())?;
        self.bytes -= oldest.weight();
        Some(oldest)
    }

    /// Puts back what was popped last and not sent: it is the oldest again, and may be dropped.
    pub(super) fn unpop(&mut self, event: Arc<Event>) {
        self.bytes += event.weight();
        self.returned.push_front(event);
    }

    /// Empties the ring for its next owner.
    pub(super) fn reset(&mut self) {
        while self.queue.pop().is_some() {}
        self.returned = VecDeque::new();
        self.bytes = 0;
        self.lost = None;
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! The ring against a model: a plain deque and a list of what was dropped.

    use proptest::prelude::*;

    use super::super::testing::{event, event_with_key};
    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Push { data_bytes: usize, key: Option<u8> },
        Send { upto: usize, unsent: usize },
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (0..400usize, prop::option::of(0..3u8))
                .prop_map(|(data_bytes, key)| Operation::Push { data_bytes, key }),
            (1..6usize, 0..4usize).prop_map(|(upto, unsent)| Operation::Send { upto, unsent }),
        ]
    }

    #[derive(Clone, Copy)]
    struct Waiting {
        seq: u64,
        size: usize,
        key: Option<u8>,
    }

    /// What a ring is: of each key the last, and of these the newest events that fit the bounds, and the loss since the last send.
    struct Model {
        waiting: VecDeque<Waiting>,
        lost: Vec<u64>,
        bounds: RingBounds,
    }

    impl Model {
        fn push(&mut self, new: Waiting) -> Displaced {
            let (waited, lost) = (self.waiting.len(), self.lost.len());
            self.waiting.retain(|older| new.key.is_none() || older.key != new.key);
            let conflated = (waited - self.waiting.len()) as u64;
            self.waiting.push_back(new);
            let too_much = |waiting: &VecDeque<Waiting>, bounds: RingBounds| {
                waiting.len() > bounds.frames_max
                    || waiting.iter().map(|event| event.size).sum::<usize>() > bounds.bytes_max
            };
            while self.waiting.len() > 1 && too_much(&self.waiting, self.bounds) {
                self.lost.push(self.waiting.pop_front().unwrap().seq);
            }
            Displaced { dropped: (self.lost.len() - lost) as u64, conflated }
        }

        fn take_lost(&mut self) -> Option<Lost> {
            let lost = std::mem::take(&mut self.lost);
            lost.last().map(|&to| Lost { to, count: lost.len() as u64 })
        }
    }

    proptest! {
        #[test]
        fn a_ring_is_its_model(
            operations in prop::collection::vec(operation(), 1..200),
            frames_max in 1..8usize,
            bytes_max in 500..1500usize,
        ) {
            let bounds = RingBounds { frames_max, bytes_max };
            let mut ring = Ring::new(bounds);
            let mut model = Model { waiting: VecDeque::new(), lost: Vec::new(), bounds };
            let mut seq = 0;
            for operation in operations {
                match operation {
                    Operation::Push { data_bytes, key } => {
                        seq += 1;
                        let event = match key {
                            Some(key) => event_with_key(seq, data_bytes, key),
                            None => event(seq, data_bytes),
                        };
                        let expected = model.push(Waiting { seq, size: event.weight(), key });
                        prop_assert_eq!(ring.push(event), expected);
                    }
                    Operation::Send { upto, unsent } => {
                        prop_assert_eq!(ring.take_lost(), model.take_lost());
                        let mut popped: Vec<_> =
                            std::iter::from_fn(|| ring.pop()).take(upto).collect();
                        let keep = popped.len().saturating_sub(unsent);
                        for event in popped.drain(keep..).rev() {
                            ring.unpop(event);
                        }
                        for event in popped {
                            prop_assert_eq!(event.seq, model.waiting.pop_front().unwrap().seq);
                        }
                    }
                }
                prop_assert_eq!(ring.len(), model.waiting.len());
                let bytes = model.waiting.iter().map(|event| event.size).sum::<usize>();
                prop_assert_eq!(ring.bytes, bytes);
                prop_assert!(ring.len() <= frames_max);
            }
        }
    }
}
