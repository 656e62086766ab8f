//! Every key Tidegate has, with its default. `config/tidegate.toml` is this file for operators:
//! a test keeps the two equal. Units are in the value (`"15s"`, `"1MiB"`), never in prose.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::hook::{ForwardAuth, Hooks, OnFailure, Snapshot};
pub use self::proxy::{Balance, DEFAULT_UPSTREAM, HostHeader, Proxy, Route, Upstream};
pub use self::source::{REDACTED, Source, Sources};
pub use self::stream::{
    Control, ControlChanges, Cors, HeartbeatKind, Parameter, Slow, Stream, StreamRoute, TopicField,
};
pub use self::tls::{Certificate, ClientAuth, Tls, TlsVersion};
use super::reload::Applies::{AtOnce, Connections, Requests, Restart, Streams};
use super::reload::Statements;
use super::units::{Bytes, Fsync, Interval};
use super::web::HostPattern;

mod hook;
mod proxy;
mod source;
mod stream;
mod tls;

/// The whole configuration of one gateway process.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Upstream servers whose event streams are read. First, since in TOML what is no section is.
    pub source: Vec<Source>,
    /// Listeners, shards and sockets.
    pub server: Server,
    /// What a subscriber's stream looks like and how much of it may wait.
    pub stream: Stream,
    /// What a publisher may send.
    pub publish: Publish,
    /// How much of the past is kept.
    pub history: History,
    /// The queue between the hub and each shard.
    pub mailbox: Mailbox,
    /// What is written to standard error.
    pub log: Log,
    /// The public listener over TLS.
    pub tls: Tls,
    /// Everything that is no stream of ours.
    pub proxy: Proxy,
    /// All sources together.
    pub sources: Sources,
    /// Bounds of the hooks of all routes together.
    pub hooks: Hooks,
}

impl Config {
    /// When a change of each key counts, by section.
    pub(super) const APPLIES: [(&str, Statements); 13] = [
        ("", &[("source", AtOnce)]),
        ("server", Server::APPLIES),
        ("stream", Stream::APPLIES),
        ("stream.cors", Cors::APPLIES),
        ("stream.control", Control::APPLIES),
        ("publish", Publish::APPLIES),
        ("history", History::APPLIES),
        ("mailbox", Mailbox::APPLIES),
        ("log", Log::APPLIES),
        ("tls", Tls::APPLIES),
        ("proxy", Proxy::APPLIES),
        ("sources", Sources::APPLIES),
        ("hooks", Hooks::APPLIES),
    ];
}

/// Listeners, shards and sockets.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address of the public listener: stream routes.
    #[serde(deserialize_with = "super::units::address")]
    pub listen: SocketAddr,
    /// Address of the internal listener: publish, health, metrics. Loopback only for now.
    #[serde(deserialize_with = "super::units::address")]
    pub internal: SocketAddr,
    /// Names that the internal listener answers to, beside addresses and `localhost`.
    pub internal_hosts: Vec<HostPattern>,
    /// Shard threads; 0 means one per core.
    pub shards: usize,
    /// Longest time from SIGTERM to exit.
    pub drain: Interval,
    /// Longest wait for a request's complete head.
    pub header_timeout: Interval,
    /// Bytes of a request's head.
    pub header_bytes_max: Bytes,
    /// Fields of a request's head.
    pub header_fields_max: usize,
    /// Bytes of a request line; over HTTP/2, of a path.
    pub request_line_bytes_max: Bytes,
    /// Longest wait for the next request of a connection that has none.
    pub keepalive_timeout: Interval,
    /// Requests of one public connection; 0 for as many as come.
    pub requests_per_connection_max: u64,
    /// Longest wait for a request's complete body.
    pub body_timeout: Interval,
    /// Bytes a second that a request's body comes with at least; 0 for any.
    pub body_rate_min: Bytes,
    /// Bytes a second that a response over HTTP/1 is taken with at least; 0 for any.
    pub response_rate_min: Bytes,
    /// Time over which that is averaged.
    pub send_timeout: Interval,
    /// Connections the public listener holds, all shards together; 0 derives it from the
    /// process's descriptor limit.
    pub connections_max: usize,
    /// Connections the public listener holds from one address; 0 for as many as come.
    pub connections_per_address_max: u32,
    /// Connections the kernel queues per listening socket before accept.
    pub accept_backlog: u32,
    /// SO_SNDBUF of a stream's socket. What waits beyond it waits in the ring.
    pub send_buffer: Bytes,
    /// TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged.
    pub tcp_user_timeout: Interval,
    /// Idle time before TCP keep-alive probes.
    pub tcp_keepalive: Interval,
    /// Streams one HTTP/2 connection may hold.
    pub http2_streams_max: u32,
    /// Whether public connections begin with a PROXY protocol header, from those in `proxy.trusted`.
    pub proxy_protocol: bool,
    /// Frames of an HTTP/2 connection, in ten seconds, that carry nothing.
    pub http2_control_frames_max: u32,
    /// How long a client of HTTP/2 may have no room for a response that waits.
    pub http2_window_timeout: Interval,
    /// Silence after which a client of HTTP/2 is asked for a sign of life.
    pub http2_ping_interval: Interval,
}

impl Server {
    /// When a change of each key counts.
    pub(super) const APPLIES: Statements = &[
        ("listen", Restart),
        ("internal", Restart),
        ("internal_hosts", Requests),
        ("shards", Restart),
        ("drain", AtOnce),
        ("header_timeout", Connections),
        ("header_bytes_max", Connections),
        ("header_fields_max", Connections),
        ("request_line_bytes_max", Connections),
        ("keepalive_timeout", Connections),
        ("requests_per_connection_max", Connections),
        ("body_timeout", Connections),
        ("body_rate_min", Connections),
        ("response_rate_min", Connections),
        ("send_timeout", Connections),
        ("connections_max", AtOnce),
        ("connections_per_address_max", Connections),
        ("accept_backlog", Restart),
        ("send_buffer", Streams),
        ("tcp_user_timeout", Restart),
        ("tcp_keepalive", Restart),
        ("http2_streams_max", Connections),
        ("proxy_protocol", Connections),
        ("http2_control_frames_max", Connections),
        ("http2_window_timeout", Connections),
        ("http2_ping_interval", Connections),
    ];
}

/// What a publisher may send.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// Size of one request body.
    pub body_bytes_max: Bytes,
    /// Size of one event as sent on a stream.
    pub event_bytes_max: Bytes,
    /// Events in one request.
    pub batch_events_max: usize,
    /// Topics of one event.
    pub topics_max: usize,
    /// How long an idempotency key is recognised.
    pub idempotency_window: Interval,
    /// Idempotency keys remembered.
    pub idempotency_keys_max: usize,
}

impl Publish {
    /// When a change of each key counts.
    pub(super) const APPLIES: Statements = &[
        ("body_bytes_max", Requests),
        ("event_bytes_max", Requests),
        ("batch_events_max", Requests),
        ("topics_max", Requests),
        ("idempotency_window", AtOnce),
        ("idempotency_keys_max", AtOnce),
    ];
}

/// Where the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In memory only: it ends with the process.
    Memory,
    /// In memory, and in a log on disk, from which it comes back.
    Disk,
}

/// How much of the past is kept, for clients that come back and for new ones.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Where it is kept.
    pub store: Store,
    /// Folder of the log.
    pub path: String,
    /// When what is published is on the disk for certain.
    pub fsync: Fsync,
    /// Bytes of the log.
    pub log_bytes_max: Bytes,
    /// Age of the log's events.
    pub log_age_max: Interval,
    /// Bytes of one of the log's files.
    pub log_segment_bytes: Bytes,
    /// Events of one topic.
    pub events_max: usize,
    /// Bytes of one topic's events.
    pub bytes_max: Bytes,
    /// Age of an event.
    pub age_max: Interval,
    /// Bytes of all topics together.
    pub total_bytes_max: Bytes,
    /// Topics that something is known of.
    pub topics_max: usize,
    /// Bytes of retained values.
    pub retained_bytes_max: Bytes,
    /// Streams of one shard that may be reading the past at a time.
    pub replays_max: usize,
    /// Other limits for some topics; the first that matches counts.
    pub overrides: Vec<HistoryOverride>,
}

impl History {
    /// When a change of each key counts.
    pub(super) const APPLIES: Statements = &[
        ("store", Restart),
        ("path", Restart),
        ("fsync", Restart),
        ("log_bytes_max", Restart),
        ("log_age_max", Restart),
        ("log_segment_bytes", Restart),
        ("events_max", AtOnce),
        ("bytes_max", AtOnce),
        ("age_max", AtOnce),
        ("total_bytes_max", AtOnce),
        ("topics_max", AtOnce),
        ("retained_bytes_max", AtOnce),
        ("replays_max", Streams),
        ("overrides", AtOnce),
    ];
}

/// Limits of the topics that a filter matches. What is left out is as for every topic.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryOverride {
    /// A topic or a pattern.
    pub topics: String,
    /// Events of one topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_max: Option<usize>,
    /// Bytes of one topic's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<Bytes>,
    /// Age of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_max: Option<Interval>,
}

/// The queue between the hub and each shard. When one is full, publishers get 503.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailbox {
    /// Events that may wait for one shard.
    pub events_max: usize,
    /// Bytes that may wait for one shard.
    pub bytes_max: Bytes,
}

impl Mailbox {
    /// When a change of each key counts.
    pub(super) const APPLIES: Statements = &[("events_max", Restart), ("bytes_max", Restart)];
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level or a filter: `info`, `tidegate=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
    /// Whether each request and stream has its lines.
    pub access: bool,
    /// Lines a second that one place in the code may write; 0 for as many as come.
    pub lines_per_second_max: u32,
}

impl Log {
    /// When a change of each key counts.
    pub(super) const APPLIES: Statements = &[
        ("level", AtOnce),
        ("format", Restart),
        ("access", Connections),
        ("lines_per_second_max", AtOnce),
    ];
}

/// For people or for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an entry.
    Text,
    /// One JSON object an entry.
    Json,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            internal: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            internal_hosts: Vec::new(),
            shards: 0,
            drain: Interval(Duration::from_secs(30)),
            header_timeout: Interval(Duration::from_secs(10)),
            header_bytes_max: Bytes::kib(64),
            header_fields_max: 100,
            request_line_bytes_max: Bytes::kib(64),
            keepalive_timeout: Interval(Duration::from_secs(60)),
            requests_per_connection_max: 100_000,
            body_timeout: Interval(Duration::from_secs(30)),
            body_rate_min: Bytes(240),
            response_rate_min: Bytes(240),
            send_timeout: Interval(Duration::from_secs(60)),
            connections_max: 0,
            connections_per_address_max: 0,
            accept_backlog: 4096,
            send_buffer: Bytes::kib(64),
            tcp_user_timeout: Interval(Duration::from_secs(60)),
            tcp_keepalive: Interval(Duration::from_secs(30)),
            http2_streams_max: 256,
            proxy_protocol: false,
            http2_control_frames_max: 1000,
            http2_window_timeout: Interval(Duration::from_secs(60)),
            http2_ping_interval: Interval(Duration::from_secs(30)),
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            body_bytes_max: Bytes::mib(4),
            event_bytes_max: Bytes::kib(512),
            batch_events_max: 4096,
            topics_max: 64,
            idempotency_window: Interval(Duration::from_secs(120)),
            idempotency_keys_max: 200_000,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            store: Store::Memory,
            path: String::new(),
            fsync: Fsync::Every(Interval(Duration::from_millis(100))),
            log_bytes_max: Bytes::mib(1024),
            log_age_max: Interval(Duration::from_secs(7 * 24 * 3600)),
            log_segment_bytes: Bytes::mib(64),
            events_max: 1_000,
            bytes_max: Bytes::mib(1),
            age_max: Interval(Duration::from_secs(3600)),
            total_bytes_max: Bytes::mib(64),
            topics_max: 100_000,
            retained_bytes_max: Bytes::mib(16),
            replays_max: 20_000,
            overrides: Vec::new(),
        }
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { events_max: 16_384, bytes_max: Bytes::mib(64) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
            access: false,
            lines_per_second_max: 100,
        }
    }
}
