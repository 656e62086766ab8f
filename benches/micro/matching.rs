//! From an event to the audiences that want it, in a shard with 100,000 subscription sets.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use tidegate::shard::bench::Matcher;

use crate::inputs::{CROWDED, event, exact_matcher, pattern_matcher, to_topic};

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("match");
    let exact = &mut exact_matcher();
    matches(&mut group, exact, "exact: 1 of 100k", "board.50000", 1);
    matches(&mut group, exact, "exact: nobody", "nobody", 0);
    matches(&mut group, exact, "exact: 1,000 of 100k", "crowded", CROWDED);
    let patterns = &mut pattern_matcher();
    matches(&mut group, patterns, "patterns: 5 of 100k", "board.50000.moved", 5);
    matches(&mut group, patterns, "patterns: `>` only", "nobody", 1);
    group.finish();
}

/// The time is for the event; an element is a match, so that a crowd shows what one of it costs.
fn matches(
    group: &mut BenchmarkGroup<'_, WallTime>,
    matcher: &mut Matcher,
    name: &str,
    topic: &str,
    expected: usize,
) {
    let mut event = event(to_topic(topic));
    group.throughput(Throughput::Elements(expected.max(1) as u64));
    group.bench_function(name, |b| {
        b.iter(|| {
            event.seq += 1;
            let found = matcher.matches(&event);
            assert_eq!(found, expected);
        });
    });
}
