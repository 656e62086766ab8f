//! How many instructions the parts of the data path take, counted by callgrind: a regression shows
//! without noise. `make bench-instructions` compares them with `benches/instructions.txt`.
//!
//! A system call counts as nothing here, so `sweep` is exactly the gateway's own share of a visit.
#![expect(missing_docs, unused_qualifications, reason = "what the macros of gungraun write")]

#[path = "inputs/mod.rs"]
mod inputs;

use std::hint::black_box;
use std::sync::Arc;

use gungraun::{library_benchmark, library_benchmark_group, main};
use tidegate::event::Event;
use tidegate::hub::EventMailbox;
use tidegate::shard::bench::{Matcher, Ring};
use tidegate::sse::{Draft, Fields, Frame};

use inputs::crowd::{Crowd, Topics};
use inputs::past::FullHistory;
use inputs::{
    CROWDED, DATA_BYTES, SUBSCRIPTIONS, draft, event, exact_matcher, filters, id, pattern_matcher,
    shared_events, to_topic,
};

/// What is counted is this many of it, or as many visits as there are streams: the first of a kind
/// finds the allocator cold, and a hash is luckier with one key than with another.
const EVENTS: usize = 256;

const RING_BYTES_MAX: usize = 1 << 20;

/// Streams of a sweep: half of a slice, so that valgrind's slowness does not cut it into many.
const STREAMS: usize = 64;

fn one_line(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn lines(bytes: usize) -> String {
    format!("{}\n", one_line(31)).repeat(bytes / 32)
}

#[library_benchmark]
#[bench::one_line_128(one_line(128))]
#[bench::one_line_4096(one_line(4096))]
#[bench::lines_4096(lines(4096))]
fn encode(data: String) -> (Vec<Draft>, String) {
    let fields = Fields { event: Some("task.status"), retry_ms: None, data: &data };
    ((0..EVENTS).map(|_| Draft::new(black_box(&fields))).collect(), data)
}

fn drafts() -> Vec<Draft> {
    (0..EVENTS).map(|_| draft(DATA_BYTES)).collect()
}

#[library_benchmark]
#[bench::under_the_lock(drafts())]
fn seal(drafts: Vec<Draft>) -> Vec<Frame> {
    drafts.into_iter().map(|draft| draft.seal(id())).collect()
}

/// Events to topics of which each has `expected` subscribers.
fn matcher(
    mut matcher: Matcher,
    topic: impl Fn(usize) -> String,
    expected: usize,
) -> (Matcher, Vec<Event>) {
    let apart = SUBSCRIPTIONS / EVENTS;
    let mut events: Vec<_> = (0..EVENTS).map(|nth| event(to_topic(&topic(nth * apart)))).collect();
    for (seq, event) in (1..).zip(&mut events) {
        event.seq = seq;
        assert_eq!(matcher.matches(event), expected);
        event.seq += EVENTS as u64;
    }
    (matcher, events)
}

#[library_benchmark]
#[bench::exact(matcher(exact_matcher(), |nth| format!("board.{nth}"), 1))]
#[bench::exact_nobody(matcher(exact_matcher(), |nth| format!("nobody.{nth}"), 0))]
#[bench::exact_crowded(matcher(exact_matcher(), |_| "crowded".into(), CROWDED))]
#[bench::patterns(matcher(pattern_matcher(), |nth| format!("board.{nth}.moved"), 5))]
fn matching((mut matcher, events): (Matcher, Vec<Event>)) -> (usize, Matcher, Vec<Event>) {
    (events.iter().map(|event| matcher.matches(event)).sum(), matcher, events)
}

fn ring(waiting: usize) -> (Ring, Vec<Arc<Event>>) {
    let events = shared_events(EVENTS);
    let mut ring = Ring::new(EVENTS, RING_BYTES_MAX);
    events.iter().take(waiting).for_each(|event| {
        ring.push(Arc::clone(event));
    });
    (ring, events)
}

#[library_benchmark]
#[bench::to_an_empty_ring(ring(0))]
#[bench::to_a_full_ring(ring(EVENTS))]
fn ring_push((mut ring, events): (Ring, Vec<Arc<Event>>)) -> (Ring, Vec<Arc<Event>>) {
    for event in &events {
        ring.push(Arc::clone(event));
    }
    (ring, events)
}

#[library_benchmark]
#[bench::from_a_full_ring(ring(EVENTS))]
fn ring_pop((mut ring, events): (Ring, Vec<Arc<Event>>)) -> (Ring, Vec<Arc<Event>>) {
    while ring.pop().is_some() {}
    (ring, events)
}

fn mailbox() -> (EventMailbox, Vec<Arc<Event>>) {
    (EventMailbox::new(EVENTS, RING_BYTES_MAX), shared_events(EVENTS))
}

#[library_benchmark]
#[bench::in_and_out(mailbox())]
fn mail((mailbox, events): (EventMailbox, Vec<Arc<Event>>)) -> (EventMailbox, Vec<Arc<Event>>) {
    for event in &events {
        mailbox.push(Arc::clone(event));
    }
    while mailbox.pop().is_some() {}
    (mailbox, events)
}

/// A crowd that has had a round, with new events in the mailbox.
fn to_deliver(topics: Topics, pending: usize) -> Crowd {
    let mut crowd = Crowd::new(STREAMS, topics);
    crowd.publish(pending);
    crowd.fanout.deliver();
    crowd.fanout.sweep();
    crowd.read();
    crowd.publish(pending);
    crowd
}

#[library_benchmark]
#[bench::one_topic(to_deliver(Topics::One, 16))]
#[bench::mixed_topics(to_deliver(Topics::Mixed, 16))]
fn deliver(mut crowd: Crowd) -> Crowd {
    crowd.fanout.deliver();
    crowd
}

fn to_sweep(topics: Topics, pending: usize) -> Crowd {
    let mut crowd = to_deliver(topics, pending);
    crowd.fanout.deliver();
    crowd
}

#[library_benchmark]
#[bench::one_topic_1(to_sweep(Topics::One, 1))]
#[bench::one_topic_16(to_sweep(Topics::One, 16))]
#[bench::mixed_topics_1(to_sweep(Topics::Mixed, 1))]
#[bench::mixed_topics_16(to_sweep(Topics::Mixed, 16))]
fn sweep(mut crowd: Crowd) -> Crowd {
    crowd.fanout.sweep();
    crowd
}

#[library_benchmark]
#[bench::one_topic(FullHistory::new(1))]
#[bench::many_topics(FullHistory::new(1_000))]
fn append(mut history: FullHistory) -> FullHistory {
    (0..EVENTS).for_each(|_| history.append());
    history
}

#[library_benchmark]
#[bench::one_topic(FullHistory::new(1_000), "board.7.moved")]
#[bench::a_pattern(FullHistory::new(1_000), "board.*.moved")]
fn replay(mut history: FullHistory, filter: &str) -> FullHistory {
    assert_ne!(history.read(&filters([filter]), 50 * EVENTS), 0);
    history
}

library_benchmark_group!(
    name = data_path,
    benchmarks =
        [encode, seal, append, replay, matching, ring_push, ring_pop, mail, deliver, sweep]
);

main!(library_benchmark_groups = data_path);
