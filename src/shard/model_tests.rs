//! The contract's bold sentence, held for as many random steps as one likes: *on one stream, matching
//! events arrive in increasing id order, each at most once; every matching event between two received
//! ids was delivered or lies inside a declared gap.*
//!
//! Several shards, streams that read and streams that do not, long polls, clients that leave and come back to any
//! shard with their cursor, histories that forget, retained values, restarts with another epoch; all
//! in one thread, so that a seed gives the same steps again:
//!
//! ```sh
//! MODEL_SEED=7 MODEL_STEPS=1000000 cargo test --profile fast --lib bold_sentence -- --nocapture
//! ```

mod parts;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use flate2::write::GzDecoder;
use http::HeaderMap;

use super::framing::Transfer;
use super::streams::Streams;
use super::wheel::{TICK_MS, Tick};
use crate::config::schema::{Config, Slow};
use crate::config::units::Bytes;
use crate::event::EventNames;
use crate::history::{Bounds, Limits};
use crate::hub::{EventMailbox, Hub, KeyBounds};
use crate::inspect::{About, Outcome, StreamId};
use crate::metrics::{Protocol, ShardMetrics};
use crate::sse::{Cursor, Epoch, EventId};
use crate::subscribe::{Opening, RouteId, Routes, Subscription};
use crate::topic::Filter;
use parts::{Client, NAMES, Published, Stream, Wishes, client, submission};

const SHARDS: usize = 2;
const CLIENTS: usize = 24;
/// The last of them poll.
const POLLERS: usize = 8;

/// One incarnation of the gateway.
struct Gateway {
    epoch: Epoch,
    hub: Arc<Hub>,
    shards: Vec<Streams>,
    /// By the clock of the model, in which every step takes two ticks.
    time: Instant,
    tick: Tick,
    /// What every event was; the first has `seq` 1.
    truth: Vec<Published>,
    seen: Seen,
}

/// Answers to why a stream has an event, and has not.
#[derive(Clone, Copy, Debug, Default)]
struct Explained {
    delivered: usize,
    dropped: usize,
    conflated: usize,
}

/// What has happened, to be sure that something has.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    published: usize,
    refused: usize,
    received: usize,
    gaps: usize,
    resumed: usize,
    restarts: usize,
    explained: Explained,
    polls: usize,
}

fn gateway(rng: &mut Rng) -> Gateway {
    let mut config = Config::default();
    config.stream.slow = if rng.bool() { Slow::CatchUp } else { Slow::DropOldest };
    config.stream.ring_frames_max = rng.usize(1..20);
    config.stream.ring_bytes_max = Bytes(rng.usize(600..4_000));
    config.stream.max_lifetime.0 = Duration::from_secs(1_000_000);
    let mailboxes: Vec<_> = (0..SHARDS).map(|_| Arc::new(EventMailbox::new(64, 1 << 20))).collect();
    let limits = |rng: &mut Rng| Limits {
        events_max: rng.usize(0..60),
        bytes_max: rng.usize(0..20_000),
        age_max: Duration::from_secs(1_000_000),
    };
    let bounds = Bounds {
        topic: limits(rng),
        overrides: [(Filter::parse("x.>").unwrap(), limits(rng))].into(),
        bytes_max: rng.usize(2_000..60_000),
        topics_max: rng.usize(2..10),
        retained_bytes_max: rng.usize(0..5_000),
    };
    let epoch = Epoch::new(rng.u64(..));
    let keys = KeyBounds::default();
    let hub = Arc::new(Hub::new(epoch, mailboxes.clone(), bounds, keys));
    let routes = Routes::new(&config.stream);
    let shard = |(index, mailbox)| {
        let metrics = Arc::new(ShardMetrics::default());
        Streams::new(index, &config, &routes, Arc::clone(&hub), mailbox, metrics).unwrap()
    };
    let shards = mailboxes.into_iter().enumerate().map(shard).collect();
    let (time, tick) = (Instant::now(), Tick(0));
    Gateway { epoch, hub, shards, time, tick, truth: Vec::new(), seen: Seen::default() }
}

impl Gateway {
    fn publish(&mut self, rng: &mut Rng) {
        let events = 1 + rng.usize(0..4) * rng.usize(0..4);
        let (batch, truth): (Vec<_>, Vec<_>) = (0..events).map(|_| submission(rng)).unzip();
        // A full mailbox or too many retained values refuse the whole batch.
        if self.hub.publish(batch, None, self.time).is_ok() {
            self.seen.published += truth.len();
            self.truth.extend(truth);
        } else {
            self.seen.refused += 1;
        }
    }

    fn wanted(&self, wishes: &Wishes, seq: u64) -> bool {
        self.truth[seq as usize - 1].is_wanted(wishes)
    }

    fn connect(&mut self, client: &mut Client, rng: &mut Rng) {
        let cursor = match client.cursor {
            _ if rng.u8(..) < 4 => Cursor::Unreadable,
            _ if rng.u8(..) < 4 => {
                Cursor::At(EventId { epoch: self.epoch, seq: self.hub.head() + rng.u64(1..5) })
            }
            Some(id) => Cursor::At(id),
            None => Cursor::Live,
        };
        let Wishes { filters, names } = &client.wishes;
        let names = names.iter().map(|&name| name.into()).collect::<Vec<_>>();
        let subscription = Subscription {
            route: RouteId::default(),
            filters: filters.clone(),
            names: if names.is_empty() { EventNames::default() } else { EventNames::only(names) },
            cursor,
            limit: None,
            max_duration: None,
            // Some are over at once, and have to have the cursor right.
            poll: client.polls.then(|| Duration::from_secs(1_000_000) * u32::from(rng.bool())),
            gzip: rng.bool(),
            fields: HeaderMap::new(),
            interest: None,
            access: None,
            opening: Opening::Plain,
            grant: None,
        };
        let gzip = subscription.gzip.then(|| GzDecoder::new(Vec::new()));
        let shard = rng.usize(..SHARDS);
        let streams = &mut self.shards[shard];
        let asked = client.polls.then(|| streams.open_poll(subscription.clone()).expect("let in"));
        let (key, generation) = match &asked {
            Some(asked) => (asked.key, asked.generation),
            None => streams.open_body(subscription, Transfer::Bare, Protocol::Http2),
        };
        streams.subscribers[key].opened = self.tick;
        let from = match cursor {
            Cursor::At(id) if id.epoch == self.epoch && id.seq <= streams.applied => id.seq,
            _ => streams.applied,
        };
        self.seen.resumed += usize::from(from < self.hub.head());
        let values_may_come = from == streams.applied;
        client.stream = Some(Stream {
            shard,
            key,
            generation,
            asked,
            gzip,
            last: 0,
            cursor: 0,
            covered: from,
            gaps: Vec::new(),
            values_may_come,
            received: BTreeSet::new(),
            dropped: BTreeSet::new(),
        });
    }

    /// The client reads what hyper would hand it at once; false when there is nothing.
    fn read(&mut self, client: &mut Client) -> bool {
        let Some(stream) = &client.stream else { return false };
        let (shard, key, generation) = (stream.shard, stream.key, stream.generation);
        let mut cx = Context::from_waker(Waker::noop());
        if let Some(asked) = &stream.asked {
            let Poll::Ready(text) = self.shards[shard].answer_poll(asked, &mut cx) else {
                return false;
            };
            self.take_answer(client, &text);
            client.stream = None;
            return true;
        }
        match self.shards[shard].pull(key, generation, &mut cx) {
            Poll::Ready(Some(bytes)) => {
                let mut text = bytes.to_vec();
                if let Some(gzip) = client.stream.as_mut().and_then(|stream| stream.gzip.as_mut()) {
                    gzip.write_all(&bytes).and_then(|()| gzip.flush()).unwrap();
                    text = std::mem::take(gzip.get_mut());
                }
                let text = String::from_utf8(text).unwrap();
                for block in text.split_terminator("\n\n") {
                    self.seen.received += usize::from(block.contains("\ndata: x"));
                    self.seen.gaps += usize::from(block.contains("event: gap"));
                    self.take(client, block);
                }
                true
            }
            Poll::Ready(None) => panic!("no stream ends here"),
            Poll::Pending => false,
        }
    }

    /// An answer says what a stream would have: a gap, events, and where the cursor is then.
    fn take_answer(&mut self, client: &mut Client, text: &str) {
        let answer: serde_json::Value = serde_json::from_str(text).unwrap();
        let seq = |id: &serde_json::Value| match Cursor::parse(id.as_str()?.as_bytes()) {
            Cursor::At(id) => Some(id.seq),
            _ => None,
        };
        let gap = &answer["gap"];
        if let (Some(stream), Some(to)) = (&mut client.stream, seq(&gap["to"])) {
            stream.gaps.push((seq(&gap["after"]).unwrap_or(0), to));
            self.seen.gaps += 1;
        }
        for event in answer["events"].as_array().unwrap() {
            let (id, data) = (event["id"].as_str().unwrap(), event["data"].as_str().unwrap());
            let name = event["event"].as_str().map(|name| format!("event: {name}\n"));
            let name = name.unwrap_or_default();
            self.take(client, &format!("id: {id}\n{name}data: {data}"));
            self.seen.received += 1;
        }
        self.take(client, &format!("id: {}", answer["cursor"].as_str().unwrap()));
        self.seen.polls += 1;
    }

    fn take(&self, client: &mut Client, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let id = field("id: ").map(|id| match Cursor::parse(id.as_bytes()) {
            Cursor::At(id) => id,
            _ => panic!("no id: {block}"),
        });
        if let Some(id) = id {
            assert_eq!(id.epoch, self.epoch);
            client.cursor = Some(id);
        }
        let Client { wishes, stream: Some(stream), .. } = client else { return };
        let control = field("event: ").filter(|name| !NAMES.contains(name));
        if let Some(id) = id {
            let is_event = control.is_none() && field("data: ").is_some();
            assert!(id.seq >= stream.cursor + u64::from(is_event), "{}: {block}", stream.cursor);
            stream.cursor = id.seq;
        }
        match (control, id) {
            (Some("hello"), Some(id)) => self.cover(wishes, stream, id.seq, block),
            (Some("hello"), None) => {}
            (Some("gap"), Some(id)) => {
                let data = field("data: ").unwrap();
                let gap: serde_json::Value = serde_json::from_str(data).unwrap();
                let seq = |name: &str| match Cursor::parse(gap[name].as_str()?.as_bytes()) {
                    Cursor::At(id) => Some(id.seq),
                    _ => None,
                };
                let (after, to) = (seq("after").unwrap_or(0), seq("to").unwrap());
                assert!(after < to || gap["after"].is_null(), "{block}");
                stream.gaps.push((after, to));
                self.cover(wishes, stream, id.seq, block);
            }
            (Some(other), _) => panic!("what is {other}?"),
            (None, Some(id)) if field("data: ").is_some() => {
                let seq = id.seq;
                assert!(self.wanted(wishes, seq), "not asked for: {block}");
                assert!(seq > stream.last, "after {}: {block}", stream.last);
                stream.last = seq;
                assert!(!stream.dropped.contains(&seq), "said to be dropped: {block}");
                stream.received.insert(seq);
                if seq > stream.covered {
                    self.cover(wishes, stream, seq - 1, block);
                    stream.covered = seq;
                } else {
                    let is_lost = stream.gaps.iter().any(|&(after, to)| after < seq && seq <= to);
                    assert!(stream.values_may_come || is_lost, "twice: {block}");
                }
            }
            // A comment that moves the cursor.
            (None, Some(id)) => self.cover(wishes, stream, id.seq, block),
            (None, None) => panic!("what is this? {block}"),
        }
    }

    /// Its publisher has let the next one of its kind take its place.
    fn is_replaced(&self, wishes: &Wishes, seq: u64) -> bool {
        let Published { to, conflate, .. } = &self.truth[seq as usize - 1];
        let newer = self.truth.iter().zip(1..).skip(seq as usize);
        conflate.is_some()
            && newer
                .filter(|&(_, newer)| self.wanted(wishes, newer))
                .any(|(newer, _)| newer.to == *to && newer.conflate == *conflate)
    }

    /// The client's cursor moves to `upto`: everything before must have come or been declared.
    fn cover(&self, wishes: &Wishes, stream: &mut Stream, upto: u64, why: &str) {
        for seq in stream.covered + 1..=upto {
            let declared = stream.gaps.iter().any(|&(after, to)| after < seq && seq <= to);
            assert!(
                declared || !self.wanted(wishes, seq) || self.is_replaced(wishes, seq),
                "{seq} was neither delivered nor declared, before {why:?}; gaps: {:?}",
                stream.gaps
            );
        }
        stream.covered = stream.covered.max(upto);
    }

    /// Asks why a stream has an event or has not; the client knows.
    fn explain(&mut self, client: &mut Client, rng: &mut Rng) {
        let head = self.hub.head();
        let Client { wishes, stream: Some(stream), .. } = client else { return };
        if head == 0 {
            return;
        }
        let newest = head.saturating_sub(40).max(1);
        // Most have not been replaced.
        let replaced: Vec<_> =
            (newest..=head).filter(|&seq| self.is_replaced(wishes, seq)).collect();
        let one = if rng.bool() { rng.choice(replaced) } else { None };
        let seq = one.unwrap_or_else(|| rng.u64(newest..=head));
        let shard = &mut self.shards[stream.shard];
        let id = StreamId::new(stream.shard, stream.key, stream.generation);
        let about = About::Event(EventId { epoch: self.epoch, seq });
        let Some(explained) = shard.explain(id, &about) else { return };
        let all_gaps_known = shard.told_gaps.are_all_known();
        let has_it = stream.received.contains(&seq);
        let what = format!("{seq}: {explained:?}");
        let wanted = self.wanted(wishes, seq);
        match explained.outcome {
            Outcome::OtherOrder | Outcome::NotYet => panic!("{what}"),
            Outcome::NotAskedFor | Outcome::FilteredByName => assert!(!wanted, "{what}"),
            Outcome::Waiting => assert!(!has_it && wanted, "{what}"),
            Outcome::Delivered if all_gaps_known => {
                assert!(has_it, "{what}");
                self.seen.explained.delivered += 1;
            }
            Outcome::Dropped | Outcome::DroppedOrConflated => {
                assert!(!has_it && wanted, "{what}");
                stream.dropped.insert(seq);
                self.seen.explained.dropped += 1;
            }
            // One that is to catch up may read it from the history yet.
            Outcome::Conflated => {
                assert!(!has_it && wanted && self.is_replaced(wishes, seq), "{what}");
                self.seen.explained.conflated += 1;
            }
            Outcome::DeliveredOrConflated if all_gaps_known => {
                assert!(wanted && (has_it || self.is_replaced(wishes, seq)), "{what}");
            }
            _ => {}
        }
    }

    fn leave(&mut self, client: &mut Client) {
        if let Some(stream) = client.stream.take() {
            self.shards[stream.shard].close_body(stream.key, stream.generation, false);
        }
    }

    /// Everything goes where it belongs, and every client reads all of it.
    fn settle(&mut self, clients: &mut [Client]) {
        for shard in &mut self.shards {
            shard.look_at_clock();
            shard.deliver_until(self.hub.head());
        }
        let head = self.hub.head();
        assert_eq!(head, self.truth.len() as u64);
        for client in clients {
            while self.read(client) {}
            if let Some(stream) = &mut client.stream {
                self.cover(&client.wishes, stream, head, "the end");
            }
        }
    }
}

fn run(seed: u64, steps: usize) -> Explained {
    let rng = &mut Rng::with_seed(seed);
    fastrand::seed(seed);
    let mut now = gateway(rng);
    let mut clients: Vec<_> = (0..CLIENTS).map(|at| client(rng, at >= CLIENTS - POLLERS)).collect();
    for step in 0..steps {
        let at = rng.usize(..CLIENTS);
        now.time += Duration::from_millis(2 * TICK_MS);
        now.tick.0 += 2;
        match rng.usize(0..1_000) {
            0..200 => now.publish(rng),
            200..400 => {
                let shard = &mut now.shards[rng.usize(..SHARDS)];
                shard.look_at_clock();
                shard.deliver();
                shard.sweep();
            }
            // The first clients hardly ever read.
            400..800 if at >= 4 || rng.usize(0..50) == 0 => {
                now.read(&mut clients[at]);
            }
            800..900 if clients[at].stream.is_none() => now.connect(&mut clients[at], rng),
            900..940 => now.leave(&mut clients[at]),
            940..998 => now.explain(&mut clients[at], rng),
            998 => now.settle(&mut clients),
            _ if rng.usize(0..20) == 0 => {
                clients.iter_mut().for_each(|client| now.leave(client));
                let seen = now.seen;
                now = gateway(rng);
                now.seen = Seen { restarts: seen.restarts + 1, ..seen };
                let other = rng.usize(..CLIENTS);
                clients[other] = client(rng, other >= CLIENTS - POLLERS);
            }
            _ => {}
        }
        if step % 100_000 == 99_999 {
            now.settle(&mut clients);
        }
    }
    now.settle(&mut clients);
    let Seen { published, received, gaps, resumed, polls, explained, .. } = now.seen;
    println!("seed {seed}: {:?}", now.seen);
    let least = steps / 100;
    assert!(published > least && received > least && gaps > least / 20 && resumed > least / 20);
    assert!(polls > least, "{polls} polls");
    explained
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn f16_f17_the_bold_sentence_holds_for_many_steps() {
    let seeds = match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..40,
    };
    let steps = number("MODEL_STEPS").unwrap_or(5_000) as usize;
    // Only because a shard has a poll set; nothing is ever polled.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut explained = Explained::default();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed, steps));
        let again = || panic!("again with MODEL_SEED={seed} MODEL_STEPS={steps}");
        let of_run = result.unwrap_or_else(|_| again());
        explained.delivered += of_run.delivered;
        explained.dropped += of_run.dropped;
        explained.conflated += of_run.conflated;
    }
    let Explained { delivered, dropped, conflated } = explained;
    assert!(delivered > 10 && dropped > 10 && conflated > 10, "{explained:?}");
}
