//! The flags of `tidegate size`: a load and a machine, in the units people have them in.

use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, getrlimit};

use super::Settings;
use crate::config::units::Bytes;
use crate::sizing::{Host, Load, Protocol};

const ABOUT: &str = "\
Each row has what this load is expected to take, and the most that the configuration allows, whatever
clients do, with the keys that bound it. Figures with a ~ have something in them that was measured on
another machine: take them for a first guess, and measure. docs/TUNING.md says where they come from.

Examples:
  tidegate size --streams 50000 --events 2 --bytes 512B
  tidegate size --config tidegate.toml --streams 100000 --protocol tls --shards 8 --open-files 1048576";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Size {
    /// Streams open at a time
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    streams: u64,
    /// Events a second that each stream gets, like 0.2
    #[arg(long, value_name = "N", default_value = "1", value_parser = rate)]
    events: f64,
    /// Size of an event's data
    #[arg(long, value_name = "SIZE", default_value = "256B")]
    bytes: Bytes,
    /// Name of an event; without it, none
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Topics that the streams divide among; each stream has one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    topics: u64,
    /// How clients have their streams
    #[arg(long, value_enum, default_value = "h1")]
    protocol: Protocol,
    /// Streams that share a connection, with --protocol h2
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    streams_per_connection: u32,
    /// Streams whose clients do not read, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    slow: f64,
    /// Connections that publish at a time
    #[arg(long, value_name = "N", default_value_t = 16)]
    publishers: u32,
    /// Each event has an idempotency key
    #[arg(long)]
    keys: bool,
    /// How long clients were gone when all of them come back
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    away: Duration,
    /// Events published before: ids grow longer with them
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    published: u64,
    /// Path of the stream route, as the configuration has it [default: the first]
    #[arg(long, value_name = "PATH")]
    route: Option<String>,
    /// Microseconds of a core for a delivery, measured on your machine
    #[arg(long, value_name = "N", value_parser = rate)]
    delivery_us: Option<f64>,
    /// Limit of open files of the gateway's process (LimitNOFILE) [default: this process's]
    #[arg(long, value_name = "N")]
    open_files: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Size {
    /// What was asked, of which machine, with which configuration, and whether as JSON.
    pub(super) fn into_parts(self) -> (Load, Host, Settings, bool) {
        let load = Load {
            streams: self.streams,
            events_per_second: self.events,
            data_bytes: self.bytes.0,
            event_name: self.event,
            topics: self.topics,
            protocol: self.protocol,
            streams_per_connection: self.streams_per_connection,
            slow_percent: self.slow,
            publishers: self.publishers,
            has_keys: self.keys,
            away: self.away,
            published: self.published,
            route: self.route,
            delivery_us: self.delivery_us,
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // As far as a gateway can raise its own.
        let open_files = || getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let host = Host { cores, open_files: self.open_files.unwrap_or_else(open_files) };
        (load, host, self.settings, self.json)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number like 0.2".to_owned())?;
    if (0.0..=1e9).contains(&number) { Ok(number) } else { Err("expected 0 to 1000000000".into()) }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = rate(text.trim_end_matches('%'))?;
    if number <= 100.0 { Ok(number) } else { Err("expected 0 to 100".into()) }
}
