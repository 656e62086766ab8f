//! Every metric's name, type, help and source, in one place.

use super::cells::HistogramSnapshot;
use super::upstream::{CODES, UpstreamMetrics};
use super::{
    AuthFailure, Closed, CutReason, DECIDED, DONE, Dropped, ListenerName, PUBLISH_CODES, Protocol,
    Replayed, ShardMetrics, SourceEvent, SourceState, Standing,
};
use crate::sse::GapReason;

/// One metric as it is listed and rendered. Values are summed over the shards.
pub struct Metric {
    /// Its name, with prefix and unit.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    pub(super) source: Source,
}

impl Metric {
    /// Its type in Prometheus's terms.
    pub fn kind(&self) -> &'static str {
        match self.source {
            Source::BuildInfo
            | Source::Standing(_)
            | Source::Gauge(_)
            | Source::GaugeBy(..)
            | Source::UpstreamGauge(_) => "gauge",
            Source::Counter(_)
            | Source::CounterBy(..)
            | Source::UpstreamCounter(_)
            | Source::UpstreamCounterBy(..) => "counter",
            Source::Histogram(_) | Source::UpstreamHistogram(_) => "histogram",
        }
    }

    /// Its labels and every value that each takes.
    pub fn labels(&self) -> Vec<(&'static str, &'static [&'static str])> {
        const UPSTREAM: (&str, &[&str]) = ("upstream", &["each name in proxy.upstreams"]);
        match self.source {
            Source::BuildInfo => vec![("version", &[env!("CARGO_PKG_VERSION")])],
            Source::GaugeBy(name, values, _) | Source::CounterBy(name, values, _) => {
                vec![(name, values)]
            }
            Source::Standing(_) | Source::Gauge(_) | Source::Counter(_) | Source::Histogram(_) => {
                vec![]
            }
            Source::UpstreamGauge(_)
            | Source::UpstreamCounter(_)
            | Source::UpstreamHistogram(_) => {
                vec![UPSTREAM]
            }
            Source::UpstreamCounterBy(name, values, _) => vec![UPSTREAM, (name, values)],
        }
    }
}

type Read = fn(&ShardMetrics) -> u64;
type ReadBy = fn(&ShardMetrics, usize) -> u64;

/// Where a metric's value comes from.
pub(super) enum Source {
    BuildInfo,
    Standing(fn(&Standing) -> f64),
    Gauge(Read),
    GaugeBy(&'static str, &'static [&'static str], ReadBy),
    Counter(Read),
    CounterBy(&'static str, &'static [&'static str], ReadBy),
    Histogram(fn(&ShardMetrics) -> HistogramSnapshot),
    UpstreamGauge(fn(&UpstreamMetrics) -> u64),
    UpstreamCounter(fn(&UpstreamMetrics) -> u64),
    UpstreamCounterBy(&'static str, &'static [&'static str], fn(&UpstreamMetrics, usize) -> u64),
    UpstreamHistogram(fn(&UpstreamMetrics) -> HistogramSnapshot),
}

const GAP_LABELS: [&str; GapReason::ALL.len()] = {
    let mut labels = [""; GapReason::ALL.len()];
    let mut index = 0;
    while index < labels.len() {
        labels[index] = GapReason::ALL[index].as_str();
        index += 1;
    }
    labels
};

const CODE_LABELS: [&str; PUBLISH_CODES.len()] = {
    let mut labels = [""; PUBLISH_CODES.len()];
    let mut index = 0;
    while index < labels.len() {
        labels[index] = PUBLISH_CODES[index].1;
        index += 1;
    }
    labels
};

/// Every metric of the gateway. The `process_` family comes from the prometheus crate.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "tidegate_build_info",
        help: "Always 1; the version is a label.",
        source: Source::BuildInfo,
    },
    Metric {
        name: "tidegate_ready",
        help: "1 while /readyz says ready, 0 while the gateway drains, is overloaded or its event log has \
               failed: /readyz says which.",
        source: Source::Standing(|standing| f64::from(u8::from(standing.is_ready))),
    },
    Metric {
        name: "tidegate_mailbox_fill_ratio",
        help: "How full the fullest shard's mailbox is, from 0 to 1; publishers are refused with 503 at 1.",
        source: Source::Standing(|standing| standing.mailbox_fill),
    },
    Metric {
        name: "tidegate_subscribers",
        help: "Streams open now, by protocol; a long poll is one until it is answered.",
        source: Source::GaugeBy("protocol", &Protocol::ALL, |shard, index| {
            shard.subscribers[index].get()
        }),
    },
    Metric {
        name: "tidegate_connections",
        help: "Connections open now, by listener; each HTTP/1 stream is one of the public ones.",
        source: Source::GaugeBy("listener", &ListenerName::ALL, |shard, index| {
            shard.connections[index].get()
        }),
    },
    Metric {
        name: "tidegate_connections_max",
        help: "Public connections that there may be: server.connections_max, or what the limit of open \
               files has room for.",
        source: Source::Gauge(|shard| shard.connections_max.get()),
    },
    Metric {
        name: "tidegate_topics",
        help: "Topics and patterns with at least one subscriber, counted once for each shard.",
        source: Source::Gauge(|shard| shard.topics.get()),
    },
    Metric {
        name: "tidegate_ring_frames",
        help: "Events waiting in the rings of streams whose clients are not reading.",
        source: Source::Gauge(|shard| shard.ring_frames.get()),
    },
    Metric {
        name: "tidegate_replaying",
        help: "Streams that are being told of the past and are not live yet.",
        source: Source::Gauge(|shard| shard.replaying.get()),
    },
    Metric {
        name: "tidegate_history_events",
        help: "Events kept in the history; one with several topics counts for each.",
        source: Source::Gauge(|shard| shard.history_events.get()),
    },
    Metric {
        name: "tidegate_history_bytes",
        help: "Bytes of the history, of history.total_bytes_max.",
        source: Source::Gauge(|shard| shard.history_bytes.get()),
    },
    Metric {
        name: "tidegate_history_topics",
        help: "Topics that the history knows something of.",
        source: Source::Gauge(|shard| shard.history_topics.get()),
    },
    Metric {
        name: "tidegate_retained_bytes",
        help: "Bytes of retained values, of history.retained_bytes_max.",
        source: Source::Gauge(|shard| shard.retained_bytes.get()),
    },
    Metric {
        name: "tidegate_log_bytes",
        help: "Bytes that the event log takes on the disk.",
        source: Source::Gauge(|shard| shard.log_bytes.get()),
    },
    Metric {
        name: "tidegate_log_segments",
        help: "Files of the event log.",
        source: Source::Gauge(|shard| shard.log_segments.get()),
    },
    Metric {
        name: "tidegate_log_unsynced_bytes",
        help: "Bytes of the event log that a power loss would take now.",
        source: Source::Gauge(|shard| shard.log_unsynced_bytes.get()),
    },
    Metric {
        name: "tidegate_streams_opened_total",
        help: "Streams opened.",
        source: Source::Counter(|shard| shard.streams_opened.get()),
    },
    Metric {
        name: "tidegate_streams_closed_total",
        help: "Streams closed, by reason.",
        source: Source::CounterBy("reason", &Closed::LABELS, |shard, index| {
            shard.streams_closed[index].get()
        }),
    },
    Metric {
        name: "tidegate_events_published_total",
        help: "Events accepted from publishers.",
        source: Source::Counter(|shard| shard.events_published.get()),
    },
    Metric {
        name: "tidegate_events_delivered_total",
        help: "Events written to streams, once for each stream.",
        source: Source::Counter(|shard| shard.events_delivered.get()),
    },
    Metric {
        name: "tidegate_events_conflated_total",
        help: "Events that waited for a stream until a newer one with the same topics and conflation key \
               took their place. These are no losses.",
        source: Source::Counter(|shard| shard.events_conflated.get()),
    },
    Metric {
        name: "tidegate_events_dropped_total",
        help: "Events that matched a stream and were not written to it: its ring was full (a gap \
               event tells the client), or it closed first.",
        source: Source::CounterBy("reason", &Dropped::ALL, |shard, index| {
            shard.events_dropped[index].get()
        }),
    },
    Metric {
        name: "tidegate_gaps_total",
        help: "Gap events sent, by reason.",
        source: Source::CounterBy("reason", &GAP_LABELS, |shard, index| shard.gaps[index].get()),
    },
    Metric {
        name: "tidegate_replays_total",
        help: "Streams that were told of the past before they were live, by how that ended: with \
               everything, with a gap, or abandoned since the stream ended first.",
        source: Source::CounterBy("result", &Replayed::ALL, |shard, index| {
            shard.replays[index].get()
        }),
    },
    Metric {
        name: "tidegate_sent_bytes_total",
        help: "Bytes written to streams, framing included.",
        source: Source::Counter(|shard| shard.sent_bytes.get()),
    },
    Metric {
        name: "tidegate_publish_requests_total",
        help: "Publish requests, by the status code of the answer.",
        source: Source::CounterBy("code", &CODE_LABELS, |shard, index| {
            shard.publish_requests[index].get()
        }),
    },
    Metric {
        name: "tidegate_sources",
        help: "Sources, by state.",
        source: Source::GaugeBy("state", &SourceState::ALL, |shard, index| {
            shard.sources[index].get()
        }),
    },
    Metric {
        name: "tidegate_source_events_total",
        help: "Events that sources have read: published, published before a reconnect already, \
               refused since they make no topic or may not be published, or too large.",
        source: Source::CounterBy("result", &SourceEvent::ALL, |shard, index| {
            shard.source_events[index].get()
        }),
    },
    Metric {
        name: "tidegate_source_connections_total",
        help: "Streams that sources have opened, the first and every reconnect.",
        source: Source::Counter(|shard| shard.source_connections.get()),
    },
    Metric {
        name: "tidegate_auth_requests_total",
        help: "Decisions that app servers were asked for, by result; clients that share one count once.",
        source: Source::CounterBy("result", &DECIDED, |shard, index| {
            shard.auth_requests[index].get()
        }),
    },
    Metric {
        name: "tidegate_auth_failures_total",
        help: "Clients that were refused their stream, by reason: the app server said no (denied), no \
               decision could be had of it (failed), or hooks.waiting_max clients were waiting \
               for one (busy).",
        source: Source::CounterBy("reason", &AuthFailure::ALL, |shard, index| {
            shard.auth_failures[index].get()
        }),
    },
    Metric {
        name: "tidegate_snapshot_fetches_total",
        help: "Snapshots that app servers were asked for, by result; streams that share one count once.",
        source: Source::CounterBy("result", &DONE, |shard, index| {
            shard.snapshot_fetches[index].get()
        }),
    },
    Metric {
        name: "tidegate_config_reloads_total",
        help: "Reloads of the configuration (SIGHUP, POST /reload), by result; one that failed has changed \
               nothing.",
        source: Source::CounterBy("result", &DONE, |shard, index| {
            shard.config_reloads[index].get()
        }),
    },
    Metric {
        name: "tidegate_config_reload_success_timestamp_seconds",
        help: "When a reload of the configuration last succeeded, in seconds since 1970; 0 for never.",
        source: Source::Gauge(|shard| shard.config_reloaded_at.get()),
    },
    Metric {
        name: "tidegate_accept_errors_total",
        help: "Failed attempts to accept a connection, such as for lack of file descriptors.",
        source: Source::Counter(|shard| shard.accept_errors.get()),
    },
    Metric {
        name: "tidegate_connections_cut_total",
        help: "Connections that were closed for what their client did, by reason: too many from its \
               address, a head that did not come in time, no request for too long, a \
               response that was taken too slowly, a flood of HTTP/2 frames that carry nothing.",
        source: Source::CounterBy("reason", &CutReason::ALL, |shard, index| {
            shard.connections_cut[index].get()
        }),
    },
    Metric {
        name: "tidegate_log_writes_total",
        help: "Writes to the event log; all that waited goes into one.",
        source: Source::Counter(|shard| shard.log_writes.get()),
    },
    Metric {
        name: "tidegate_log_sync_seconds",
        help: "How long the disk took for each sync of the event log.",
        source: Source::Histogram(|shard| shard.log_sync.snapshot()),
    },
    Metric {
        name: "tidegate_fanout_seconds",
        help: "From an accepted publish request to the write of its event to a stream's socket, \
               every delivery counted.",
        source: Source::Histogram(|shard| shard.fanout.snapshot()),
    },
    Metric {
        name: "tidegate_publish_seconds",
        help: "From a publish request's complete body to its answer.",
        source: Source::Histogram(|shard| shard.publish.snapshot()),
    },
    Metric {
        name: "tidegate_stream_duration_seconds",
        help: "How long closed streams had lived.",
        source: Source::Histogram(|shard| shard.stream_duration.snapshot()),
    },
    Metric {
        name: "tidegate_upstream_requests_total",
        help: "Requests to app servers, by the class of the answer's status code; none, where no server \
               answered. Requests that their clients gave up are not counted.",
        source: Source::UpstreamCounterBy("code", &CODES, |upstream, index| {
            upstream.requests[index].get()
        }),
    },
    Metric {
        name: "tidegate_upstream_request_seconds",
        help: "From a request to the head of an app server's answer.",
        source: Source::UpstreamHistogram(|upstream| upstream.duration.snapshot()),
    },
    Metric {
        name: "tidegate_upstream_retries_total",
        help: "Times that a request was sent once more, to another app server or on another connection.",
        source: Source::UpstreamCounter(|upstream| upstream.retries.get()),
    },
    Metric {
        name: "tidegate_upstream_ejections_total",
        help: "Times that an app server was left out for its failures.",
        source: Source::UpstreamCounter(|upstream| upstream.ejections.get()),
    },
    Metric {
        name: "tidegate_upstream_connections",
        help: "Connections to app servers open now.",
        source: Source::UpstreamGauge(|upstream| upstream.connections.get()),
    },
    Metric {
        name: "tidegate_upstream_connections_idle",
        help: "Connections to app servers that no request used when that was last looked at, which is \
               every second.",
        source: Source::UpstreamGauge(|upstream| upstream.idle.get()),
    },
    Metric {
        name: "tidegate_upstream_tunnels",
        help: "Upgraded connections (WebSocket) open now.",
        source: Source::UpstreamGauge(|upstream| upstream.tunnels.get()),
    },
];
