//! An audience's short log: the events that not all of its streams have been sent yet. A stream that
//! keeps up owns nothing but its cursor into it. Bounded like a ring, since to a stream that has not
//! been visited it is one: what falls out of it before the sweep comes by is lost to that stream,
//! counted by its cursor. `deliver` sees to it that this is rare.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ring::{Lost, RingBounds};
use crate::event::Event;
use crate::sync::Weigh as _;

#[derive(Default)]
pub(super) struct Log {
    events: VecDeque<Arc<Event>>,
    /// Position of the oldest event kept. Positions count this audience's events for ever.
    base: u64,
    bytes: usize,
    /// `seq` of the event at `base - 1`, if it fell out before everyone had it.
    last_dropped: u64,
}

impl Log {
    /// Position of the next event.
    pub(super) fn end(&self) -> u64 {
        self.base + self.events.len() as u64
    }

    pub(super) fn push(&mut self, event: Arc<Event>, bounds: RingBounds) {
        let size = event.weight();
        while self.events.len() == bounds.frames_max
            || (self.bytes + size > bounds.bytes_max && !self.events.is_empty())
        {
            self.drop_oldest();
        }
        self.bytes += size;
        self.events.push_back(event);
    }

    /// Whether it is time to let the sweep catch up.
    pub(super) fn is_half_full(&self, bounds: RingBounds) -> bool {
        self.events.len() * 2 >= bounds.frames_max || self.bytes * 2 >= bounds.bytes_max
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.weight();
            self.last_dropped = oldest.seq;
            self.base += 1;
        }
    }

    /// Forgets what everyone has been sent, which is all of it.
    pub(super) fn clear(&mut self) {
        self.base = self.end();
        self.bytes = 0;
        self.events.clear();
    }

    /// What a stream at `cursor` has lost.
    pub(super) fn lost_to(&self, cursor: u64) -> Option<Lost> {
        (cursor < self.base).then(|| Lost { to: self.last_dropped, count: self.base - cursor })
    }

    /// The events from `cursor` on that are still here.
    pub(super) fn from(&self, cursor: u64) -> std::collections::vec_deque::Iter<'_, Arc<Event>> {
        let kept = cursor.max(self.base).min(self.end()) - self.base;
        self.events.range(kept as usize..)
    }

    /// The event at a position, which must be kept.
    pub(super) fn at(&self, position: u64) -> &Arc<Event> {
        &self.events[(position - self.base) as usize]
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! To a stream that is visited now and then, the log and a ring of its own are the same thing.

    use proptest::prelude::*;

    use super::super::ring::Ring;
    use super::super::testing::event;
    use super::*;

    proptest! {
        #[test]
        fn an_unvisited_stream_loses_what_its_own_ring_would_lose(
            rounds in prop::collection::vec(prop::collection::vec(0..400usize, 0..12), 1..20),
            frames_max in 1..8usize,
            bytes_max in 500..1500usize,
        ) {
            let bounds = RingBounds { frames_max, bytes_max };
            let (mut log, mut ring) = (Log::default(), Ring::new(bounds));
            let (mut seq, mut cursor) = (0, 0);
            for round in rounds {
                for data_bytes in round {
                    seq += 1;
                    log.push(event(seq, data_bytes), bounds);
                    ring.push(event(seq, data_bytes));
                }
                prop_assert_eq!(log.lost_to(cursor), ring.take_lost());
                let sent: Vec<_> = log.from(cursor).map(|event| event.seq).collect();
                let popped: Vec<_> =
                    std::iter::from_fn(|| ring.pop()).map(|event| event.seq).collect();
                prop_assert_eq!(sent, popped);
                cursor = log.end();
                log.clear();
                prop_assert_eq!(log.end(), seq);
            }
        }
    }
}
