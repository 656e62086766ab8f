//! What is measured, on whom, and what the gateway is held to.

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::compare::servers::Server;
use Bound::{AtLeast, AtMost};
use Server::{Floor, Hello, Naive, Nchan, Pushpin, Tidegate};

pub(super) enum Load {
    /// `fanout`, with further flags.
    Fanout {
        streams: u32,
        flags: &'static str,
    },
    Idle {
        streams: u32,
    },
    /// Single-event POSTs on so many keep-alive connections, one in flight on each.
    Post {
        connections: u32,
    },
    /// From exec to the first 200, again and again.
    Start {
        times: u32,
    },
}

pub(super) struct Measurement {
    pub(super) name: &'static str,
    pub(super) servers: &'static [Server],
    pub(super) load: Load,
    /// How long the load is measured; and in a quick run.
    pub(super) measured: [u32; 2],
}

/// Seconds a measurement takes beyond what is measured: start, open, warm up, settle.
const OVERHEAD_SECONDS: f64 = 2.5;
/// pushpin asks its origin for every stream, and they open one after the other.
const PUSHPIN_OVERHEAD_SECONDS: f64 = 6.0;

impl Measurement {
    pub(super) fn measured_seconds(&self, quick: bool) -> u32 {
        self.measured[usize::from(quick)]
    }

    /// How long it takes in all, roughly.
    pub(super) fn seconds(&self, server: Server, quick: bool) -> f64 {
        let overhead = if server == Pushpin { PUSHPIN_OVERHEAD_SECONDS } else { OVERHEAD_SECONDS };
        overhead + f64::from(self.measured_seconds(quick))
    }
}

pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(MEASUREMENTS.iter().map(|measurement| measurement.name))
}

const STREAM_SERVERS: &[Server] = &[Floor, Tidegate, Naive, Nchan];

/// In this order, in each round.
pub(super) const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "one-in-flight",
        servers: &[Floor, Tidegate, Naive, Nchan, Pushpin],
        load: Load::Fanout { streams: 5000, flags: "--in-flight 1" },
        measured: [6, 2],
    },
    Measurement {
        name: "sixteen-in-flight",
        servers: &[Floor, Tidegate, Naive, Nchan, Pushpin],
        load: Load::Fanout { streams: 5000, flags: "--in-flight 16" },
        measured: [6, 2],
    },
    // 16 in flight for each stream: each has an eighth of the topics.
    Measurement {
        name: "eight-topics",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 5000,
            flags: "--topics 64 --topics-per-stream 8 --in-flight 128",
        },
        measured: [6, 2],
    },
    // 16 in flight in all: two for each stream.
    Measurement {
        name: "eight-topics-sixteen",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 5000,
            flags: "--topics 64 --topics-per-stream 8 --in-flight 16",
        },
        measured: [6, 2],
    },
    Measurement {
        name: "paced-5000",
        servers: STREAM_SERVERS,
        load: Load::Fanout { streams: 5000, flags: "--rate 20" },
        measured: [8, 3],
    },
    Measurement {
        name: "paced-1000",
        servers: STREAM_SERVERS,
        load: Load::Fanout { streams: 1000, flags: "--rate 50" },
        measured: [8, 3],
    },
    // The curve: each event has one receiver on the average, among so many topics.
    Measurement {
        name: "topics-1k",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 1000,
            flags: "--topics 1000 --topics-per-stream 1 --topic-sets strides \
                    --in-flight 64 --publish-api publish --batch 64",
        },
        measured: [4, 2],
    },
    Measurement {
        name: "topics-10k",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 10_000,
            flags: "--topics 10000 --topics-per-stream 1 --topic-sets strides \
                    --in-flight 64 --publish-api publish --batch 64",
        },
        measured: [4, 2],
    },
    Measurement {
        name: "topics-100k",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 10_000,
            flags: "--topics 100000 --topics-per-stream 10 --topic-sets strides \
                    --in-flight 64 --publish-api publish --batch 64",
        },
        measured: [4, 2],
    },
    Measurement {
        name: "topics-1m",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 10_000,
            flags: "--topics 1000000 --topics-per-stream 100 --topic-sets strides \
                    --in-flight 64 --publish-api publish --batch 64",
        },
        measured: [4, 2],
    },
    // At this rate a stuck stream fills the kernel's buffers and its ring well before the end.
    Measurement {
        name: "none-stuck",
        servers: &[Tidegate],
        load: Load::Fanout { streams: 1000, flags: "--rate 100" },
        measured: [8, 5],
    },
    Measurement {
        name: "tenth-stuck",
        servers: &[Tidegate],
        load: Load::Fanout { streams: 1000, flags: "--rate 100 --stuck-percent 10" },
        measured: [8, 5],
    },
    Measurement {
        name: "open-18000",
        servers: STREAM_SERVERS,
        load: Load::Idle { streams: 18_000 },
        measured: [1, 1],
    },
    // Two heartbeats a stream; one in a quick run.
    Measurement {
        name: "heartbeats-15000",
        servers: &[Tidegate],
        load: Load::Idle { streams: 15_000 },
        measured: [30, 15],
    },
    Measurement {
        name: "post-1",
        servers: &[Tidegate, Hello],
        load: Load::Post { connections: 1 },
        measured: [4, 2],
    },
    Measurement {
        name: "post-16",
        servers: &[Tidegate, Hello],
        load: Load::Post { connections: 16 },
        measured: [4, 2],
    },
    Measurement {
        name: "batched",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 0,
            flags: "--in-flight 4096 --publish-api publish --batch 256 --warmup 0s",
        },
        measured: [4, 2],
    },
    Measurement {
        name: "start",
        servers: &[Floor, Tidegate],
        load: Load::Start { times: 10 },
        measured: [1, 1],
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    AtMost,
    AtLeast,
}

/// What the gateway's ratio, or its figure where there is no reference, is held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) bound: Bound,
    pub(super) target: f64,
    pub(super) stretch: f64,
}

/// A line of the summary.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) measurement: &'static str,
    /// The figure, out of a report.
    pub(super) figure: fn(&Value) -> Option<f64>,
    /// What the figure is divided by: the same figure of that measurement and server.
    pub(super) reference: Option<(&'static str, Server)>,
    pub(super) goal: Option<Goal>,
}

const fn goal(bound: Bound, target: f64, stretch: f64) -> Option<Goal> {
    Some(Goal { bound, target, stretch })
}

fn number(report: &Value, pointer: &str) -> Option<f64> {
    report.pointer(pointer)?.as_f64()
}

fn rate(report: &Value) -> Option<f64> {
    number(report, "/measured/deliveries_per_second")
}

fn p99_ms(report: &Value) -> Option<f64> {
    number(report, "/latency_us/p99").map(|us| us / 1e3)
}

fn cpu_per_delivery(report: &Value) -> Option<f64> {
    number(report, "/measured/server_cpu_us_per_delivery")
}

/// What it costs to find the one receiver of an event.
const fn among_topics(what: &'static str, measurement: &'static str) -> Row {
    Row { what, unit: "µs", measurement, figure: cpu_per_delivery, reference: None, goal: None }
}

fn events_per_second(report: &Value) -> Option<f64> {
    Some(number(report, "/events_accepted")? / number(report, "/measured/seconds")?)
}

pub(super) const CPU_PER_DELIVERY: Row = Row {
    what: "CPU a delivery, 5,000 streams, 1 in flight",
    unit: "µs",
    measurement: "one-in-flight",
    figure: cpu_per_delivery,
    reference: Some(("one-in-flight", Floor)),
    goal: goal(AtMost, 1.05, 1.0),
};

pub(super) const RATE_SIXTEEN: Row = Row {
    what: "deliveries/s, 5,000 streams, 16 in flight",
    unit: "",
    measurement: "sixteen-in-flight",
    figure: rate,
    reference: Some(("sixteen-in-flight", Floor)),
    goal: goal(AtLeast, 12.0, 18.0),
};

pub(super) const P99_5000: Row = Row {
    what: "p99 publish → receive, 5,000 streams × 20/s",
    unit: "ms",
    measurement: "paced-5000",
    figure: p99_ms,
    reference: Some(("paced-5000", Floor)),
    goal: goal(AtMost, 0.95, 0.8),
};

pub(super) const BYTES_PER_STREAM: Row = Row {
    what: "userland bytes an idle stream, slope 1,800 → 18,000",
    unit: "B",
    measurement: "open-18000",
    figure: |report| number(report, "/opening/server_bytes_per_stream_slope"),
    reference: None,
    goal: goal(AtMost, 512.0, 256.0),
};

pub(super) const ROWS: &[Row] = &[
    CPU_PER_DELIVERY,
    Row {
        what: "deliveries/s, 5,000 streams, 1 in flight",
        unit: "",
        measurement: "one-in-flight",
        figure: rate,
        reference: Some(("one-in-flight", Floor)),
        goal: None,
    },
    RATE_SIXTEEN,
    Row {
        what: "the same, 8 of 64 topics a stream, 16 in flight for each stream",
        unit: "",
        measurement: "eight-topics",
        figure: rate,
        reference: Some(("sixteen-in-flight", Floor)),
        goal: goal(AtLeast, 6.0, 12.0),
    },
    Row {
        what: "the same, 8 of 64 topics a stream, 16 in flight in all",
        unit: "",
        measurement: "eight-topics-sixteen",
        figure: rate,
        reference: Some(("sixteen-in-flight", Floor)),
        goal: None,
    },
    among_topics("CPU a delivery, one receiver among 1,000 topics", "topics-1k"),
    among_topics("the same among 10,000 topics", "topics-10k"),
    among_topics("the same among 100,000 topics", "topics-100k"),
    among_topics("the same among 1,000,000 topics", "topics-1m"),
    P99_5000,
    Row {
        what: "p99 publish → receive, 1,000 streams × 50/s",
        unit: "ms",
        measurement: "paced-1000",
        figure: p99_ms,
        reference: Some(("paced-1000", Floor)),
        goal: goal(AtMost, 1.05, 0.9),
    },
    Row {
        what: "p99 of the others with 10 % of 1,000 streams stuck, × 100/s",
        unit: "ms",
        measurement: "tenth-stuck",
        figure: p99_ms,
        reference: Some(("none-stuck", Tidegate)),
        goal: goal(AtMost, 1.1, 1.03),
    },
    BYTES_PER_STREAM,
    Row {
        what: "18,000 streams opened in",
        unit: "s",
        measurement: "open-18000",
        figure: |report| number(report, "/opening/seconds"),
        reference: Some(("open-18000", Floor)),
        goal: goal(AtMost, 1.5, 1.15),
    },
    Row {
        what: "single-event POSTs/s, 1 connection",
        unit: "",
        measurement: "post-1",
        figure: |report| number(report, "/requests_per_second"),
        reference: Some(("post-1", Hello)),
        goal: goal(AtLeast, 0.7, 0.85),
    },
    Row {
        what: "single-event POSTs/s, 16 connections",
        unit: "",
        measurement: "post-16",
        figure: |report| number(report, "/requests_per_second"),
        reference: Some(("post-16", Hello)),
        goal: goal(AtLeast, 0.7, 0.85),
    },
    Row {
        what: "CPU a single-event POST, 16 connections",
        unit: "µs",
        measurement: "post-16",
        figure: |report| number(report, "/server_cpu_us_per_request"),
        reference: Some(("post-16", Hello)),
        goal: None,
    },
    Row {
        what: "batched publish, no subscribers, events/s",
        unit: "",
        measurement: "batched",
        figure: events_per_second,
        reference: None,
        goal: goal(AtLeast, 500_000.0, 1_000_000.0),
    },
    Row {
        what: "the same, a second of the server's CPU",
        unit: "",
        measurement: "batched",
        figure: |report| {
            let busy = number(report, "/measured/server_cpu_percent")? / 100.0;
            Some(events_per_second(report)? / busy)
        },
        reference: None,
        goal: None,
    },
    Row {
        what: "idle: 15,000 streams, 15 s heartbeats, of a core",
        unit: "%",
        measurement: "heartbeats-15000",
        figure: |report| number(report, "/server_cpu_percent"),
        reference: None,
        goal: goal(AtMost, 1.5, 1.0),
    },
    Row {
        what: "exec → first 200 of /healthz",
        unit: "ms",
        measurement: "start",
        figure: |report| number(report, "/start_ms"),
        reference: None,
        goal: goal(AtMost, 20.0, 5.0),
    },
    Row {
        what: "RSS then",
        unit: "MiB",
        measurement: "start",
        figure: |report| number(report, "/rss_bytes").map(|bytes| bytes / f64::from(1 << 20)),
        reference: None,
        goal: goal(AtMost, 8.0, 4.0),
    },
];

/// What belongs here: that the tables fit together.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_measurement_and_its_reference() {
        let find = |name: &str| MEASUREMENTS.iter().find(|each| each.name == name).unwrap();
        for row in ROWS {
            assert!(find(row.measurement).servers.contains(&Tidegate), "{}", row.what);
            if let Some((name, server)) = row.reference {
                assert!(find(name).servers.contains(&server), "{}", row.what);
            }
            if let Some(Goal { bound, target, stretch }) = row.goal {
                assert_eq!(bound == AtMost, stretch < target, "{}", row.what);
            }
        }
    }
}
