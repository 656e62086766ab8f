//! What is measured, and on whom.

use crate::compare::comparison::{Load, Measurement};
use crate::compare::servers::Server;
use Server::{Floor, Hello, Naive, Nchan, Pushpin, Tidegate};

const STREAM_SERVERS: &[Server] = &[Floor, Tidegate, Naive, Nchan];

/// In this order, in each round.
pub(super) const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "one-in-flight",
        servers: &[Floor, Tidegate, Naive, Nchan, Pushpin],
        load: Load::Fanout { streams: 5000, flags: "--in-flight 1" },
        measured: [6, 2],
        once: false,
    },
    Measurement {
        name: "sixteen-in-flight",
        servers: &[Floor, Tidegate, Naive, Nchan, Pushpin],
        load: Load::Fanout { streams: 5000, flags: "--in-flight 16" },
        measured: [6, 2],
        once: false,
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
        once: false,
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
        once: false,
    },
    Measurement {
        name: "paced-5000",
        servers: STREAM_SERVERS,
        load: Load::Fanout { streams: 5000, flags: "--rate 20" },
        measured: [8, 3],
        once: false,
    },
    Measurement {
        name: "paced-1000",
        servers: STREAM_SERVERS,
        load: Load::Fanout { streams: 1000, flags: "--rate 50" },
        measured: [8, 3],
        once: false,
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
        once: false,
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
        once: false,
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
        once: false,
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
        once: false,
    },
    // At this rate a stuck stream fills the kernel's buffers and its ring well before the end.
    Measurement {
        name: "none-stuck",
        servers: &[Tidegate],
        load: Load::Fanout { streams: 1000, flags: "--rate 100" },
        measured: [8, 5],
        once: false,
    },
    Measurement {
        name: "tenth-stuck",
        servers: &[Tidegate],
        load: Load::Fanout { streams: 1000, flags: "--rate 100 --stuck-percent 10" },
        measured: [8, 5],
        once: false,
    },
    Measurement {
        name: "publish-in-sweep",
        servers: &[Tidegate],
        load: Load::Beside {
            streams: 18_000,
            scenario: "fanout",
            flags: "--streams 0 --topics 1 --rate 200",
        },
        measured: [5, 2],
        once: false,
    },
    Measurement {
        name: "accept-in-sweep",
        servers: &[Tidegate],
        load: Load::Beside {
            streams: 18_000,
            scenario: "churn",
            flags: "--streams 50 --replace-rate 100 --rate 0.1",
        },
        measured: [5, 2],
        once: false,
    },
    // More than the gateway can deliver: `scenarios/overload.toml`.
    Measurement {
        name: "overload",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 5000,
            flags: "--topics 4 --connections 4 --rate 8000 --publish-api publish --batch 16 \
                    --settle 30s",
        },
        measured: [120, 10],
        once: true,
    },
    Measurement {
        name: "open-18000",
        servers: STREAM_SERVERS,
        load: Load::Idle { streams: 18_000 },
        measured: [1, 1],
        once: false,
    },
    // Two heartbeats a stream; one in a quick run.
    Measurement {
        name: "heartbeats-15000",
        servers: &[Tidegate],
        load: Load::Idle { streams: 15_000 },
        measured: [30, 15],
        once: false,
    },
    Measurement {
        name: "post-1",
        servers: &[Tidegate, Hello],
        load: Load::Post { connections: 1 },
        measured: [4, 2],
        once: false,
    },
    Measurement {
        name: "post-16",
        servers: &[Tidegate, Hello],
        load: Load::Post { connections: 16 },
        measured: [4, 2],
        once: false,
    },
    Measurement {
        name: "batched",
        servers: &[Tidegate],
        load: Load::Fanout {
            streams: 0,
            flags: "--in-flight 4096 --publish-api publish --batch 256 --warmup 0s",
        },
        measured: [4, 2],
        once: false,
    },
    Measurement {
        name: "start",
        servers: &[Floor, Tidegate],
        load: Load::Start { times: 10 },
        measured: [1, 1],
        once: false,
    },
];
