//! `idle`: N streams and nothing to say. What they cost in memory and CPU, and whether
//! heartbeats come and none of them closes.

use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::IdleArgs;
use crate::clock::wait;
use crate::processes::Merge;
use crate::report::{self, Row};
use crate::scenario::{check_still_open, conduct};
use crate::session::{Opening, Session, Setup};
use crate::violations::Violations;

#[derive(Serialize, Deserialize)]
struct Found {
    seconds: f64,
    heartbeats: u64,
    server_cpu_seconds: Option<f64>,
    client_cpu_seconds: f64,
    violations: Violations,
}

#[derive(Serialize)]
struct Details {
    seconds: f64,
    heartbeats: u64,
    heartbeats_per_stream: f64,
    /// Share of one core, in percent.
    server_cpu_percent: Option<f64>,
    client_cpu_percent: f64,
}

pub(crate) fn run(args: &IdleArgs, command_line: &[OsString]) -> Result<bool, String> {
    args.common.check()?;
    let finished = conduct(&args.common, command_line, &[], || run_here(args))?;
    let Some((opening, found)) = finished else { return Ok(true) };
    let percent = |cpu: f64| 100.0 * cpu / found.seconds;
    let details = Details {
        seconds: found.seconds,
        heartbeats: found.heartbeats,
        heartbeats_per_stream: found.heartbeats as f64 / f64::from(args.common.streams.max(1)),
        server_cpu_percent: found.server_cpu_seconds.map(percent),
        client_cpu_percent: percent(found.client_cpu_seconds),
    };
    let show = |share: Option<f64>| share.map_or("unknown".to_owned(), |s| format!("{s:.2} %"));
    let Details { seconds, heartbeats, heartbeats_per_stream, .. } = &details;
    let rows: Vec<Row> = vec![
        ("held", format!("{seconds:.1} s")),
        ("heartbeats", format!("{heartbeats}, {heartbeats_per_stream:.2} a stream")),
        ("server CPU of a core", show(details.server_cpu_percent)),
        ("client CPU of a core", show(Some(details.client_cpu_percent))),
    ];
    report::show("idle", &args.common, &opening, &details, &rows, &found.violations)
}

fn run_here(args: &IdleArgs) -> Result<(Opening, Found), String> {
    let session = Session::start(&args.common, &Setup::default())?;
    let opening = session.open()?;
    let before = session.sample();
    let progress = session.progress("holding", args.duration.as_secs());
    for _ in 0..args.duration.as_secs() {
        wait(Duration::from_secs(1));
        progress.inc(1);
    }
    wait(Duration::from_nanos(args.duration.subsec_nanos().into()));
    progress.finish_and_clear();
    let after = session.sample();
    let mut violations = Violations::default();
    for outcome in session.stop()? {
        violations.merge(outcome.tally.violations);
        for end in &outcome.streams {
            check_still_open(end, &mut violations);
        }
    }
    let (server_cpu_seconds, client_cpu_seconds) = after.cpu_since(&before);
    let found = Found {
        seconds: after.seconds_since(&before),
        heartbeats: after.heartbeats - before.heartbeats,
        server_cpu_seconds,
        client_cpu_seconds,
        violations,
    };
    Ok((opening, found))
}

impl Merge for Found {
    fn merge(&mut self, other: Self) {
        self.seconds = self.seconds.max(other.seconds);
        self.heartbeats += other.heartbeats;
        // The gateway's CPU is in each of them.
        self.client_cpu_seconds += other.client_cpu_seconds;
        self.violations.merge(other.violations);
    }
}
