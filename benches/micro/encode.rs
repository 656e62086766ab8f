//! Encoding an event: once for all streams, outside of the hub's lock but for its id.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use tidegate::sse::{Draft, Fields};

use crate::inputs::{DATA_BYTES, draft, id};

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for bytes in [128, 4096, 65_536] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let text = "x".repeat(bytes);
        let lines = format!("{}\n", "x".repeat(31)).repeat(bytes / 32);
        for (what, data) in [("one line", &text), ("lines of 32", &lines)] {
            let fields = Fields { event: Some("task.status"), retry_ms: None, data };
            group.bench_function(format!("{bytes} bytes, {what}"), |b| {
                b.iter(|| Draft::new(black_box(&fields)).seal(id()));
            });
        }
    }
    // The part that is done under the hub's lock.
    group.throughput(Throughput::Elements(1));
    group.bench_function("id and chunk size", |b| {
        b.iter_batched(|| draft(DATA_BYTES), |draft| draft.seal(id()), BatchSize::SmallInput);
    });
    group.finish();
}
