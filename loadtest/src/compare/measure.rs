//! One measurement: a fresh server, the load as a process of its own, its JSON report.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::compare::plan::{Load, Measurement};
use crate::compare::servers::{Server, Site, spawn_on};
use crate::compare::start;

pub(super) fn run(
    site: &Site,
    server: Server,
    measurement: &Measurement,
    quick: bool,
) -> Result<Value, String> {
    let (scenario, flags) = match measurement.load {
        Load::Start { times } => return start::measure(site, server, times),
        Load::Fanout { streams, flags } => {
            let streams = streams.min(server.streams_max());
            ("fanout", format!("--streams {streams} {flags}"))
        }
        Load::Idle { streams } => ("idle", format!("--streams {streams}")),
        Load::Post { connections } => ("post", format!("--connections {connections}")),
    };
    let running = site.start(server)?;
    let pids: Vec<String> = running.pids.iter().map(u32::to_string).collect();
    let mut command = Command::new(&site.own);
    // The report names its command: as one would type it, without this machine's folders.
    command.arg0("tidegate-loadtest").arg(scenario).args(flags.split(' '));
    command.args(["--server-pid", &pids.join(",")]);
    command.args(["--duration", &format!("{}s", measurement.measured_seconds(quick))]);
    if scenario != "post" {
        command.args(["--public", &format!("http://{}", site.public), "--json", "-"]);
        command.args(server.witness_flags());
    }
    if scenario != "idle" {
        command.args(["--internal", &format!("http://{}", site.internal)]);
    }
    if scenario == "fanout" {
        command.args(server.publish_flags());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let load = spawn_on(site.client_core, &mut command)?;
    let output = load.wait_with_output().map_err(|error| format!("running the load: {error}"))?;
    // A run with violations (1) has a report too, which says so.
    match output.status.code() {
        Some(0 | 1) => serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("reading the load's report: {error}")),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("it said nothing");
            Err(format!("the load ended with {}: {last}", output.status))
        }
    }
}
