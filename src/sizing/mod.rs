//! What a load takes: memory, descriptors, bandwidth, cores, and a storm of reconnects; and what the
//! configuration allows at most. Arithmetic only: reads no file and opens no socket. Called by
//! `cli` for `tidegate size`.
//!
//! What is exact is made of the configuration and of the gateway's own encoder (`wire.rs`); what cannot be
//! calculated was measured once (`measured.rs`), and every figure that has any of it in it says so.

mod descriptors;
mod disk;
mod measured;
mod memory;
mod storm;
mod table;
#[cfg(test)]
mod tests;
mod traffic;
mod wire;

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use self::measured::Cost;
use self::memory::TOPIC_NAME;
pub use self::table::{Amount, Row, Section, Unit};
use self::wire::Wire;
use crate::config::schema::{Config, DEFAULT_UPSTREAM, Stream, StreamRoute, Upstream};
use crate::config::units::Bytes;
use crate::sse::{Fields, encoded_len};

/// Above this part of all cores there is no room for a storm.
const BUSY_MAX: f64 = 0.7;

/// How clients have their streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 in the clear, as behind a balancer
    H1,
    /// HTTP/1.1 over TLS
    Tls,
    /// HTTP/2 over TLS
    H2,
}

/// What is to be carried.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Streams open at a time.
    pub streams: u64,
    /// Events a second that each stream gets.
    pub events_per_second: f64,
    /// Bytes of an event's data, in one line.
    pub data_bytes: usize,
    /// Its name, if it has one.
    pub event_name: Option<String>,
    /// Topics that the streams divide among. Each stream has one, and each event is of one.
    pub topics: u64,
    /// How clients have their streams.
    pub protocol: Protocol,
    /// Streams that share a connection, over HTTP/2.
    pub streams_per_connection: u32,
    /// Streams whose clients do not read, in percent.
    pub slow_percent: f64,
    /// Connections that publish at a time. They are on this host, so its operator knows them.
    pub publishers: u32,
    /// Whether each event has an idempotency key of 36 bytes, the length of a UUID.
    pub has_keys: bool,
    /// How long the clients of a storm were gone.
    #[serde(serialize_with = "seconds")]
    pub away: Duration,
    /// Events published before, which ids grow longer with.
    pub published: u64,
    /// Path of the stream route, as the configuration has it; `None` for the first.
    pub route: Option<String>,
    /// Microseconds of a core for a delivery, where somebody has measured it.
    pub delivery_us: Option<f64>,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// The machine.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Host {
    /// Cores: shards, unless the configuration says how many.
    pub cores: usize,
    /// The limit of open files of a process (`ulimit -Hn`).
    pub open_files: u64,
}

/// Why a load is none for a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizingError {
    /// No stream route has that path.
    NoRoute {
        /// The path that was asked for.
        asked: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// Publishing such an event is refused.
    EventTooLarge {
        /// Bytes of its data.
        data: Bytes,
        /// `publish.event_bytes_max`.
        max: Bytes,
    },
}

impl Display for SizingError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute { asked, there } => {
                let there = there.join(", ");
                write!(f, "no stream route has the path {asked:?}; there is {there}")
            }
            Self::EventTooLarge { data, max } => write!(
                f,
                "an event with {data} of data is refused: with its id and its topic it is more than \
                 publish.event_bytes_max ({max})"
            ),
        }
    }
}

impl std::error::Error for SizingError {}

/// All that the parts are calculated of.
struct Case<'a> {
    config: &'a Config,
    load: &'a Load,
    /// What the streams of the load's route are like.
    stream: Stream,
    shards: f64,
    open_files: f64,
    /// Public connections that are let in.
    places: f64,
}

impl Case<'_> {
    fn streams(&self) -> f64 {
        self.load.streams as f64
    }

    fn slow_streams(&self) -> f64 {
        (self.streams() * self.load.slow_percent / 100.0).round()
    }

    fn streams_per_connection(&self) -> f64 {
        match self.load.protocol {
            Protocol::H1 | Protocol::Tls => 1.0,
            Protocol::H2 => f64::from(self.load.streams_per_connection),
        }
    }

    fn connections(&self) -> f64 {
        (self.streams() / self.streams_per_connection()).ceil()
    }

    fn deliveries_per_second(&self) -> f64 {
        self.streams() * self.load.events_per_second
    }

    /// Each topic has the events that each of its streams gets.
    fn published_per_second(&self) -> f64 {
        self.load.topics as f64 * self.load.events_per_second
    }

    /// Streams that end in a second because they have lived long enough: 80 to 100 % of the cap.
    fn reconnects_per_second(&self) -> f64 {
        self.streams() / (0.9 * self.stream.max_lifetime.0.as_secs_f64())
    }

    /// The one of three measured figures that is of this load's protocol.
    fn cost(&self, [http1, tls, http2]: [Cost; 3]) -> Cost {
        match self.load.protocol {
            Protocol::H1 => http1,
            Protocol::Tls => tls,
            Protocol::H2 => http2,
        }
    }

    /// The same for one of this load's streams.
    fn cost_of_stream(&self, costs: [Cost; 3]) -> f64 {
        self.cost(costs).of_stream(self.streams_per_connection())
    }
}

/// What the calculator says.
#[derive(Clone, Debug, Serialize)]
pub struct Sizing {
    /// What it was asked.
    pub load: Load,
    /// Of which machine.
    pub host: Host,
    /// Shards there.
    pub shards: usize,
    /// Memory of the process.
    pub memory: Section,
    /// Memory of the kernel, for sockets.
    pub kernel: Section,
    /// File descriptors.
    pub descriptors: Section,
    /// Bytes on the network.
    pub bandwidth: Section,
    /// The event log, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Section>,
    /// Cores.
    pub cpu: Section,
    /// All clients come back at once.
    pub storm: Section,
    /// What does not fit, and what to do.
    pub notes: Vec<String>,
}

/// Calculates what `load` takes of a gateway with this configuration on `host`.
///
/// # Errors
/// The load's route is not in the configuration, or its events would be refused.
pub fn size(config: &Config, load: Load, host: Host) -> Result<Sizing, SizingError> {
    let (data, max) = (Bytes(load.data_bytes), config.publish.event_bytes_max);
    // As `publish` counts it.
    let without_data = Fields { event: load.event_name.as_deref(), ..Fields::default() };
    let beside = encoded_len(&without_data) + TOPIC_NAME.len();
    if data.0.saturating_add(beside) > max.0 {
        return Err(SizingError::EventTooLarge { data, max });
    }
    let stream = settings_of(config, load.route.as_deref())?;
    let shards = config.server.shard_count(host.cores);
    let case = Case {
        config,
        load: &load,
        stream,
        shards: shards as f64,
        open_files: host.open_files as f64,
        places: config.connections_max(host.open_files) as f64,
    };
    let wire = Wire::new(&case);
    let memory = memory::of_process(&case, &wire);
    let kernel = memory::of_kernel(&case);
    let descriptors = descriptors::section(&case);
    let bandwidth = traffic::bandwidth(&case, &wire);
    let disk = disk::section(&case, &wire);
    let cpu = traffic::cpu(&case);
    let storm = storm::section(&case, &wire);
    let notes = notes(&case, &memory, &descriptors, &cpu);
    Ok(Sizing {
        host,
        shards,
        memory,
        kernel,
        descriptors,
        bandwidth,
        disk,
        cpu,
        storm,
        notes,
        load,
    })
}

/// What the streams of the route with this path are like, or of the first.
fn settings_of(config: &Config, path: Option<&str>) -> Result<Stream, SizingError> {
    let routes = routes(config);
    let route = match path {
        None => routes.first(),
        Some(path) => routes.iter().find(|route| String::from(route.path.clone()) == path),
    };
    let route = route.ok_or_else(|| SizingError::NoRoute {
        asked: path.unwrap_or_default().to_owned(),
        there: routes.iter().map(|route| String::from(route.path.clone())).collect(),
    })?;
    Ok(config.stream.of_route(route))
}

/// The stream routes there are: without any in the configuration, `/events`.
fn routes(config: &Config) -> Vec<StreamRoute> {
    match &*config.stream.routes {
        [] => vec![StreamRoute::events()],
        routes => routes.to_vec(),
    }
}

/// The groups of app servers there are, that of `proxy.upstream` too.
fn upstreams(config: &Config) -> Vec<Upstream> {
    let single = config.proxy.upstream.0.iter();
    let single = single.map(|url| Upstream::new(DEFAULT_UPSTREAM, vec![url.clone()]));
    single.chain(config.proxy.upstreams.iter().cloned()).collect()
}

/// What does not fit, and what the figures leave out.
fn notes(case: &Case<'_>, memory: &Section, descriptors: &Section, cpu: &Section) -> Vec<String> {
    let most = |row: &Row| row.at_most.map_or(0.0, |amount| amount.value);
    let mut notes = Vec::new();
    let (connections, places) = (case.connections(), case.places);
    if connections > places {
        let limit = case.open_files + connections - places;
        notes.push(format!(
            "{connections} connections do not fit {places} places: raise LimitNOFILE to {limit}, and \
             server.connections_max if it is set"
        ));
    }
    let needed = most(descriptors.row("total"));
    if needed > case.open_files {
        notes.push(format!(
            "{needed} descriptors may be needed of {}: raise LimitNOFILE, or lower \
             server.connections_max to {} so that connections to app servers have room",
            case.open_files,
            (places - needed + case.open_files).max(1.0)
        ));
    }
    let busy = cpu.row("total").expected.map_or(0.0, |amount| amount.value);
    if busy > BUSY_MAX * case.shards {
        notes.push(format!(
            "{busy:.1} cores of {} leave no room for a storm: more shards (server.shards, one a core), \
             or more gateways",
            case.shards
        ));
    }
    let each = memory.rows.iter().filter(|row| row.id.starts_with("each_"));
    if let Some(row) = each.max_by(|a, b| most(a).total_cmp(&most(b))) {
        notes.push(format!(
            "the most is for {places} hostile clients, all of them {}; server.connections_max and the \
             keys in that row bring it down",
            row.what.trim_start_matches("or ")
        ));
    }
    let http2_streams = case.config.server.http2_streams_max;
    if case.load.protocol != Protocol::H2 && http2_streams > 1 {
        notes.push(format!(
            "the most counts one stream a connection; over HTTP/2 a client may have {http2_streams} \
             (server.http2_streams_max): --protocol h2 counts them"
        ));
    }
    if case.stream.compress {
        notes.push("what stream.compress saves depends on the data: it is not calculated".into());
    }
    notes
}

impl Display for Sizing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Load { streams, events_per_second, data_bytes, topics, .. } = &self.load;
        let over = match self.load.protocol {
            Protocol::H1 => "HTTP/1.1".to_owned(),
            Protocol::Tls => "HTTP/1.1 and TLS".to_owned(),
            Protocol::H2 => format!("HTTP/2, {} a connection", self.load.streams_per_connection),
        };
        let streams = Amount::count(*streams as f64);
        let topics = Amount::count(*topics as f64);
        let open_files = Amount::count(self.host.open_files as f64);
        writeln!(
            f,
            "{streams} streams over {over}; to each {events_per_second} events/s of {data_bytes} B; \
             topics: {topics}; slow: {} %",
            self.load.slow_percent
        )?;
        writeln!(f, "shards: {}; limit of open files: {open_files}", self.shards)?;
        writeln!(
            f,
            "~ has a measured figure in it, of another machine than yours; what has none is exact"
        )?;
        let Self { memory, kernel, descriptors, bandwidth, disk, cpu, storm, .. } = self;
        let first = [memory, kernel, descriptors, bandwidth];
        for section in first.into_iter().chain(disk).chain([cpu, storm]) {
            write!(f, "\n{section}")?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}
