//! What waits for a client that does not read: filling and emptying a ring, and the drop of the
//! oldest for each event that comes to a full one.

use std::sync::Arc;

use criterion::{Criterion, Throughput};
use tidegate::shard::bench::Ring;

use crate::inputs::shared_events;

/// The default bounds of a ring.
const FRAMES_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;

pub(crate) fn bench(c: &mut Criterion) {
    let events = shared_events(FRAMES_MAX);
    let size = events[0].frame.size();
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(FRAMES_MAX as u64));

    let mut ring = Ring::new(FRAMES_MAX, BYTES_MAX);
    group.bench_function("fill and empty", |b| {
        b.iter(|| {
            for event in &events {
                assert_eq!(ring.push(Arc::clone(event)), 0);
            }
            while ring.pop().is_some() {}
        });
    });
    for (name, bytes_max) in [("full of events", BYTES_MAX), ("full of bytes", size * 64)] {
        let mut ring = Ring::new(FRAMES_MAX, bytes_max);
        events.iter().for_each(|event| {
            ring.push(Arc::clone(event));
        });
        group.bench_function(format!("{name}: one in, the oldest out"), |b| {
            b.iter(|| {
                for event in &events {
                    assert_eq!(ring.push(Arc::clone(event)), 1);
                }
            });
        });
    }
    group.finish();
}
