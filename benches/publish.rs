//! What a publisher's request costs before it is in the mailboxes: parsing, encoding, ordering.
//!
//! `cargo bench --bench publish`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::config::schema::Publish;
use tidegate::hub::{Destination, EventMailbox, Hub, Submission};
use tidegate::publish::{self, Format, Rules};
use tidegate::sse::{Draft, Epoch, EventId, Fields};
use tidegate::sync::Mailbox;

const BATCH: usize = 256;

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let id = EventId { epoch: Epoch::new(1), seq: 123_456_789 };
    for bytes in [128, 4096, 65_536] {
        let data = "x".repeat(bytes);
        let fields = Fields { event: Some("task.status"), retry_ms: None, data: &data };
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} bytes"), |b| {
            b.iter(|| Draft::new(black_box(&fields)).seal(id));
        });
    }
    group.finish();
}

fn parse(c: &mut Criterion) {
    let rules = Rules::new(&Publish::default(), ["hello", "gap", "end"].into_iter());
    let message = format!(r#"{{"topic":"board.42","event":"e","data":"{}"}}"#, "x".repeat(128));
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
    let hub = Hub::new(Epoch::new(1), mailboxes.clone());
    let data = "x".repeat(128);
    let batch = || -> Vec<Submission> {
        let fields = Fields { event: None, retry_ms: None, data: &data };
        let one = || Submission { to: Destination::Everyone, draft: Draft::new(&fields) };
        (0..BATCH).map(|_| one()).collect()
    };
    let drain = |mailbox: &Mailbox<_>| while mailbox.pop().is_some() {};
    let mut group = c.benchmark_group("order");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("256 events into 2 mailboxes, and out", |b| {
        b.iter_batched(
            batch,
            |batch| {
                let receipt = hub.publish(batch, Instant::now());
                mailboxes.iter().for_each(|mailbox| drain(mailbox));
                receipt
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, encode, parse, order);
criterion_main!(benches);
