//! `requests`: plain HTTP, one request in flight on each of so many connections, as fast as they are
//! answered or at a rate. Every answer is checked (`connection`), and a wrong one ends the run.

mod connection;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::cli::{Origin, parse_origin, parse_positive};
use crate::clock::{nanos, now_ns};
use crate::latency::latency_histogram;
use crate::probe;
use crate::serve::Pattern;
use connection::{Connection, Question};

const TICK: Duration = Duration::from_millis(5);
/// Before anything is measured: connections and allocators warm up.
const WARMUP: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct RequestsArgs {
    /// Who is asked.
    #[arg(long, value_parser = parse_origin)]
    target: Origin,
    /// Bytes that a GET asks for.
    #[arg(long, default_value_t = 128, conflicts_with = "post")]
    get: usize,
    /// POST so many bytes in place of a GET.
    #[arg(long)]
    post: Option<usize>,
    /// What is asked for; of an answer nothing is asked then but success [default: the paths of
    /// `serve upstream`, whose answers are known byte by byte].
    #[arg(long)]
    path: Option<String>,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    connections: u32,
    /// A new connection for each request; else they are kept.
    #[arg(long, conflicts_with = "rate")]
    reconnect: bool,
    /// Requests a second in all, by the connections in turn [default: as fast as they are answered].
    #[arg(long, value_parser = parse_positive)]
    rate: Option<f64>,
    /// Time measured.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// The server's processes.
    #[arg(long, value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// The process behind the server, whose CPU time counts as the load's.
    #[arg(long)]
    upstream_pid: Option<u32>,
}

/// Counters at one moment.
struct Sample {
    at_ns: u64,
    answers: u64,
    server_cpu_ns: Option<u64>,
    client_cpu_ns: u64,
}

struct Measured {
    before: Sample,
    after: Sample,
    /// From the first byte of a request, or its connect, to the last of its answer.
    latency: Histogram<u64>,
    /// By how much requests were sent later than the rate wanted.
    late: Histogram<u64>,
}

/// Prints a JSON report.
pub(crate) fn run(args: &RequestsArgs) -> Result<bool, String> {
    probe::make_room_for(args.connections)?;
    let Measured { before, after, latency, late } = Load::open(args)
        .and_then(Load::measure)
        .map_err(|error| format!("asking {}: {error}", args.target.host))?;
    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let requests = after.answers - before.answers;
    let server_cpu_ns = after.server_cpu_ns.zip(before.server_cpu_ns);
    let server_us = server_cpu_ns.map(|(after, before)| (after - before) as f64 / 1e3);
    let client_us = (after.client_cpu_ns - before.client_cpu_ns) as f64 / 1e3;
    let percent = |us: f64| us / 1e4 / seconds;
    let us =
        |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let report = json!({
        "scenario": "requests",
        "command": std::env::args().collect::<Vec<_>>(),
        "connections": args.connections,
        "seconds": seconds,
        "requests": requests,
        "requests_per_second": requests as f64 / seconds,
        "server_cpu_us_per_request": server_us.map(|us| us / requests.max(1) as f64),
        "server_cpu_percent": server_us.map(percent),
        "client_cpu_percent": percent(client_us),
        "server_rss_bytes": probe::sum(&args.server_pid, probe::rss_bytes),
        "latency_us": { "p50": us(&latency, 0.5), "p99": us(&latency, 0.99), "max": us(&latency, 1.0) },
        "late_us": args.rate.map(|_| json!({ "p99": us(&late, 0.99), "max": us(&late, 1.0) })),
    });
    println!("{report:#}");
    Ok(true)
}

struct Load<'a> {
    args: &'a RequestsArgs,
    poll: Poll,
    pattern: Pattern,
    connections: Vec<Connection>,
    /// Those with no request in flight, in the order in which they ask.
    idle: VecDeque<usize>,
    /// When the next request is due; always, without a rate.
    due_ns: u64,
    answers: u64,
    latency: Histogram<u64>,
    late: Histogram<u64>,
}

impl<'a> Load<'a> {
    fn open(args: &'a RequestsArgs) -> io::Result<Self> {
        let mut load = Self {
            args,
            poll: Poll::new()?,
            pattern: Pattern::new(),
            connections: Vec::new(),
            idle: VecDeque::new(),
            due_ns: 0,
            answers: 0,
            latency: latency_histogram(),
            late: latency_histogram(),
        };
        for at in 0..args.connections as usize {
            let question = Question::new(args, &load.pattern, at);
            let connection = Connection::open(args.target.address, question)?;
            load.connections.push(connection);
            load.register(at)?;
            load.idle.push_back(at);
        }
        Ok(load)
    }

    fn register(&mut self, at: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(self.connections[at].socket(), Token(at), interest)
    }

    fn measure(mut self) -> io::Result<Measured> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        let mut before = None;
        // Each connection has asked once by then.
        let first_turn = self.interval_ns() * u64::from(self.args.connections);
        let begin_ns = now_ns() + nanos(WARMUP).max(first_turn);
        self.due_ns = self.args.rate.map_or(0, |_| now_ns());
        loop {
            self.ask()?;
            match self.poll.poll(&mut events, Some(self.patience())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let at = event.token().0;
                if let Some(took_ns) = self.connections[at].advance(&self.pattern, &mut buffer)? {
                    self.answers += 1;
                    self.latency.saturating_record(took_ns);
                    self.idle.push_back(at);
                }
            }
            let now = now_ns();
            if now >= begin_ns && before.is_none() {
                self.latency.reset();
                self.late.reset();
                before = Some(self.sample());
            }
            if let Some(before) = before.take_if(|_| now >= begin_ns + nanos(self.args.duration)) {
                let after = self.sample();
                return Ok(Measured { before, after, latency: self.latency, late: self.late });
            }
        }
    }

    /// Sends what is due, as far as there are connections for it.
    fn ask(&mut self) -> io::Result<()> {
        loop {
            let now = now_ns();
            if self.due_ns > now {
                return Ok(());
            }
            let Some(at) = self.idle.pop_front() else { return Ok(()) };
            if self.args.reconnect && self.connections[at].has_asked() {
                // The answer is read: what the connection still has to say is nobody's business.
                self.connections[at].reopen(self.args.target.address)?;
                self.register(at)?;
            }
            self.connections[at].ask(now)?;
            if self.args.rate.is_some() {
                self.late.saturating_record(now - self.due_ns);
                self.due_ns += self.interval_ns();
            }
        }
    }

    fn interval_ns(&self) -> u64 {
        self.args.rate.map_or(0, |rate| (1e9 / rate) as u64)
    }

    fn patience(&self) -> Duration {
        if self.args.rate.is_none() || self.idle.is_empty() {
            return TICK;
        }
        Duration::from_nanos(self.due_ns.saturating_sub(now_ns())).min(TICK)
    }

    fn sample(&self) -> Sample {
        let upstream_cpu_ns = self.args.upstream_pid.and_then(probe::cpu_ns);
        Sample {
            at_ns: now_ns(),
            answers: self.answers,
            server_cpu_ns: probe::sum(&self.args.server_pid, probe::cpu_ns),
            client_cpu_ns: probe::own_cpu_ns() + upstream_cpu_ns.unwrap_or(0),
        }
    }
}
