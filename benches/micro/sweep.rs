//! The gateway's own share of a delivery: from the mailbox to the logs (`deliver`) and from there to
//! the sockets (`sweep`), beside the bare system call for the same bytes.
//!
//! Times are of a whole round. An element is a delivery for `deliver`, and a visit for `sweep`,
//! which is one system call however many events are pending.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::inputs::crowd::{Crowd, Topics};
use crate::inputs::{DATA_BYTES, draft, id};

const STREAMS: [usize; 2] = [1_000, 5_000];
const PENDING: [usize; 2] = [1, 16];
const TOPICS: [(&str, Topics); 2] = [("one topic", Topics::One), ("mixed topics", Topics::Mixed)];

pub(crate) fn bench(c: &mut Criterion) {
    raise_descriptor_limit();
    deliver(c);
    sweep(c);
}

fn deliver(c: &mut Criterion) {
    let mut group = group(c, "deliver");
    for streams in STREAMS {
        for (name, topics) in TOPICS {
            let mut crowd = Crowd::new(streams, topics);
            for pending in PENDING {
                group.throughput(Throughput::Elements((streams * pending) as u64));
                let name = format!("{streams} streams, {pending} pending, {name}");
                measure(&mut group, name, || round(&mut crowd, pending).deliver);
            }
        }
    }
    group.finish();
}

fn sweep(c: &mut Criterion) {
    let mut group = group(c, "sweep");
    for streams in STREAMS {
        group.throughput(Throughput::Elements(streams as u64));
        let mut pairs = Pairs::new(streams);
        for pending in PENDING {
            let name = format!("{streams} streams, {pending} pending, bare write");
            measure(&mut group, name, || pairs.round(pending));
        }
        drop(pairs);
        for (name, topics) in TOPICS {
            let mut crowd = Crowd::new(streams, topics);
            for pending in PENDING {
                let name = format!("{streams} streams, {pending} pending, {name}");
                measure(&mut group, name, || round(&mut crowd, pending).sweep);
            }
        }
    }
    group.finish();
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    // A round takes milliseconds, and most of it is not measured.
    group.sample_size(20).warm_up_time(Duration::from_secs(1));
    group
}

/// Measures the part of a round that `part` runs and times.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: String,
    mut part: impl FnMut() -> Duration,
) {
    group.bench_function(name, |b| b.iter_custom(|rounds| (0..rounds).map(|_| part()).sum()));
}

/// How long the parts of a round took.
struct Took {
    deliver: Duration,
    sweep: Duration,
}

fn round(crowd: &mut Crowd, pending: usize) -> Took {
    crowd.publish(pending);
    let start = Instant::now();
    crowd.fanout.deliver();
    let delivered = Instant::now();
    crowd.fanout.sweep();
    let took = Took { deliver: delivered - start, sweep: delivered.elapsed() };
    crowd.read();
    took
}

/// Sockets without a gateway.
struct Pairs {
    pairs: Vec<(UnixStream, UnixStream)>,
    read: Vec<u8>,
}

impl Pairs {
    fn new(count: usize) -> Self {
        let pair = |_| {
            let (server, client) = UnixStream::pair().expect("descriptors for a pair of sockets");
            server.set_nonblocking(true).expect("a socket");
            (server, client)
        };
        Self { pairs: (0..count).map(pair).collect(), read: vec![0; 64 * 1024] }
    }

    /// Writes the bytes of so many events to every socket with one system call each.
    fn round(&mut self, events: usize) -> Duration {
        let bytes = draft(DATA_BYTES).seal(id()).chunk().repeat(events);
        let start = Instant::now();
        for (server, _) in &mut self.pairs {
            assert_eq!(server.write(&bytes).expect("a socket with room"), bytes.len());
        }
        let took = start.elapsed();
        for (_, client) in &mut self.pairs {
            assert_eq!(client.read(&mut self.read).expect("what was written"), bytes.len());
        }
        took
    }
}

/// 5,000 streams are 10,000 descriptors, more than most shells allow at first.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a process may raise its own limit to the hard one");
}
