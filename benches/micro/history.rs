//! The past: what an event costs to be kept, under the hub's lock, and what a client costs that comes
//! back, without the encoding of its pages and their writing.

use criterion::{Criterion, Throughput};

use crate::inputs::filters;
use crate::inputs::past::FullHistory;

/// Events that a client has missed, of all topics together.
const MISSED: usize = 10_000;

pub(crate) fn bench(c: &mut Criterion) {
    append(c);
    replay(c);
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("history");
    group.throughput(Throughput::Elements(1));
    for topics in [1, 1_000, 20_000] {
        let mut history = FullHistory::new(topics);
        group.bench_function(format!("append, {topics} topics, full"), |b| {
            b.iter(|| history.append());
        });
    }
    group.finish();
}

fn replay(c: &mut Criterion) {
    let mut history = FullHistory::new(1_000);
    let mut group = c.benchmark_group("replay");
    let ten: Vec<_> = (0..10).map(|topic| format!("board.{topic}.moved")).collect();
    for (name, filters) in [
        ("one topic of 1,000", filters(["board.7.moved"])),
        ("10 topics of 1,000", filters(ten.iter().map(String::as_str))),
        ("a pattern for all", filters(["board.*.moved"])),
        ("a pattern for none", filters(["board.*.deleted"])),
    ] {
        let events = history.read(&filters, MISSED);
        group.throughput(Throughput::Elements(events.max(1) as u64));
        group.bench_function(format!("{name}, {events} events missed of {MISSED}"), |b| {
            b.iter(|| assert_eq!(history.read(&filters, MISSED), events));
        });
    }
    group.finish();
}
