//! What a publisher's request costs before it is in the mailboxes: parsing and ordering.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput};
use tidegate::config::schema::Publish;
use tidegate::event::Destination;
use tidegate::history::Bounds;
use tidegate::hub::{EventMailbox, Hub, KeyBounds, Submission};
use tidegate::publish::{self, Format, Rules};
use tidegate::sse::Epoch;

use crate::inputs::{DATA_BYTES, submission};

const BATCH: usize = 256;

pub(crate) fn bench(c: &mut Criterion) {
    parse(c);
    order(c);
}

fn parse(c: &mut Criterion) {
    let rules = Rules::new(&Publish::default(), ["hello", "gap", "end"].map(String::from).into());
    let message =
        format!(r#"{{"topic":"board.42","event":"e","data":"{}"}}"#, "x".repeat(DATA_BYTES));
    let array = format!("[{}]", vec![message.clone(); BATCH].join(","));
    let lines = vec![message.clone(); BATCH].join("\n");
    let mut group = c.benchmark_group("parse");
    for (name, body, format, events) in [
        ("one object", &message, Format::Json, 1),
        ("array of 256", &array, Format::Json, BATCH),
        ("256 lines", &lines, Format::Ndjson, BATCH),
    ] {
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(name, |b| {
            b.iter(|| publish::parse(black_box(body.as_bytes()), format, &rules));
        });
    }
    group.finish();
}

fn order(c: &mut Criterion) {
    let mailboxes = [(); 2].map(|()| Arc::new(EventMailbox::new(4096, 64 << 20)));
    let (history, keys) = (Bounds::default(), KeyBounds::default());
    let hub = Hub::new(Epoch::new(1), mailboxes.clone(), history, keys);
    let batch =
        || -> Vec<Submission> { (0..BATCH).map(|_| submission(Destination::Everyone)).collect() };
    let drain = |mailbox: &EventMailbox| while mailbox.pop().is_some() {};
    let mut group = c.benchmark_group("order");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("256 events into 2 mailboxes, and out", |b| {
        b.iter_batched(
            batch,
            |batch| {
                let receipt = hub.publish(batch, None, Instant::now());
                mailboxes.iter().for_each(|mailbox| drain(mailbox));
                receipt
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}
