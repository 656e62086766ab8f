//! `idle`: N streams and nothing to say. What they cost in memory and CPU, and whether
//! heartbeats come and none of them closes.

use serde::Serialize;

use crate::cli::IdleArgs;
use crate::clock::wait;
use crate::report::{self, Row};
use crate::scenario::check_still_open;
use crate::session::Session;
use crate::violations::Violations;

#[derive(Serialize)]
struct Details {
    seconds: f64,
    heartbeats: u64,
    heartbeats_per_stream: f64,
    /// Share of one core, in percent.
    server_cpu_percent: Option<f64>,
    client_cpu_percent: Option<f64>,
}

pub(crate) fn run(args: &IdleArgs) -> Result<bool, String> {
    args.common.check()?;
    let session = Session::start(&args.common, (0.0, 0), 0, None)?;
    let opening = session.open()?;
    let before = session.sample();
    let progress = session.progress("holding", args.duration.as_secs());
    for _ in 0..args.duration.as_secs() {
        wait(std::time::Duration::from_secs(1));
        progress.inc(1);
    }
    wait(std::time::Duration::from_nanos(args.duration.subsec_nanos().into()));
    progress.finish_and_clear();
    let after = session.sample();
    let mut violations = Violations::default();
    for outcome in session.stop()? {
        violations.merge(outcome.tally.violations);
        for end in &outcome.streams {
            check_still_open(end, &mut violations);
        }
    }
    let seconds = after.seconds_since(&before);
    let (server, client) = after.cpu_since(&before);
    let percent = |cpu: Option<f64>| cpu.map(|cpu| 100.0 * cpu / seconds);
    let heartbeats = after.heartbeats - before.heartbeats;
    let details = Details {
        seconds,
        heartbeats,
        heartbeats_per_stream: heartbeats as f64 / f64::from(args.common.streams.max(1)),
        server_cpu_percent: percent(server),
        client_cpu_percent: percent(client),
    };
    let show = |share: Option<f64>| share.map_or("unknown".to_owned(), |s| format!("{s:.2} %"));
    let rows: Vec<Row> = vec![
        ("held", format!("{seconds:.1} s")),
        ("heartbeats", format!("{heartbeats}, {:.2} a stream", details.heartbeats_per_stream)),
        ("server CPU of a core", show(details.server_cpu_percent)),
        ("client CPU of a core", show(details.client_cpu_percent)),
    ];
    report::show("idle", &args.common, &opening, &details, &rows, &violations)
}
