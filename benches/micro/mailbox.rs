//! The queue between the hub and a shard: from one thread, which is its cost in instructions, and
//! from two, which adds what the cores pay to hand the cache lines over.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use criterion::{Criterion, Throughput};
use tidegate::event::Event;
use tidegate::hub::EventMailbox;
use tidegate::sync::Weigh;

use crate::inputs::shared_events;

/// Events of one publish.
const BATCH: usize = 256;

pub(crate) fn bench(c: &mut Criterion) {
    let events = shared_events(BATCH);
    let mut group = c.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(BATCH as u64));

    let mailbox = mailbox();
    group.bench_function("in and out, one thread", |b| {
        b.iter(|| {
            push(&mailbox, &events);
            let mut taken = 0;
            while mailbox.pop().is_some() {
                taken += 1;
            }
            assert_eq!(taken, BATCH);
        });
    });
    group.bench_function("in and out, two threads", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| (0..rounds).for_each(|_| push(&mailbox, &events)));
                for _ in 0..rounds * BATCH as u64 {
                    while mailbox.pop().is_none() {
                        std::hint::spin_loop();
                    }
                }
            });
            start.elapsed()
        });
    });

    group.throughput(Throughput::Elements(1));
    let mut cx = Context::from_waker(Waker::noop());
    group.bench_function("one event and one wake", |b| {
        b.iter(|| {
            assert_eq!(mailbox.poll_ready(&mut cx), Poll::Pending);
            push(&mailbox, &events[..1]);
            assert_eq!(mailbox.poll_ready(&mut cx), Poll::Ready(()));
            mailbox.pop()
        });
    });
    group.finish();
}

fn mailbox() -> EventMailbox {
    EventMailbox::new(16 * BATCH, 64 << 20)
}

/// As the hub does it, once there is room.
fn push(mailbox: &EventMailbox, events: &[Arc<Event>]) {
    let bytes = events.iter().map(Weigh::weight).sum();
    while !mailbox.has_room(events.len(), bytes) {
        std::hint::spin_loop();
    }
    for event in events {
        mailbox.push(Arc::clone(event));
    }
    mailbox.wake();
}
