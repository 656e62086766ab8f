//! The ring: what waits for one stream whose client is not reading. Bounded in events and in bytes;
//! when full the oldest goes, is counted, and a gap is owed. Owned by one shard, which both pushes
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
    pub(super) fn push(&mut self, event: Arc<Event>) -> u64 {
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
        dropped
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

    use super::super::testing::event;
    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Push { data_bytes: usize },
        Send { upto: usize, unsent: usize },
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (0..400usize).prop_map(|data_bytes| Operation::Push { data_bytes }),
            (1..6usize, 0..4usize).prop_map(|(upto, unsent)| Operation::Send { upto, unsent }),
        ]
    }

    /// What a ring is: the newest events that fit the bounds, and the loss since the last send.
    struct Model {
        waiting: VecDeque<(u64, usize)>,
        lost: Vec<u64>,
        bounds: RingBounds,
    }

    impl Model {
        fn push(&mut self, seq: u64, size: usize) {
            self.waiting.push_back((seq, size));
            let too_much = |waiting: &VecDeque<(u64, usize)>, bounds: RingBounds| {
                waiting.len() > bounds.frames_max
                    || waiting.iter().map(|(_, size)| size).sum::<usize>() > bounds.bytes_max
            };
            while self.waiting.len() > 1 && too_much(&self.waiting, self.bounds) {
                self.lost.push(self.waiting.pop_front().unwrap().0);
            }
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
                    Operation::Push { data_bytes } => {
                        seq += 1;
                        let event = event(seq, data_bytes);
                        let lost_before = model.lost.len();
                        model.push(seq, event.frame.size());
                        let dropped = ring.push(event);
                        prop_assert_eq!(dropped as usize, model.lost.len() - lost_before);
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
                            prop_assert_eq!(event.seq, model.waiting.pop_front().unwrap().0);
                        }
                    }
                }
                prop_assert_eq!(ring.len(), model.waiting.len());
                let bytes = model.waiting.iter().map(|(_, size)| size).sum::<usize>();
                prop_assert_eq!(ring.bytes, bytes);
                prop_assert!(ring.len() <= frames_max);
            }
        }
    }
}
