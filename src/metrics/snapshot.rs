//! The shards' counters as JSON, for the internal API: fewer than a scrape has, and each shard by
//! itself.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::{Dropped, HistogramSnapshot, ListenerName, Metrics, Protocol, Replayed, ShardMetrics};
use crate::sse::GapReason;

/// What one shard counts, or all together. Counters count from the start of the process.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Streams open now over HTTP/1.
    pub streams_http1: u64,
    /// Streams open now over HTTP/2.
    pub streams_http2: u64,
    /// Long polls that wait now.
    pub streams_poll: u64,
    /// Connections open now to the public listeners.
    pub connections_public: u64,
    /// Connections open now to the internal listener.
    pub connections_internal: u64,
    /// Topics and patterns with at least one subscriber; one that is on several shards counts on each.
    pub topics: u64,
    /// Events that wait in rings now.
    pub ring_frames: u64,
    /// Streams that read the past now.
    pub replaying: u64,
    /// Streams opened.
    pub streams_opened: u64,
    /// Streams closed, whatever the reason.
    pub streams_closed: u64,
    /// Events accepted from publishers.
    pub events_published: u64,
    /// Events written to streams, each stream counted.
    pub events_delivered: u64,
    /// Events lost to streams that were too slow, each stream counted.
    pub events_dropped_slow: u64,
    /// Events that waited for a stream when it closed.
    pub events_dropped_closed: u64,
    /// Events whose place a newer one took while they waited, each stream counted.
    pub events_conflated: u64,
    /// Gaps told, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Replays that were complete.
    pub replays_complete: u64,
    /// Bytes written to streams.
    pub sent_bytes: u64,
}

impl Counters {
    fn of(cells: &ShardMetrics) -> Self {
        let gap = |reason: GapReason| (reason.as_str(), cells.gaps[reason as usize].get());
        Self {
            streams_http1: cells.subscribers[Protocol::Http1 as usize].get(),
            streams_http2: cells.subscribers[Protocol::Http2 as usize].get(),
            streams_poll: cells.subscribers[Protocol::Poll as usize].get(),
            connections_public: cells.connections[ListenerName::Public as usize].get(),
            connections_internal: cells.connections[ListenerName::Internal as usize].get(),
            topics: cells.topics.get(),
            ring_frames: cells.ring_frames.get(),
            replaying: cells.replaying.get(),
            streams_opened: cells.streams_opened.get(),
            streams_closed: cells.streams_closed.iter().map(super::Cell::get).sum(),
            events_published: cells.events_published.get(),
            events_delivered: cells.events_delivered.get(),
            events_dropped_slow: cells.events_dropped[Dropped::Slow as usize].get(),
            events_dropped_closed: cells.events_dropped[Dropped::Closed as usize].get(),
            events_conflated: cells.events_conflated.get(),
            gaps: GapReason::ALL.into_iter().map(gap).collect(),
            replays_complete: cells.replays[Replayed::Complete as usize].get(),
            sent_bytes: cells.sent_bytes.get(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.streams_http1 += other.streams_http1;
        self.streams_http2 += other.streams_http2;
        self.streams_poll += other.streams_poll;
        self.connections_public += other.connections_public;
        self.connections_internal += other.connections_internal;
        self.topics += other.topics;
        self.ring_frames += other.ring_frames;
        self.replaying += other.replaying;
        self.streams_opened += other.streams_opened;
        self.streams_closed += other.streams_closed;
        self.events_published += other.events_published;
        self.events_delivered += other.events_delivered;
        self.events_dropped_slow += other.events_dropped_slow;
        self.events_dropped_closed += other.events_dropped_closed;
        self.events_conflated += other.events_conflated;
        for (reason, count) in &other.gaps {
            *self.gaps.entry(reason).or_default() += count;
        }
        self.replays_complete += other.replays_complete;
        self.sent_bytes += other.sent_bytes;
    }
}

/// How long something took, counted in buckets, from the start of the process.
#[derive(Clone, Debug, Serialize)]
pub struct Durations {
    /// Upper bounds of the buckets, in seconds.
    pub bounds_seconds: Vec<f64>,
    /// How many are in each bucket; the last one is above every bound.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum_seconds: f64,
}

impl From<HistogramSnapshot> for Durations {
    fn from(histogram: HistogramSnapshot) -> Self {
        Self {
            bounds_seconds: histogram.bounds.into(),
            counts: histogram.counts.into(),
            sum_seconds: histogram.sum_ns as f64 / 1e9,
        }
    }
}

/// What the history holds, as of the last second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HistoryGauges {
    /// Events; one with several topics counts for each.
    pub events: u64,
    /// Bytes.
    pub bytes: u64,
    /// Topics that something is known of.
    pub topics: u64,
    /// Bytes of retained values.
    pub retained_bytes: u64,
}

impl Metrics {
    /// What one shard counts.
    pub fn counters(&self, shard: usize) -> Counters {
        Counters::of(&self.cells[shard])
    }

    /// What all count together.
    pub fn all_counters(&self) -> Counters {
        let mut total = Counters::default();
        for cells in &self.cells {
            total.add(&Counters::of(cells));
        }
        total
    }

    /// From an accepted publish to each write of its event to a socket.
    pub fn fanout(&self) -> Durations {
        self.merged(|cells| cells.fanout.snapshot())
    }

    /// From a publish request's complete body to its answer.
    pub fn publish(&self) -> Durations {
        self.merged(|cells| cells.publish.snapshot())
    }

    /// What the history holds.
    pub fn history(&self) -> HistoryGauges {
        let keeper = &self.cells[0];
        HistoryGauges {
            events: keeper.history_events.get(),
            bytes: keeper.history_bytes.get(),
            topics: keeper.history_topics.get(),
            retained_bytes: keeper.retained_bytes.get(),
        }
    }

    /// Milliseconds since a shard turned its loop: it does so every second at least.
    pub fn silence_ms(&self, shard: usize, now: Instant) -> u64 {
        self.clock_ms(now).saturating_sub(self.cells[shard].alive_at_ms.get())
    }

    /// Milliseconds since the gateway started.
    pub fn uptime_ms(&self, now: Instant) -> u64 {
        self.clock_ms(now)
    }

    fn merged(&self, read: impl Fn(&ShardMetrics) -> HistogramSnapshot) -> Durations {
        let mut total = read(&self.cells[0]);
        for cells in &self.cells[1..] {
            total.merge(&read(cells));
        }
        total.into()
    }
}
