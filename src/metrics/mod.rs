//! Metrics: every name in one table, one set of cells a shard, rendered on demand.
//!
//! A scrape reads the cells without stopping anyone; labels are bounded (never a topic, a user or a
//! path). `tidegate metrics` prints the table.

mod cells;
mod render;
mod snapshot;
mod table;
mod upstream;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;

pub use cells::{BUCKETS, Cell, Histogram, HistogramSnapshot};
pub use snapshot::{Counters, Durations, HistoryGauges};
pub use table::{METRICS, Metric};
pub use upstream::{Counted, UpstreamMetrics};

use crate::sse::{EndReason, GapReason};

/// Everything one shard counts. Aligned so that no two shards share a cache line (or the pair that
/// the prefetcher fetches together).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Streams open now, by protocol.
    pub subscribers: [Cell; Protocol::ALL.len()],
    /// Connections open now, by listener.
    pub connections: [Cell; ListenerName::ALL.len()],
    /// Topics and patterns with at least one subscriber.
    pub topics: Cell,
    /// Events waiting in the rings of streams that are behind.
    pub ring_frames: Cell,
    /// Streams that are reading the past.
    pub replaying: Cell,
    /// Events in the history. Of this and the next three only the first shard keeps account.
    pub history_events: Cell,
    /// Bytes of the history.
    pub history_bytes: Cell,
    /// Topics that the history knows something of.
    pub history_topics: Cell,
    /// Bytes of retained values.
    pub retained_bytes: Cell,
    /// Bytes of the log on disk. Of this and the next four only the log's thread keeps account.
    pub log_bytes: Cell,
    /// Files of the log.
    pub log_segments: Cell,
    /// Bytes of the log that the operating system has and the disk perhaps not.
    pub log_unsynced_bytes: Cell,
    /// Writes to the log.
    pub log_writes: Cell,
    /// How long the disk took for each sync of the log.
    pub log_sync: Histogram<50_000>,
    /// Reloads of the configuration, by what came of them. Of this and the next two only the main thread
    /// keeps account.
    pub config_reloads: [Cell; DONE.len()],
    /// When the last one was applied, in seconds since 1970; 0 for never.
    pub config_reloaded_at: Cell,
    /// Public connections that there may be.
    pub connections_max: Cell,
    /// Streams opened.
    pub streams_opened: Cell,
    /// Streams closed, by reason.
    pub streams_closed: [Cell; Closed::LABELS.len()],
    /// Events accepted from publishers by this shard's internal listener.
    pub events_published: Cell,
    /// Events written to a stream, each stream counted.
    pub events_delivered: Cell,
    /// Events not written to a matching stream, by reason, each stream counted.
    pub events_dropped: [Cell; Dropped::ALL.len()],
    /// Events whose place in a ring a newer one has taken, each stream counted.
    pub events_conflated: Cell,
    /// Gap events sent, by reason.
    pub gaps: [Cell; GapReason::ALL.len()],
    /// Replays that came to an end, by how.
    pub replays: [Cell; Replayed::ALL.len()],
    /// Bytes written to streams.
    pub sent_bytes: Cell,
    /// Publish requests, by answer.
    pub publish_requests: [Cell; PUBLISH_CODES.len()],
    /// Decisions that app servers were asked for, by what they were.
    pub auth_requests: [Cell; DECIDED.len()],
    /// Clients that were refused their stream for what an app server decided, by reason.
    pub auth_failures: [Cell; AuthFailure::ALL.len()],
    /// Snapshots that app servers were asked for, by what came of it.
    pub snapshot_fetches: [Cell; DONE.len()],
    /// Sources, by state.
    pub sources: [Cell; SourceState::ALL.len()],
    /// What sources have read, by what became of it.
    pub source_events: [Cell; SourceEvent::ALL.len()],
    /// Streams that sources have opened.
    pub source_connections: Cell,
    /// Failed attempts to accept a connection.
    pub accept_errors: Cell,
    /// Connections that were closed for what their client did, by reason.
    pub connections_cut: [Cell; CutReason::ALL.len()],
    /// From an accepted publish to each write of its event to a socket.
    pub fanout: Histogram<50_000>,
    /// From a publish request's complete body to its answer.
    pub publish: Histogram<50_000>,
    /// How long streams lived.
    pub stream_duration: Histogram<100_000_000>,
    /// When this shard last turned its loop, in milliseconds of the gateway's clock.
    pub alive_at_ms: Cell,
}

impl ShardMetrics {
    /// Counts a decision, by its place in the labels: granted, denied, failed.
    pub fn count_auth(&self, decided: usize) {
        self.auth_requests[decided].add(1);
    }

    /// Counts a snapshot that an app server was asked for.
    pub fn count_snapshot(&self, is_there: bool) {
        self.snapshot_fetches[usize::from(!is_there)].add(1);
    }

    /// Counts a reload of the configuration that was applied at this time, in seconds since 1970, or
    /// refused.
    pub fn count_reload(&self, applied_at: Option<u64>) {
        self.config_reloads[usize::from(applied_at.is_none())].add(1);
        if let Some(at) = applied_at {
            self.config_reloaded_at.set(at);
        }
    }

    /// Counts a publish request's answer.
    pub fn count_publish(&self, status: u16) {
        let index = PUBLISH_CODES.iter().position(|&(code, _)| code == status);
        self.publish_requests[index.unwrap_or(PUBLISH_CODES.len() - 1)].add(1);
    }
}

/// Answers to a publish request that have a label of their own; the last stands for all others.
const PUBLISH_CODES: [(u16, &str); 12] = [
    (202, "202"),
    (400, "400"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (503, "503"),
    (507, "507"),
    (0, "other"),
];

/// What an app server says of a client.
const DECIDED: [&str; 3] = ["granted", "denied", "failed"];

/// A shard that has not turned for this long is broken: its loop turns every second.
const SILENCE_MS_MAX: u64 = 10_000;

/// What comes of asking an app server, and of a reload of the configuration.
const DONE: [&str; 2] = ["ok", "failed"];

/// Why a client was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The app server said no.
    Denied,
    /// The app server could not be asked, or said nothing of use.
    Failed,
    /// As many clients wait for app servers as may.
    Busy,
}

impl AuthFailure {
    const ALL: [&'static str; 3] = ["denied", "failed", "busy"];
}

/// What no cell holds: the gateway is asked for it at each scrape.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Whether the gateway takes new streams: what `/readyz` says.
    pub is_ready: bool,
    /// How full the fullest mailbox is, from 0 to 1.
    pub mailbox_fill: f64,
}

/// How a stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1: the shard owns the socket.
    Http1,
    /// HTTP/2: a body inside hyper.
    Http2,
    /// A long poll, over either.
    Poll,
}

impl Protocol {
    const ALL: [&'static str; 3] = ["http1", "http2", "poll"];

    /// The word in labels and in the internal API.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// Which listener a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerName {
    /// Streams.
    Public,
    /// Publish, health, metrics.
    Internal,
}

impl ListenerName {
    const ALL: [&'static str; 2] = ["public", "internal"];

    /// The word in labels and logs.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// Why a connection was closed although its client was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// Its address has as many as it may: it was not served at all.
    Address,
    /// A request's head did not come in time.
    SlowHead,
    /// It had no request for too long.
    Idle,
    /// It took too little of a response.
    SlowReader,
    /// Too many HTTP/2 frames that carry nothing.
    Flood,
}

impl CutReason {
    const ALL: [&'static str; 5] = ["address", "slow_head", "idle", "slow_reader", "flood"];
}

/// Why an event was not written to a stream it matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The stream's ring was full; a gap is owed.
    Slow,
    /// The stream closed first.
    Closed,
}

impl Dropped {
    const ALL: [&'static str; 2] = ["slow", "closed"];
}

/// How a stream's reading of the past ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It has everything.
    Complete,
    /// It has been told of a loss, and has the rest.
    Gap,
    /// It ended first.
    Abandoned,
}

impl Replayed {
    const ALL: [&'static str; 3] = ["complete", "gap", "abandoned"];
}

/// Where a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It asks for its stream.
    Connecting,
    /// It reads its stream.
    Connected,
    /// It waits before it connects again.
    Disconnected,
    /// It has given up.
    Error,
}

impl SourceState {
    const ALL: [&'static str; 4] = ["connecting", "connected", "disconnected", "error"];

    /// The word in labels, answers and events.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// What became of an event that a source has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// It has been published.
    Published,
    /// It had been published before a reconnect.
    Duplicate,
    /// It makes no topic, or may not be published.
    Refused,
    /// It was larger than an event of this source may be.
    TooLarge,
}

impl SourceEvent {
    const ALL: [&'static str; 4] = ["published", "duplicate", "refused", "too_large"];
}

/// Why a stream is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The gateway ended it, and said so.
    Ended(EndReason),
    /// The client went away.
    Client,
    /// The client kept sending on a connection that was only for reading.
    Misuse,
    /// The stream was to end but the client did not read up to its end in time.
    Stuck,
    /// The client read too slowly where such clients are disconnected.
    Slow,
    /// It was a long poll, and has its answer.
    Answered,
}

impl Closed {
    /// Those of the reasons, and behind them the others.
    const LABELS: [&'static str; EndReason::ALL.len() + 5] = {
        let mut labels = ["client"; EndReason::ALL.len() + 5];
        let mut at = 0;
        while at < EndReason::ALL.len() {
            labels[at] = EndReason::ALL[at].as_str();
            at += 1;
        }
        labels[Self::Misuse.index()] = "misuse";
        labels[Self::Stuck.index()] = "stuck";
        labels[Self::Slow.index()] = "slow";
        labels[Self::Answered.index()] = "answered";
        labels
    };

    /// The word in labels and logs.
    pub const fn as_str(self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// Its place among the labels.
    pub const fn index(self) -> usize {
        match self {
            Self::Ended(reason) => reason as usize,
            Self::Client => EndReason::ALL.len(),
            Self::Misuse => EndReason::ALL.len() + 1,
            Self::Stuck => EndReason::ALL.len() + 2,
            Self::Slow => EndReason::ALL.len() + 3,
            Self::Answered => EndReason::ALL.len() + 4,
        }
    }
}

/// All shards' cells together, and the clock they share.
#[derive(Debug)]
pub struct Metrics {
    /// Those of the shards, and behind them those of all other threads.
    cells: Box<[Arc<ShardMetrics>]>,
    /// In the order of the configuration, which a reload may change.
    upstreams: RwLock<Vec<Arc<Upstream>>>,
    process: ProcessCollector,
    started: Instant,
}

/// A group of app servers, and each shard's cells for it.
#[derive(Debug)]
struct Upstream {
    name: Box<str>,
    cells: Box<[Arc<UpstreamMetrics>]>,
}

impl Metrics {
    /// Cells for `shards` shards of a gateway that started at `started` and has these groups of app
    /// servers.
    pub fn new<'a>(
        shards: usize,
        upstreams: impl IntoIterator<Item = &'a str>,
        started: Instant,
    ) -> Self {
        let cells = (0..=shards).map(|_| Arc::default()).collect();
        let process = ProcessCollector::for_self();
        let metrics = Self { cells, upstreams: RwLock::default(), process, started };
        metrics.set_upstreams(upstreams);
        metrics
    }

    /// There are these groups of app servers from now on. One that was there before goes on counting;
    /// one that is gone is not shown any more.
    pub fn set_upstreams<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut upstreams = self.upstreams.write().unwrap_or_else(PoisonError::into_inner);
        let found = |name: &str| match upstreams.iter().find(|upstream| *upstream.name == *name) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Upstream {
                name: name.into(),
                cells: (0..self.shard_count()).map(|_| Arc::default()).collect(),
            }),
        };
        *upstreams = names.into_iter().map(found).collect();
    }

    fn known_upstreams(&self) -> Vec<Arc<Upstream>> {
        self.upstreams.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One shard's cells.
    pub fn shard(&self, index: usize) -> Arc<ShardMetrics> {
        Arc::clone(&self.cells[index])
    }

    /// One shard's cells for the groups of app servers, in their order.
    pub fn upstreams(&self, shard: usize) -> Vec<Arc<UpstreamMetrics>> {
        let upstreams = self.known_upstreams();
        upstreams.iter().map(|upstream| Arc::clone(&upstream.cells[shard])).collect()
    }

    /// The cells of the threads that are no shards: the log's and the main one, each with its own.
    pub fn off_shard(&self) -> Arc<ShardMetrics> {
        self.shard(self.shard_count())
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> usize {
        self.cells.len() - 1
    }

    /// A shard's loop has turned at `now`. Called by that shard.
    pub fn mark_alive(&self, shard: usize, now: Instant) {
        self.cells[shard].alive_at_ms.set(self.clock_ms(now));
    }

    fn clock_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// Whether every shard has turned its loop lately.
    pub fn is_alive(&self, now: Instant) -> bool {
        let now = self.clock_ms(now);
        let shards = &self.cells[..self.shard_count()];
        shards.iter().all(|shard| now.saturating_sub(shard.alive_at_ms.get()) <= SILENCE_MS_MAX)
    }

    /// The Prometheus text format.
    pub fn render(&self, standing: Standing) -> String {
        render::render(self, standing)
    }
}

/// Prints every metric: what `tidegate metrics` does.
#[expect(clippy::print_stdout, reason = "this is a command's output")]
pub fn list() {
    for metric in METRICS {
        println!("{} ({})\n    {}", metric.name, metric.kind(), metric.help);
        for (label, values) in metric.labels() {
            println!("    {label}: {}", values.join(", "));
        }
    }
    for family in ProcessCollector::for_self().collect() {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        println!("{} ({kind})\n    {}", family.name(), family.help());
    }
}
