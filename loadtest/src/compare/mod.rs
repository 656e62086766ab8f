//! `compare`: the gateway beside the floor and its peers, or as a proxy beside others, in one go.
//! `streams` and `proxy` are what is measured and what the gateway is held to (`comparison` says in
//! which terms); `servers` starts and stops who is measured, `measure` runs one load, `figures`
//! makes medians and ratios, `summary` and `chart` show them. `requests` is the load of plain HTTP.
//!
//! Rounds go through everything, so that noise which comes and goes hits all servers
//! alike; within a round the gateway and what it is held to come one after the other, in
//! turns, and then the others, each time begun by another one. Each measurement has a
//! fresh server, on a core of its own, and the load on another.

mod chart;
mod comparison;
mod figures;
mod measure;
mod peers;
mod proxy;
mod requests;
mod servers;
mod start;
mod streams;
mod summary;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use crate::clock::now_ns;
use crate::probe::Machine;
use comparison::{Comparison, Measurement};
use figures::Results;
use servers::{Server, Site, pin_this_thread};

pub(crate) use requests::{RequestsArgs, run as run_requests};

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Compare the reverse proxy, beside nginx and haproxy, and not the streams.
    #[arg(long)]
    proxy: bool,
    /// Times that everything is measured; figures are medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// One round of short measurements: does it all work?
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Only these measurements, with commas [default: all].
    #[arg(long, value_delimiter = ',', value_parser = comparison::measurement_names())]
    only: Vec<String>,
    /// Where the results go [default: loadtest/results/DATE-MACHINE, with --proxy its folder `proxy`].
    #[arg(long)]
    out: Option<PathBuf>,
    /// The gateway's binary [default: `tidegate` beside this one].
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The first of eight loopback ports for the servers.
    #[arg(long, default_value_t = 21000, value_parser = clap::value_parser!(u16).range(1024..=65000))]
    port: u16,
    /// The servers' core.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The load's core; it should share no hardware thread with the servers'.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
}

/// One measurement of one server in one round.
struct Turn {
    round: u32,
    measurement: &'static Measurement,
    server: Server,
}

pub(crate) fn run(args: &CompareArgs) -> Result<bool, String> {
    let comparison = if args.proxy { &proxy::COMPARISON } else { &streams::COMPARISON };
    let site = site(args)?;
    let machine = Machine::look();
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let out = args.out.clone().unwrap_or_else(|| {
        let results = format!("loadtest/results/{}-{}", &date[..10], machine.slug());
        if args.proxy { Path::new(&results).join("proxy") } else { results.into() }
    });
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    // The gateway's start is timed from this thread.
    pin_this_thread(args.client_core)?;

    let rounds = if args.quick { 1 } else { args.rounds };
    let (servers, skipped) = installed(comparison);
    let turns = turns(comparison, rounds, &args.only, &servers);
    if turns.is_empty() {
        return Err(
            "nothing is measured: what --only names is in the other comparison; give or leave \
                    out --proxy"
                .to_owned(),
        );
    }
    let mut results = Results::default();
    let mut clock = Clock::new(&turns, args.quick);
    for (at, turn) in turns.iter().enumerate() {
        let Turn { round, measurement, server } = turn;
        eprintln!(
            "[{}/{}] round {round} of {rounds}: {}, {} ({})",
            at + 1,
            turns.len(),
            measurement.name,
            server.label(),
            clock.left()
        );
        let report = measure::run(&site, *server, measurement, args.quick);
        if let Err(what) = &report {
            eprintln!("    failed: {what}");
        }
        results.add(measurement.name, *server, report);
        clock.done(measurement.seconds(*server, args.quick));
        if turns.get(at + 1).is_none_or(|next| next.round != *round) {
            results.write(&out)?;
        }
    }
    let heading = summary::Heading { comparison, date, machine, rounds, skipped, servers };
    let text = summary::render(&heading, &results);
    let path = out.join("summary.md");
    fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    chart::draw(&out.join("chart.svg"), &heading, &results)?;
    print!("{text}");
    eprintln!("Results: {}", out.display());
    Ok(results.is_clean(Server::Tidegate))
}

fn site(args: &CompareArgs) -> Result<Site, String> {
    let own = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
    let gateway = args.gateway.clone().unwrap_or_else(|| own.with_file_name("tidegate"));
    if !gateway.is_file() {
        return Err(format!(
            "there is no gateway at {}: build it with `cargo build --release --workspace`, or \
             name it with --gateway",
            gateway.display()
        ));
    }
    let port = |offset| SocketAddr::from((Ipv4Addr::LOCALHOST, args.port + offset));
    Ok(Site {
        own,
        gateway,
        public: port(0),
        internal: port(1),
        origin: port(2),
        further: [port(3), port(4), port(5)],
        is_proxy: args.proxy,
        server_core: args.server_core,
        client_core: args.client_core,
    })
}

/// The servers that can run here, and a line for each that cannot.
fn installed(comparison: &Comparison) -> (Vec<Server>, Vec<String>) {
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for &server in comparison.servers {
        match server.missing() {
            None => servers.push(server),
            Some(how) => {
                let line = format!("{} is skipped: {how}", server.label());
                eprintln!("{line}");
                skipped.push(line);
            }
        }
    }
    (servers, skipped)
}

fn turns(comparison: &Comparison, rounds: u32, only: &[String], installed: &[Server]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for round in 1..=rounds {
        for measurement in comparison.measurements {
            let wanted = only.is_empty() || only.iter().any(|name| name == measurement.name);
            if !wanted || (measurement.once && round > 1) {
                continue;
            }
            let mut servers: Vec<Server> = measurement.servers.to_vec();
            servers.retain(|server| installed.contains(server));
            // Never empty: the gateway is in every measurement, and it is there.
            let pair = servers.len().min(2);
            let (pair, others) = servers.split_at_mut(pair);
            let turn = round as usize - 1;
            pair.rotate_left(turn % pair.len());
            others.rotate_left(turn % others.len().max(1));
            turns.extend(servers.into_iter().map(|server| Turn { round, measurement, server }));
        }
    }
    turns
}

/// How long it still takes, from how long it took so far.
struct Clock {
    begin_ns: u64,
    /// Seconds by the plan, of what is done and of what is left.
    done: f64,
    left: f64,
}

impl Clock {
    fn new(turns: &[Turn], quick: bool) -> Self {
        let left = turns.iter().map(|turn| turn.measurement.seconds(turn.server, quick)).sum();
        Self { begin_ns: now_ns(), done: 0.0, left }
    }

    fn done(&mut self, seconds: f64) {
        self.done += seconds;
        self.left -= seconds;
    }

    fn left(&self) -> String {
        let took = (now_ns() - self.begin_ns) as f64 / 1e9;
        let pace = if self.done > 0.0 { took / self.done } else { 1.0 };
        let seconds = (self.left * pace).round() as u64;
        format!("about {} min {:02} s left", seconds / 60, seconds % 60)
    }
}
