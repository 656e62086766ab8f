//! The only thing that crosses shards: a bounded queue of encoded events, with one wake a publish
//! however many subscribers there are.
//!
//! Written by whoever holds the hub's order lock (so pushes never race each other), read by one
//! shard. A full mailbox refuses before anything is ordered: see [`Mailbox::has_room`].

use std::task::{Context, Poll};

use super::primitives::{ArrayQueue, AtomicBool, AtomicUsize, AtomicWaker, Ordering, register};

/// Something whose bytes count against a mailbox's bound.
pub trait Weigh {
    /// Bytes this item keeps alive.
    fn weight(&self) -> usize;
}

/// A bounded queue to one shard. See the module's header.
pub struct Mailbox<T> {
    queue: ArrayQueue<T>,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Set by the publisher that wakes the shard, cleared by the shard before it looks: every
    /// publish in between finds it set and spares the wake.
    woken: AtomicBool,
    shard: AtomicWaker,
}

impl<T: Weigh> Mailbox<T> {
    /// A mailbox for at most `events_max` items of together at most `bytes_max` bytes.
    pub fn new(events_max: usize, bytes_max: usize) -> Self {
        Self {
            queue: ArrayQueue::new(events_max),
            bytes: AtomicUsize::new(0),
            bytes_max,
            woken: AtomicBool::new(false),
            shard: AtomicWaker::new(),
        }
    }

    /// Whether a batch fits. Stays true until the caller pushes, as long as it is the only one
    /// that pushes: the shard only makes room.
    pub fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.queue.capacity() - self.queue.len() >= events
            && self.bytes_max.saturating_sub(self.bytes.load(Ordering::Acquire)) >= bytes
    }

    /// Appends an item that [`Mailbox::has_room`] has found room for. The shard is not woken.
    pub fn push(&self, item: T) {
        self.bytes.fetch_add(item.weight(), Ordering::AcqRel);
        let refused = self.queue.push(item).is_err();
        assert!(!refused, "push without has_room");
    }

    /// Wakes the shard, unless it has been woken since it last looked.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.shard.wake();
        }
    }

    /// Takes the oldest item. Called by the shard only.
    pub fn pop(&self) -> Option<T> {
        let item = self.queue.pop()?;
        self.bytes.fetch_sub(item.weight(), Ordering::AcqRel);
        Some(item)
    }

    /// Ready when there is something to pop. Called by the shard only.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.queue.is_empty() {
            return Poll::Ready(());
        }
        register(&self.shard, cx.waker());
        // Cleared after registering and before looking again: a publisher that comes in between
        // wakes us, one that came before has its item seen below.
        // A swap, not a store: it reads the publisher's flag and so sees what it pushed before.
        self.woken.swap(false, Ordering::AcqRel);
        if self.queue.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How full the mailbox is, from 0 to 1, by whichever bound is nearer.
    pub fn fill(&self) -> f64 {
        let events = self.queue.len() as f64 / self.queue.capacity() as f64;
        let bytes = self.bytes.load(Ordering::Relaxed) as f64 / self.bytes_max as f64;
        events.max(bytes)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! Bounds of the mailbox. What races is in `loom_tests`.

    use super::*;

    struct Weight(usize);

    impl Weigh for Weight {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn both_bounds_hold_and_popping_makes_room() {
        let mailbox = Mailbox::new(2, 100);
        assert!(mailbox.has_room(2, 100));
        assert!(!mailbox.has_room(3, 0));
        assert!(!mailbox.has_room(1, 101));
        mailbox.push(Weight(60));
        assert!(mailbox.has_room(1, 40));
        assert!(!mailbox.has_room(1, 41));
        mailbox.push(Weight(40));
        assert!(!mailbox.has_room(1, 0));
        assert!((mailbox.fill() - 1.0).abs() < f64::EPSILON);
        assert!(mailbox.pop().is_some());
        assert!(mailbox.has_room(1, 60));
    }
}
