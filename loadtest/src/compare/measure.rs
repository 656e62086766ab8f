//! One measurement: a fresh server, the load as a process of its own, its JSON report.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::clock::wait;
use crate::compare::comparison::{Load, Measurement};
use crate::compare::servers::{Running, Server, Site, spawn_on};
use crate::compare::start;

/// The load beside which another is measured begins this much earlier, to have its streams open and
/// swept, and goes on for as long after it.
const AROUND_SECONDS: u32 = 4;

pub(super) fn run(
    site: &Site,
    server: Server,
    measurement: &Measurement,
    quick: bool,
) -> Result<Value, String> {
    let seconds = measurement.measured_seconds(quick);
    let (scenario, flags) = match measurement.load {
        Load::Start { times } => return start::measure(site, server, times),
        Load::Beside { streams, scenario, flags } => {
            let running = site.start(server)?;
            return beside(site, server, &running, streams, (scenario, flags), seconds);
        }
        Load::Fanout { streams, flags } => {
            let streams = streams.min(server.streams_max());
            ("fanout", format!("--streams {streams} {flags}"))
        }
        Load::Idle { streams } => ("idle", format!("--streams {streams}")),
        Load::Post { connections } => {
            let internal = format!("--target http://{}", site.internal);
            (
                "requests",
                format!(
                    "{internal} --path /topics/loadtest --post 128 --connections {connections}"
                ),
            )
        }
        Load::Requests { flags } => {
            ("requests", format!("--target http://{} {flags}", site.public))
        }
    };
    let running = site.start(server)?;
    report(load(site, server, &running, scenario, &flags, seconds)?)
}

/// A load beside another, whose report gets it as `beside`.
fn beside(
    site: &Site,
    server: Server,
    running: &Running,
    streams: u32,
    (scenario, flags): (&str, &str),
    seconds: u32,
) -> Result<Value, String> {
    let swept = format!("--streams {streams} --in-flight 1 --warmup 1s");
    let large = load(site, server, running, "fanout", &swept, seconds + 2 * AROUND_SECONDS)?;
    let yielding = Command::new("chrt")
        .args(["--all-tasks", "--idle", "--pid", "0", &large.id().to_string()])
        .status();
    if !yielding.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(format!("chrt (of util-linux) could not lower the load: {yielding:?}"));
    }
    wait(Duration::from_secs(AROUND_SECONDS.into()));
    let small = load(site, server, running, scenario, flags, seconds).and_then(report);
    let mut report = report(large)?;
    report["beside"] = small?;
    Ok(report)
}

fn load(
    site: &Site,
    server: Server,
    running: &Running,
    scenario: &str,
    flags: &str,
    seconds: u32,
) -> Result<Child, String> {
    let pids: Vec<String> = running.pids.iter().map(u32::to_string).collect();
    let mut command = Command::new(&site.own);
    // The report names its command: as one would type it, without this machine's folders.
    command.arg0("tidegate-loadtest").arg(scenario).args(flags.split(' '));
    command.args(["--server-pid", &pids.join(",")]);
    command.args(["--duration", &format!("{seconds}s")]);
    if scenario == "requests" {
        command.args(running.origin_pid().map(|pid| format!("--upstream-pid={pid}")));
    } else {
        command.args(["--public", &format!("http://{}", site.public), "--json", "-"]);
        command.args(server.witness_flags());
    }
    if matches!(scenario, "fanout" | "churn") {
        command.args(["--internal", &format!("http://{}", site.internal)]);
    }
    if scenario == "fanout" {
        command.args(server.publish_flags());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn_on(site.client_core, &mut command)
}

fn report(load: Child) -> Result<Value, String> {
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
