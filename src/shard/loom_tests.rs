//! What crosses threads, under loom: the interleavings of publishers and one shard. The shard sleeps
//! by the mailbox's own protocol, so a lost wake shows as a deadlock.
//!
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test --profile fast --lib loom`

use std::sync::Arc as StdArc;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::ring::{Ring, RingBounds};
use super::testing::event;
use crate::event::Event;
use crate::hub::EventMailbox;
use crate::sync::Mailbox;

/// Tries every interleaving with at most three preemptions: more take hours, and the bugs of two
/// threads and one flag need fewer.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Publishes as the hub does: room is checked and the push made under one lock, the wake after it.
struct Order {
    next: loom::sync::Mutex<u64>,
    mailbox: EventMailbox,
}

impl Order {
    fn new(events_max: usize) -> Arc<Self> {
        let mailbox = Mailbox::new(events_max, 1 << 20);
        Arc::new(Self { next: loom::sync::Mutex::new(1), mailbox })
    }

    fn publish(&self) -> bool {
        {
            let mut next = self.next.lock().unwrap();
            if !self.mailbox.has_room(1, 64) {
                return false;
            }
            self.mailbox.push(event(*next, 0));
            *next += 1;
        }
        self.mailbox.wake();
        true
    }

    fn wait(&self) {
        loom::future::block_on(std::future::poll_fn(|cx| self.mailbox.poll_ready(cx)));
    }
}

#[test]
fn loom_no_wake_is_lost_and_the_order_is_one() {
    explore(|| {
        let order = Order::new(4);
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let order = Arc::clone(&order);
                thread::spawn(move || assert!(order.publish()))
            })
            .collect();
        let mut seqs = Vec::new();
        while seqs.len() < 2 {
            order.wait();
            while let Some(event) = order.mailbox.pop() {
                seqs.push(event.seq);
            }
        }
        assert_eq!(seqs, [1, 2]);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        assert!(order.mailbox.has_room(4, 1 << 20), "all the room is back");
    });
}

#[test]
fn loom_a_full_mailbox_refuses_and_recovers() {
    explore(|| {
        let order = Order::new(1);
        let accepted = Arc::new(AtomicUsize::new(0));
        let publisher = {
            let (order, accepted) = (Arc::clone(&order), Arc::clone(&accepted));
            thread::spawn(move || {
                for _ in 0..2 {
                    accepted.fetch_add(usize::from(order.publish()), Ordering::SeqCst);
                }
            })
        };
        // The first is always taken, so there is always something to wait for.
        order.wait();
        let mut received = usize::from(order.mailbox.pop().is_some());
        publisher.join().unwrap();
        received += std::iter::from_fn(|| order.mailbox.pop()).count();
        assert_eq!(received, accepted.load(Ordering::SeqCst));
    });
}

/// The shard's side of one stream: what its client is told, in order.
#[derive(Default)]
struct Told {
    last: u64,
    received: u64,
    lost: u64,
}

impl Told {
    /// Writes what waits, a gap first, as the sweep does.
    fn flush(&mut self, ring: &mut Ring) {
        if let Some(lost) = ring.take_lost() {
            assert_eq!(lost.to - self.last, lost.count, "the gap is what is missing");
            self.lost += lost.count;
            self.last = lost.to;
        }
        while let Some(event) = ring.pop() {
            self.take(&event);
        }
    }

    fn take(&mut self, event: &StdArc<Event>) {
        assert_eq!(event.seq, self.last + 1, "nothing is missing without a gap");
        self.last = event.seq;
        self.received += 1;
    }
}

#[test]
fn loom_ring_and_wake_account_for_every_event() {
    const EVENTS: u64 = 3;
    explore(|| {
        let order = Order::new(4);
        let publisher = {
            let order = Arc::clone(&order);
            thread::spawn(move || {
                for _ in 0..EVENTS {
                    assert!(order.publish());
                }
            })
        };
        let mut ring = Ring::new(RingBounds { frames_max: 1, bytes_max: 1 << 20 });
        let mut told = Told::default();
        while told.received + told.lost < EVENTS {
            order.wait();
            while let Some(event) = order.mailbox.pop() {
                ring.push(event);
            }
            told.flush(&mut ring);
        }
        assert_eq!(told.last, EVENTS);
        publisher.join().unwrap();
    });
}
