//! The lines of the summary: which figure of which measurement, and what the gateway is held to.

use serde_json::Value;

use crate::compare::comparison::{Bound, Row, goal, number};
use crate::compare::servers::Server;
use Bound::{AtLeast, AtMost};
use Server::{Floor, Hello, Tidegate};

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

pub(in crate::compare) const CPU_PER_DELIVERY: Row = Row {
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
    Row {
        what: "p99 of an answer to a publish while 18,000 streams are swept",
        unit: "ms",
        measurement: "publish-in-sweep",
        figure: |report| number(report, "/beside/publish_answer_us/p99").map(|us| us / 1e3),
        reference: None,
        goal: goal(AtMost, 5.0, 2.5),
    },
    Row {
        what: "p99 of connect → hello while 18,000 streams are swept",
        unit: "ms",
        measurement: "accept-in-sweep",
        figure: |report| number(report, "/beside/hello_us/p99").map(|us| us / 1e3),
        reference: None,
        goal: goal(AtMost, 5.0, 2.5),
    },
    Row {
        what: "overload: published events refused with 429 or 503",
        unit: "%",
        measurement: "overload",
        figure: |report| {
            let published = number(report, "/events_published")?;
            Some(number(report, "/events_refused")? / published * 100.0)
        },
        reference: None,
        goal: None,
    },
    Row {
        what: "overload: owed deliveries neither made nor declared lost",
        unit: "",
        measurement: "overload",
        figure: |report| {
            let made = number(report, "/deliveries")? + number(report, "/dropped_declared")?;
            Some((number(report, "/deliveries_owed")? - made).abs())
        },
        reference: None,
        goal: goal(AtMost, 0.0, 0.0),
    },
    Row {
        what: "overload: growth of RSS in the second half, a second",
        unit: "KiB",
        measurement: "overload",
        figure: |report| number(report, "/server_memory/slope_bytes").map(|bytes| bytes / 1024.0),
        reference: None,
        goal: goal(AtMost, 16.0, 4.0),
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

pub(super) const PANELS: [(Row, &str, &str); 4] = [
    (CPU_PER_DELIVERY, "CPU a delivery, µs", "5,000 streams, 1 event in flight; less is better"),
    (RATE_SIXTEEN, "Deliveries a second", "5,000 streams, 16 events in flight; more is better"),
    (P99_5000, "p99 publish → receive, ms", "5,000 streams, 20 events a second; less is better"),
    (
        BYTES_PER_STREAM,
        "Memory an idle stream, bytes",
        "userland, slope up to 18,000 streams; less is better",
    ),
];
