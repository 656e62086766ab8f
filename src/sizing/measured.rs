//! Figures that no formula gives: what was measured once, where, and how. They are another machine's: what is
//! calculated of them is marked so.
//!
//! `results` is `loadtest/results/2026-11-21-amd-epyc-2-cores/summary.md`; `TUNING` is the table "Measured for
//! this page" of `docs/TUNING.md`: the same kind of machine, a day later.

/// Bytes of a process that has done a little of everything; nearly all of it is the program itself (TUNING).
pub(super) const PROCESS_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// Bytes of a shard beside its mailbox (TUNING).
pub(super) const SHARD_BYTES: f64 = 0.3 * 1024.0 * 1024.0;

/// What streams take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Of each connection.
    pub(super) connection: f64,
    /// Of each stream on it.
    pub(super) stream: f64,
}

impl Cost {
    /// Of a stream that shares its connection with others.
    pub(super) fn of_stream(self, streams_per_connection: f64) -> f64 {
        self.stream + self.connection / streams_per_connection
    }
}

/// Bytes over HTTP/1 in the clear (results).
pub(super) const HTTP1_BYTES: Cost = Cost { connection: 0.0, stream: 118.0 };
/// Bytes over HTTP/1 and TLS (TUNING).
pub(super) const TLS_BYTES: Cost = Cost { connection: 0.0, stream: 15_700.0 };
/// Bytes over HTTP/2 and TLS (TUNING).
pub(super) const HTTP2_BYTES: Cost = Cost { connection: 33_100.0, stream: 20_300.0 };

/// Microseconds of a core for a delivery, one event at a time, over HTTP/1 in the clear (results).
pub(super) const HTTP1_DELIVERY_US: Cost = Cost { connection: 0.0, stream: 6.12 };
/// The same over TLS (TUNING).
pub(super) const TLS_DELIVERY_US: Cost = Cost { connection: 0.0, stream: 10.2 };
/// The same over HTTP/2 and TLS: streams of one connection share its writes (TUNING).
pub(super) const HTTP2_DELIVERY_US: Cost = Cost { connection: 14.5, stream: 2.4 };

/// Microseconds of a core to open a stream over HTTP/1 in the clear (TUNING).
pub(super) const HTTP1_OPEN_US: Cost = Cost { connection: 0.0, stream: 23.0 };
/// The same over TLS, with a whole handshake and a P-256 certificate (TUNING).
pub(super) const TLS_OPEN_US: Cost = Cost { connection: 0.0, stream: 350.0 };
/// The same over HTTP/2 and TLS (TUNING).
pub(super) const HTTP2_OPEN_US: Cost = Cost { connection: 341.0, stream: 23.0 };

/// Microseconds of a core for a publish of one event, 16 connections (results).
pub(super) const PUBLISH_US: f64 = 9.12;
/// Microseconds of a core for a heartbeat: 1.18 % for 15,000 streams every 15 s (results).
pub(super) const HEARTBEAT_US: f64 = 11.8;

/// Bytes of a subscription set that no other stream of its shard has: an audience and its place in the index,
/// with one topic of two tokens (TUNING).
pub(super) const SET_BYTES: f64 = 2_800.0;
/// Bytes of a topic or pattern that nobody shares: 530 KiB for 128 patterns (`stream.topics_max`).
pub(super) const FILTER_BYTES: f64 = 530.0 * 1024.0 / 128.0;
/// Bytes of a topic in the history beside its name (`history.topics_max`).
pub(super) const TOPIC_BYTES: f64 = 300.0;
/// Bytes of a ring and of what says that a stream is behind, without its places.
pub(super) const RING_BYTES: f64 = 600.0;
/// Bytes of a long poll that waits (`stream.poll_wait_max`).
pub(super) const POLL_BYTES: f64 = 27.0 * 1024.0;
/// Bytes of a connection with a request (`hooks.waiting_max`).
pub(super) const REQUEST_BYTES: f64 = 20.0 * 1024.0;
/// Bytes that a client which reads slowly holds of a response (`server.response_rate_min`).
pub(super) const RESPONSE_BYTES: f64 = 80.0 * 1024.0;
/// Bytes of a stream that is told of the past (`history.replays_max`).
pub(super) const REPLAY_BYTES: f64 = 200.0;
/// Bytes of an idempotency key beside the key itself (`publish.idempotency_keys_max`).
pub(super) const KEY_BYTES: f64 = 130.0;
/// Bytes of a source that waits (`source`).
pub(super) const SOURCE_BYTES: f64 = 26.0 * 1024.0;
/// Bytes of a shard's compressor (`stream.compress`).
pub(super) const COMPRESSOR_BYTES: f64 = 300.0 * 1024.0;
/// Bytes of a parameter's pattern, at most (`stream.routes`).
pub(super) const PATTERN_BYTES: f64 = 256.0 * 1024.0;

/// Descriptors of a process without shards: standard streams, signals, what wakes the main thread (TUNING).
pub(super) const PROCESS_DESCRIPTORS: f64 = 9.0;
/// Descriptors of a shard beside its listeners: its poll sets and what wakes it (TUNING).
pub(super) const SHARD_DESCRIPTORS: f64 = 5.0;

/// Kernel bytes of a connection with nothing on its way.
pub(super) const SOCKET_BYTES: f64 = 4096.0;
/// Kernel bytes of a connection whose client takes nothing: what may be unsent, and what that is kept in
/// (TUNING).
pub(super) const UNSENT_BYTES: f64 = 48.0 * 1024.0;
/// What Linux lets an autotuned send buffer grow to (the third of `net.ipv4.tcp_wmem`), unless it is told
/// otherwise.
pub(super) const TCP_WMEM_MAX: f64 = 4.0 * 1024.0 * 1024.0;
