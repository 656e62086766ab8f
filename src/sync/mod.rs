//! What crosses threads, and the one switch between std and loom: with `--cfg tidegate_loom` the
//! same code runs under loom's scheduler.

mod mailbox;
mod ticket;

pub use mailbox::{Mailbox, Weigh};
pub use ticket::{Outcome, Settled, Ticket};

#[cfg(not(tidegate_loom))]
pub(crate) mod primitives {
    pub(crate) use atomic_waker::AtomicWaker;
    pub(crate) use crossbeam_queue::ArrayQueue;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    pub(crate) fn register(waker: &AtomicWaker, by: &std::task::Waker) {
        waker.register(by);
    }
}

#[cfg(tidegate_loom)]
pub(crate) mod primitives {
    pub(crate) use loom::future::AtomicWaker;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use std::collections::VecDeque;

    pub(crate) fn register(waker: &AtomicWaker, by: &std::task::Waker) {
        waker.register(by.clone());
    }

    /// Stands in for crossbeam's queue, which is taken to be linearizable: a lock around a deque
    /// is, and loom can see it.
    pub(crate) struct ArrayQueue<T> {
        items: loom::sync::Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self { items: loom::sync::Mutex::new(VecDeque::new()), capacity }
        }

        fn items(&self) -> loom::sync::MutexGuard<'_, VecDeque<T>> {
            self.items.lock().expect("no loom model panics while it holds the lock")
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            let mut items = self.items();
            if items.len() == self.capacity {
                return Err(item);
            }
            items.push_back(item);
            Ok(())
        }

        pub(crate) fn force_push(&self, item: T) -> Option<T> {
            let mut items = self.items();
            let oldest = (items.len() == self.capacity).then(|| items.pop_front()).flatten();
            items.push_back(item);
            oldest
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.items().pop_front()
        }

        pub(crate) fn len(&self) -> usize {
            self.items().len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }
    }
}
