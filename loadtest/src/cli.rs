//! The command line: what can be asked, and what is refused before anything is opened.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::compare::{CompareArgs, PostArgs};
use crate::dialect::Dialect;
use crate::payload::PAYLOAD_BYTES_MIN;
use crate::publish::PublishApi;
use crate::serve::ServeArgs;

/// Where the arithmetic was thought through to; descriptors end a process much sooner.
const STREAMS_MAX: u32 = 1_000_000;
/// Streams per source address, when the number of addresses is not given.
const STREAMS_PER_ADDRESS: u32 = 10_000;
/// Topics a connection may have by the contract.
const TOPICS_PER_STREAM_MAX: u32 = 128;

/// Opens streams on an SSE gateway, publishes, and accounts for every event.
///
/// Exit status: 0 no violation, 1 violations, 2 usage or connection errors.
#[derive(Debug, Parser)]
#[command(name = "tidegate-loadtest", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Publish to N streams and check that each got every event once, in order.
    Fanout(FanoutArgs),
    /// Hold N quiet streams: memory, CPU and heartbeats.
    Idle(IdleArgs),
    /// Check when and how streams end on a gateway with a lifetime cap.
    Cap(CapArgs),
    /// Run one of the control servers that the gateway is measured against.
    Serve(ServeArgs),
    /// Measure the gateway beside the floor and its peers; installed peers are found.
    Compare(CompareArgs),
    /// Post single events on keep-alive connections, for `compare`.
    #[command(hide = true)]
    Post(PostArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// The gateway's public listener.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = parse_origin)]
    pub(crate) public: Origin,
    /// What streams are held to.
    #[arg(long, value_enum, default_value = "tidegate")]
    pub(crate) dialect: Dialect,
    /// The gateway's process, for its CPU time and memory; several, with commas, are
    /// added up.
    #[arg(long, value_delimiter = ',')]
    pub(crate) server_pid: Vec<u32>,
    /// Streams to open.
    #[arg(long, default_value_t = 1000)]
    pub(crate) streams: u32,
    /// Source addresses, 127.0.0.1 upwards [default: one for each 10,000 streams].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=254))]
    pub(crate) source_addresses: Option<u32>,
    /// Streams between connect and hello, at most. Above the gateway's listen backlog
    /// (often 128) a run measures SYN retransmissions, a second each.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connects_in_flight: u32,
    /// Connects a second, at most.
    #[arg(long, value_parser = parse_positive)]
    pub(crate) connect_rate: Option<f64>,
    /// Give up when no stream opens for so long.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) open_timeout: Duration,
    /// Reader threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Topics of the run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) topics: u32,
    /// Topics of each stream; neighbouring streams' sets overlap.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) topics_per_stream: u32,
    /// Write the report as JSON; `-` is stdout.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// No table and no progress bar.
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The gateway's internal listener.
    #[arg(long, default_value = "http://127.0.0.1:8081", value_parser = parse_origin)]
    pub(crate) internal: Origin,
    /// How events are published.
    #[arg(long, value_enum, default_value = "topics")]
    pub(crate) publish_api: PublishApi,
    /// Events in one POST, as a JSON array; above 1 not with `--publish-api topics`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    /// A header line for publishes, such as `authorization: Bearer x`.
    #[arg(long)]
    pub(crate) publish_header: Vec<String>,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    pub(crate) event_bytes: usize,
    /// Open loop: events a second; latency counts from when an event was due.
    #[arg(long, value_parser = parse_positive, conflicts_with = "in_flight")]
    pub(crate) rate: Option<f64>,
    /// Closed loop: events published and not yet received by all [default: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) in_flight: Option<u32>,
    /// Closed loop: go on when no event completes for so long.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) stall: Duration,
    /// Time measured.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Time published before it, checked and not measured.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) warmup: Duration,
    /// How long streams may take to catch up when publishing is over.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// Streams, in percent, that do not read until publishing is over.
    #[arg(long, default_value_t = 0.0, value_parser = parse_percent)]
    pub(crate) stuck_percent: f64,
    /// Their receive buffer (the kernel doubles it).
    #[arg(long, default_value_t = 4096)]
    pub(crate) stuck_rcvbuf: usize,
    /// A stuck stream without exactly one gap is a violation.
    #[arg(long)]
    pub(crate) require_one_gap: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How long the streams are held.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CapArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The gateway's lifetime cap.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) cap: Duration,
    /// Allowed on both ends.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,
}

/// `http://host:port`, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

pub(crate) fn parse_origin(text: &str) -> Result<Origin, String> {
    let rest = text.strip_prefix("http://").ok_or("must be http://HOST:PORT; TLS is not spoken")?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut addresses =
        with_port.to_socket_addrs().map_err(|error| format!("{with_port}: {error}"))?;
    let address = addresses.next().ok_or("the name has no address")?;
    Ok(Origin { host: host.to_owned(), address })
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err("must be above 0".to_owned()) }
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("must be 0 to 100".to_owned()) }
}

impl CommonArgs {
    pub(crate) fn source_addresses(&self) -> u32 {
        self.source_addresses
            .unwrap_or_else(|| self.streams.div_ceil(STREAMS_PER_ADDRESS).clamp(1, 254))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.streams > STREAMS_MAX {
            return Err(format!("--streams is at most {STREAMS_MAX}"));
        }
        if self.topics_per_stream > self.topics {
            return Err("--topics-per-stream is more than --topics".to_owned());
        }
        if self.topics_per_stream > TOPICS_PER_STREAM_MAX {
            return Err(format!("--topics-per-stream is at most {TOPICS_PER_STREAM_MAX}"));
        }
        if self.source_addresses() > 1 && !self.public.address.ip().is_loopback() {
            return Err("several source addresses need a gateway on 127.0.0.0/8".to_owned());
        }
        if self.source_addresses() > 1 && self.public.address.is_ipv6() {
            return Err("several source addresses need IPv4".to_owned());
        }
        Ok(())
    }
}

impl FanoutArgs {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.common.check()?;
        if self.batch > 1 && self.publish_api == PublishApi::Topics {
            return Err("--batch above 1 needs --publish-api publish or pushpin".to_owned());
        }
        if self.publish_api == PublishApi::Pushpin && self.common.dialect != Dialect::Plain {
            return Err("--publish-api pushpin needs --dialect plain".to_owned());
        }
        if self.event_bytes < PAYLOAD_BYTES_MIN {
            return Err(format!("--event-bytes is at least {PAYLOAD_BYTES_MIN}"));
        }
        if let Some(bad) = self.publish_header.iter().find(|line| !line.contains(':')) {
            return Err(format!("--publish-header {bad:?} is not a header line"));
        }
        Ok(())
    }
}
