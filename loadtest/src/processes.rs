//! A run in several processes, for more streams than one may have descriptors.
//!
//! The parent starts children of this same program with its own command line, each with
//! its share of the streams and of the rates, and source addresses of its own; a child
//! draws its own nonce, so its topics are its own too. They keep step over two pipes: a
//! child writes `ready` and waits, and when all have, the parent answers each with `go`.
//! A child's last line is what it found, as JSON, which the parent adds up.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cli::CommonArgs;
use crate::probe;
use crate::session::Opening;

const READY: &str = "ready";
const GO: &str = "go";

/// A child's end of the pipes.
pub(crate) enum Gate {
    Open,
    Kept,
}

impl Gate {
    pub(crate) fn new(child: bool) -> Self {
        if child { Self::Kept } else { Self::Open }
    }

    /// Waits until every process of the run is here.
    pub(crate) fn pass(&self) -> Result<(), String> {
        if matches!(self, Self::Open) {
            return Ok(());
        }
        say(READY)?;
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(_) if line.trim_end() == GO => Ok(()),
            Ok(_) => Err("the parent process is gone".to_owned()),
            Err(error) => Err(format!("waiting for the parent process: {error}")),
        }
    }
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.map_err(|error| format!("telling the parent process: {error}"))
}

/// What a process found, to be added to what the others did.
pub(crate) trait Merge {
    fn merge(&mut self, other: Self);
}

/// A finished run of one process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Finished<F> {
    pub(crate) opening: Opening,
    pub(crate) found: F,
}

impl<F: Serialize> Finished<F> {
    /// The last line of a child.
    pub(crate) fn hand_over(&self) -> Result<(), String> {
        let line = serde_json::to_string(self).map_err(|error| error.to_string())?;
        say(&line)
    }
}

/// Makes the run of `command_line` in `common.processes` children. `shared` are the rates
/// that they share between them.
pub(crate) fn run<F: Merge + DeserializeOwned>(
    command_line: &[OsString],
    common: &CommonArgs,
    shared: &[(&str, Option<f64>)],
) -> Result<Finished<F>, String> {
    let rss = || probe::sum(&common.server_pid, probe::rss_bytes);
    let before = rss();
    let mut members = (0..common.processes)
        .map(|index| Member::start(command_line, common, shared, index))
        .collect::<Result<Vec<_>, _>>()?;
    let mut all_open = None;
    loop {
        let lines =
            members.iter_mut().map(Member::read_line).collect::<Result<Vec<String>, String>>()?;
        if lines.iter().all(|line| line == READY) {
            all_open = all_open.or_else(rss);
            members.iter_mut().try_for_each(Member::go)?;
            continue;
        }
        let finished = lines.iter().map(|line| {
            serde_json::from_str::<Finished<F>>(line)
                .map_err(|error| format!("a child process out of step: {error}: {line:.200}"))
        });
        let mut finished = finished.collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut sum = finished.next().ok_or("a run of no processes")?;
        for other in finished {
            sum.opening.streams += other.opening.streams;
            sum.opening.seconds = sum.opening.seconds.max(other.opening.seconds);
            sum.found.merge(other.found);
        }
        // A child cannot tell its streams' memory from the others'.
        let streams = f64::from(sum.opening.streams.max(1));
        let grown = before.zip(all_open).map(|(before, all)| all as f64 - before as f64);
        sum.opening.server_bytes_per_stream = grown.map(|bytes| bytes / streams);
        sum.opening.server_bytes_per_stream_slope = None;
        sum.opening.server_rss_bytes = all_open;
        return Ok(sum);
    }
}

/// The parent's hold on one child, which does not outlive it.
struct Member {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    fn start(
        command_line: &[OsString],
        common: &CommonArgs,
        shared: &[(&str, Option<f64>)],
        index: u32,
    ) -> Result<Self, String> {
        let processes = common.processes;
        let streams = common.streams / processes + u32::from(index < common.streams % processes);
        let addresses = common.source_addresses().div_ceil(processes);
        let mut own = vec![
            "--child".to_owned(),
            "--quiet".to_owned(),
            "--processes=1".to_owned(),
            format!("--streams={streams}"),
            format!("--source-addresses={addresses}"),
            format!("--first-source-address={}", common.first_source_address + index * addresses),
            format!("--connects-in-flight={}", common.connects_in_flight.div_ceil(processes)),
        ];
        let rates = shared.iter().copied().chain([("--connect-rate", common.connect_rate)]);
        for (flag, rate) in rates {
            own.extend(rate.map(|rate| format!("{flag}={}", rate / f64::from(processes))));
        }
        let fail = |error: io::Error| format!("starting a child process: {error}");
        let mut child = Command::new(std::env::current_exe().map_err(fail)?)
            .args(&command_line[1..])
            .args(own)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, input, output })
    }

    fn read_line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("a child process gave up; what it said is above".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("reading from a child process: {error}")),
        }
    }

    fn go(&mut self) -> Result<(), String> {
        writeln!(self.input, "{GO}").map_err(|error| format!("telling a child process: {error}"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Both fail for a child that has ended and was waited for; that is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
