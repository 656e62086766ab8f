//! `/stats`, `/shards`, `/limits` and `/version`: the gateway as a whole.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Console, TAILS_MAX};
use crate::metrics::{Counters, Durations, HistoryGauges};

#[derive(Serialize)]
pub(super) struct Stats {
    time_ms: u64,
    uptime_ms: u64,
    head: String,
    counters: Counters,
    history: HistoryGauges,
    /// How full the fullest mailbox is, from 0 to 1.
    mailbox_fill: f64,
    fanout: Durations,
    publish: Durations,
}

#[derive(Serialize)]
pub(super) struct Shards {
    shards: Vec<Shard>,
}

#[derive(Serialize)]
struct Shard {
    shard: usize,
    silence_ms: u64,
    mailbox_events: usize,
    counters: Counters,
}

#[derive(Serialize)]
pub(super) struct Limits {
    limits: Vec<Limit>,
}

/// A bound, and how much of it is in use where that is known.
#[derive(Serialize)]
struct Limit {
    name: &'static str,
    unit: &'static str,
    used: Option<u64>,
    max: u64,
}

#[derive(Serialize)]
pub(super) struct Version {
    version: &'static str,
    epoch: String,
    started_ms: u64,
    shards: usize,
    durability: &'static str,
}

impl Console {
    pub(super) fn stats(&self) -> Stats {
        Stats {
            time_ms: ms(SystemTime::now()),
            uptime_ms: self.metrics.uptime_ms(Instant::now()),
            head: self.hub.id(self.hub.head()).to_string(),
            counters: self.metrics.all_counters(),
            history: self.metrics.history(),
            mailbox_fill: self.hub.fill(),
            fanout: self.metrics.fanout(),
            publish: self.metrics.publish(),
        }
    }

    pub(super) fn shards(&self) -> Shards {
        let now = Instant::now();
        let shard = |shard| Shard {
            shard,
            silence_ms: self.metrics.silence_ms(shard, now),
            mailbox_events: self.hub.waiting_for(shard),
            counters: self.metrics.counters(shard),
        };
        Shards { shards: (0..self.metrics.shard_count()).map(shard).collect() }
    }

    /// Those that are used up by what clients and publishers do, by the names they have in the
    /// configuration.
    pub(super) fn limits(&self) -> Limits {
        let settings = self.settings.now();
        let config = &settings.config;
        let held = self.metrics.history();
        let shards = 0..self.metrics.shard_count();
        let mailbox = shards.map(|shard| self.hub.waiting_for(shard) as u64).max();
        let connections = self.connections.load(Ordering::Relaxed) as u64;
        let limit = |name, unit, used, max: usize| Limit { name, unit, used, max: max as u64 };
        let history = &config.history;
        let stream = &config.stream;
        let tails = (TAILS_MAX - self.tails.available_permits()) as u64;
        Limits {
            limits: vec![
                limit(
                    "server.connections_max",
                    "connections",
                    Some(connections),
                    settings.connections_max,
                ),
                limit("mailbox.events_max", "events", mailbox, config.mailbox.events_max),
                limit("mailbox.bytes_max", "bytes", None, config.mailbox.bytes_max.0),
                limit(
                    "history.total_bytes_max",
                    "bytes",
                    Some(held.bytes),
                    history.total_bytes_max.0,
                ),
                limit("history.topics_max", "topics", Some(held.topics), history.topics_max),
                limit(
                    "history.retained_bytes_max",
                    "bytes",
                    Some(held.retained_bytes),
                    history.retained_bytes_max.0,
                ),
                limit("history.replays_max", "streams of a shard", None, history.replays_max),
                limit("stream.ring_frames_max", "events of a stream", None, stream.ring_frames_max),
                limit("stream.ring_bytes_max", "bytes of a stream", None, stream.ring_bytes_max.0),
                limit("stream.topics_max", "topics of a stream", None, stream.topics_max),
                limit("publish.event_bytes_max", "bytes", None, config.publish.event_bytes_max.0),
                limit("tails", "requests", Some(tails), TAILS_MAX),
            ],
        }
    }

    pub(super) fn version(&self) -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION"),
            epoch: self.hub.epoch().to_string(),
            started_ms: ms(self.started),
            shards: self.metrics.shard_count(),
            durability: self.durability,
        }
    }
}

fn ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
