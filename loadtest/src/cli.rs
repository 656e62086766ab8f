//! The command line: what can be asked, and what is refused before anything is opened.

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::compare::{CompareArgs, RequestsArgs};
use crate::dialect::Dialect;
use crate::payload::PAYLOAD_BYTES_MIN;
use crate::plan::TopicSets;
use crate::publish::PublishApi;
use crate::scenario_file::RunArgs;
use crate::serve::ServeArgs;

/// Where the arithmetic was thought through to; descriptors end a process much sooner.
const STREAMS_MAX: u32 = 1_000_000;
/// Tables that have an entry for each topic stay small.
const TOPICS_MAX: i64 = 1_000_000;
/// Streams per source address, when the number of addresses is not given.
const STREAMS_PER_ADDRESS: u32 = 10_000;
/// Topics a connection may have by the contract.
const TOPICS_PER_STREAM_MAX: u32 = 128;
/// Addresses 127.0.0.1 to 127.0.0.254.
const SOURCE_ADDRESSES_MAX: u32 = 254;

/// Opens streams on an SSE gateway, publishes, and accounts for every event.
///
/// Exit status: 0 no violation, 1 violations, 2 usage or connection errors.
#[derive(Debug, Parser)]
#[command(name = "tidegate-loadtest", version, args_override_self = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Run a scenario from a file; flags behind it override its keys.
    Run(RunArgs),
    /// Publish to N streams and check that each got every event once, in order.
    Fanout(FanoutArgs),
    /// Hold N quiet streams: memory, CPU and heartbeats.
    Idle(IdleArgs),
    /// Open and close streams, in cycles or at a rate, while events flow.
    Churn(ChurnArgs),
    /// Close all streams at once and let them come back with their cursors, beside live ones.
    Storm(StormArgs),
    /// Check when and how streams end on a gateway with a lifetime cap.
    Cap(CapArgs),
    /// Run one of the control servers that the gateway is measured against.
    Serve(ServeArgs),
    /// Measure the gateway beside the floor and its peers; installed peers are found.
    Compare(CompareArgs),
    /// Ask a server and check its answers, for `compare`.
    #[command(hide = true)]
    Requests(RequestsArgs),
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
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=SOURCE_ADDRESSES_MAX as i64))]
    pub(crate) source_addresses: Option<u32>,
    /// The first of them: 127.0.0.N. With `--processes` each has addresses of its own.
    #[arg(long, default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=SOURCE_ADDRESSES_MAX as i64))]
    pub(crate) first_source_address: u32,
    /// Processes that share the streams and the rates between them. Each has topics of
    /// its own; a process cannot hold more streams than it may have descriptors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) processes: u32,
    /// This process is one of several: it keeps step with its parent over stdin and stdout.
    #[arg(long, hide = true)]
    pub(crate) child: bool,
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
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=TOPICS_MAX))]
    pub(crate) topics: u32,
    /// Topics of each stream.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) topics_per_stream: u32,
    /// Which topics those are.
    #[arg(long, value_enum, default_value = "neighbours")]
    pub(crate) topic_sets: TopicSets,
    /// Streams, in percent, that ask for patterns instead of topics: one that matches
    /// each of their topics, or one for all when they have all.
    #[arg(long, default_value_t = 0.0, value_parser = parse_percent)]
    pub(crate) patterns: f64,
    /// Write the report as JSON; `-` is stdout.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// No table and no progress bar.
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The gateway's internal listener.
    #[arg(long, default_value = "http://127.0.0.1:8081", value_parser = parse_origin)]
    pub(crate) internal: Origin,
    /// How events are published.
    #[arg(long, value_enum, default_value = "topics")]
    pub(crate) publish_api: PublishApi,
    /// Events in one POST: with `publish` a JSON array, with `ndjson` lines, with `pushpin`
    /// items; above 1 not with `topics`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    /// A header line for publishes, such as `authorization: Bearer x`.
    #[arg(long)]
    pub(crate) publish_header: Vec<String>,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    pub(crate) event_bytes: usize,
}

/// Of `--rate`, `--in-flight`, `--burst` and `--pipeline` the last one given counts.
#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
    /// Open loop: events a second; latency counts from when an event was due.
    #[arg(long, value_parser = parse_positive,
        overrides_with_all = ["in_flight", "burst", "pipeline"])]
    pub(crate) rate: Option<f64>,
    /// Closed loop: events published and not yet received by all [default: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65536),
        overrides_with_all = ["burst", "pipeline"])]
    pub(crate) in_flight: Option<u32>,
    /// Bursts: so many events at once, then silence until the next `--every`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65536),
        overrides_with = "pipeline")]
    pub(crate) burst: Option<u32>,
    /// From the start of one burst to the start of the next.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) every: Duration,
    /// Closed loop on answers: so many requests at once on each connection, and the next
    /// when all of them are answered, whoever has received what.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) pipeline: Option<u32>,
    /// Connections to publish over; above 1 only with `--rate` or `--pipeline`. Each has
    /// topics of its own, because the order of events is known on one connection only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) connections: u32,
    /// Closed loop and bursts: go on when no event completes for so long.
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
    /// Report each stream's place in the order in which an event's receivers were read.
    #[arg(long)]
    pub(crate) fairness: bool,
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
pub(crate) struct ChurnArgs {
    /// `--streams`: how many are held at once.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
    /// Events a second, all the time.
    #[arg(long, default_value_t = 20.0, value_parser = parse_positive)]
    pub(crate) rate: f64,
    /// Times that all streams open and close again.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) cycles: u32,
    /// How long the streams of a cycle are held.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) hold: Duration,
    /// From the end of a cycle to the look at the gateway's memory.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) rest: Duration,
    /// Instead of cycles: streams a second that leave and are replaced.
    #[arg(long, value_parser = parse_positive)]
    pub(crate) replace_rate: Option<f64>,
    /// How long they are replaced.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// How long a stream that leaves may wait for what was published before.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct StormArgs {
    /// `--streams`: how many go and come back.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
    /// Streams beside them that stay, and whose latency is measured; of each process.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) live: u32,
    /// Events a second, all the time.
    #[arg(long, default_value_t = 20.0, value_parser = parse_positive)]
    pub(crate) rate: f64,
    /// Storms, each with a calm before it.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) cycles: u32,
    /// Time measured before a storm, with all streams there.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) calm: Duration,
    /// How long they are away. What is published then is what they replay.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) away: Duration,
    /// Give up when no stream catches up for so long; above the longest `retry` of those
    /// that are shed.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) patience: Duration,
    /// How long streams may take to catch up when publishing is over.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
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

pub(crate) fn parse_positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err("must be above 0".to_owned()) }
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("must be 0 to 100".to_owned()) }
}

impl CommonArgs {
    pub(crate) fn source_addresses(&self) -> u32 {
        self.source_addresses.unwrap_or_else(|| {
            self.streams.div_ceil(STREAMS_PER_ADDRESS).clamp(1, SOURCE_ADDRESSES_MAX)
        })
    }

    /// The last octets of the source addresses; `None`: the kernel may choose.
    pub(crate) fn sources(&self) -> Option<RangeInclusive<u32>> {
        let (first, count) = (self.first_source_address, self.source_addresses());
        (first > 1 || count > 1).then(|| first..=first + count - 1)
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
        let own_sources = self.sources().is_some() || self.processes > 1;
        if own_sources && !self.public.address.ip().is_loopback() {
            return Err("several source addresses need a gateway on 127.0.0.0/8".to_owned());
        }
        if own_sources && self.public.address.is_ipv6() {
            return Err("several source addresses need IPv4".to_owned());
        }
        if self.first_source_address + self.source_addresses() - 1 > SOURCE_ADDRESSES_MAX {
            return Err(format!(
                "source addresses end with 127.0.0.{SOURCE_ADDRESSES_MAX}: use fewer, or a lower \
                 --first-source-address"
            ));
        }
        if self.streams > 0 && self.processes > self.streams {
            return Err("--processes is more than --streams".to_owned());
        }
        Ok(())
    }
}

impl PublishArgs {
    fn check(&self) -> Result<(), String> {
        if self.batch > 1 && self.publish_api == PublishApi::Topics {
            return Err("--batch above 1 needs --publish-api publish, ndjson or pushpin".to_owned());
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

impl FanoutArgs {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.common.check()?;
        self.publish.check()?;
        if self.publish.publish_api == PublishApi::Pushpin && self.common.dialect != Dialect::Plain
        {
            return Err("--publish-api pushpin needs --dialect plain".to_owned());
        }
        if self.connections == 1 {
            return Ok(());
        }
        if self.rate.is_none() && self.pipeline.is_none() {
            return Err("--connections above 1 needs --rate or --pipeline".to_owned());
        }
        if !self.common.topics.is_multiple_of(self.connections) {
            return Err("--topics must be a multiple of --connections".to_owned());
        }
        if self.common.topics_per_stream > 1 {
            return Err("--connections above 1 needs --topics-per-stream 1".to_owned());
        }
        Ok(())
    }
}

impl StormArgs {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.common.check()?;
        self.publish.check()?;
        if self.common.dialect != Dialect::Tidegate {
            return Err("storm comes back with the gateway's cursors: leave out --dialect".into());
        }
        Ok(())
    }
}

impl ChurnArgs {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.common.check()?;
        self.publish.check()?;
        if self.common.dialect != Dialect::Tidegate {
            return Err("churn goes by the cursor of `hello`: leave out --dialect".to_owned());
        }
        if self.streams_in_all() > u64::from(STREAMS_MAX) {
            return Err(format!(
                "a churn opens at most {STREAMS_MAX} streams in all, here {}: use fewer cycles, \
                 or a lower --replace-rate or --duration",
                self.streams_in_all()
            ));
        }
        Ok(())
    }

    /// Streams opened in the whole run.
    pub(crate) fn streams_in_all(&self) -> u64 {
        let held = u64::from(self.common.streams);
        match self.replace_rate {
            None => held * u64::from(self.cycles),
            Some(rate) => held + (rate * self.duration.as_secs_f64()).ceil() as u64,
        }
    }
}
