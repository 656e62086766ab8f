//! `churn`: streams come and go while events flow. Every event between a stream's
//! `hello` and its close must reach it; a stream that leaves first waits for all that was
//! answered when it was told to. Afterwards the gateway's memory must be where it was.
//!
//! Two marks on the streams' numbers drive it all: those below one may open, those below
//! the other leave. In cycles both move by all streams at once; with `--replace-rate`
//! they move with the clock, at the distance of the streams held.

use std::ffi::OsString;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cli::ChurnArgs;
use crate::clock::{nanos, now_ns, wait};
use crate::latency::{self, latency_histogram};
use crate::memory::Memory;
use crate::processes::Merge;
use crate::publish::{Pace, PublishOutcome, Publisher, Publishing};
use crate::reader::Outcome;
use crate::report::{self, LatencyUs, Row};
use crate::run::Run;
use crate::scenario::fanout::{check_refused, target};
use crate::scenario::{check_still_open, conduct};
use crate::session::{Opening, Session, Setup};
use crate::violations::Violations;

const LOOK: Duration = Duration::from_millis(5);
const MEMORY_EVERY: Duration = Duration::from_secs(1);
/// Beyond `--settle`: for a reader to act on its streams' deadlines.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default, Serialize, Deserialize)]
struct Course {
    /// Streams opened after the first ones, and the seconds that took.
    reopened: u64,
    reopen_seconds: f64,
    /// The gateway's memory before, with the streams of each cycle, and after each.
    rss_before: Option<u64>,
    rss_held: Vec<u64>,
    rss_after: Vec<u64>,
    /// With `--replace-rate`: `(seconds, bytes)`.
    rss_replacing: Vec<(f64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Found {
    course: Course,
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    deliveries: u64,
    gaps: u64,
    dropped_declared: u64,
    streams_left: u64,
    #[serde(with = "latency")]
    hello: Histogram<u64>,
    #[serde(with = "latency")]
    latency: Histogram<u64>,
    violations: Violations,
}

#[derive(Serialize)]
struct Details {
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    deliveries: u64,
    gaps: u64,
    dropped_declared: u64,
    streams_left: u64,
    /// All but the first streams: they come while events flow.
    connects_per_second: Option<f64>,
    /// From the connect, so with the handshake and the wait for an accept.
    hello_us: LatencyUs,
    latency_us: LatencyUs,
    server_rss_before: Option<u64>,
    server_rss_held: Vec<u64>,
    server_rss_after: Vec<u64>,
    /// After the cycles, the slope by cycle; with `--replace-rate` by second.
    server_memory: Option<Memory>,
}

pub(crate) fn run(args: &ChurnArgs, command_line: &[OsString]) -> Result<bool, String> {
    args.check()?;
    let shared = [("--rate", Some(args.rate)), ("--replace-rate", args.replace_rate)];
    let finished = conduct(&args.common, command_line, &shared, || run_here(args))?;
    let Some((opening, found)) = finished else { return Ok(true) };
    let details = details(&found);
    let each = if args.replace_rate.is_some() { "second" } else { "cycle" };
    let rows = rows(&details, each);
    report::show("churn", &args.common, &opening, &details, &rows, &found.violations)
}

fn run_here(args: &ChurnArgs) -> Result<(Opening, Found), String> {
    let setup = Setup {
        // At most a million, by the command line's own check.
        streams_in_all: Some(args.streams_in_all() as u32),
        event_bytes: args.publish.event_bytes,
        publishers: 1,
        leave_timeout: args.settle,
        ..Setup::default()
    };
    let session = Session::start(&args.common, &setup)?;
    let run = session.run.clone();
    let pace = Pace::Rate(args.rate);
    let publishers = Publisher::connect(
        &run,
        &target(&args.publish, args.common.dialect),
        pace,
        args.publish.batch,
    )?;
    let mut course = Course { rss_before: session.server_rss(), ..Course::default() };
    run.measuring.store(true, Relaxed);
    let publishing = Publishing::start(publishers, Duration::MAX)?;
    let opening = session.open()?;
    match args.replace_rate {
        None => cycles(&session, args, &mut course)?,
        Some(rate) => replace(&session, args, rate, &mut course)?,
    }
    publishing.end(&run);
    let published = publishing.join()?;
    let outcomes = session.stop()?;
    Ok((opening, judge(&run, published, outcomes, course)))
}

/// The streams of the first cycle are open already.
fn cycles(session: &Session, args: &ChurnArgs, course: &mut Course) -> Result<(), String> {
    let streams = args.common.streams;
    let progress = session.progress("cycles", u64::from(args.cycles));
    for cycle in 1..=args.cycles {
        if cycle > 1 {
            course.reopened += u64::from(streams);
            course.reopen_seconds += session.open_up_to(cycle * streams, &progress)?;
        }
        session.keep_step()?;
        course.rss_held.extend(session.server_rss());
        wait(args.hold);
        leave(session, args, cycle * streams)?;
        session.keep_step()?;
        wait(args.rest);
        course.rss_after.extend(session.server_rss());
        session.keep_step()?;
        progress.set_position(u64::from(cycle));
    }
    progress.finish_and_clear();
    Ok(())
}

fn replace(
    session: &Session,
    args: &ChurnArgs,
    rate: f64,
    course: &mut Course,
) -> Result<(), String> {
    let run = &session.run;
    let (held, in_all) = (args.common.streams, run.plan.streams);
    let progress = session.progress("replacing", u64::from(in_all - held));
    let begin = now_ns();
    let mut look_ns = begin;
    while now_ns() < begin + nanos(args.duration) {
        let seconds = (now_ns() - begin) as f64 / 1e9;
        let due = ((seconds * rate) as u32).min(in_all - held);
        run.leave_below.store(due, Relaxed);
        // A place is taken again when it has become free.
        run.open_below.store(held + due.min(run.ended()), Relaxed);
        if let Some(error) = run.open_error() {
            return Err(error);
        }
        if now_ns() >= look_ns {
            look_ns += nanos(MEMORY_EVERY);
            course.rss_replacing.extend(session.server_rss().map(|bytes| (seconds, bytes)));
        }
        progress.set_position(u64::from(due));
        wait(LOOK);
    }
    course.reopened = u64::from(run.opened() - held);
    course.reopen_seconds = (now_ns() - begin) as f64 / 1e9;
    let all = run.open_below.load(Relaxed);
    session.open_up_to(all, &progress)?;
    leave(session, args, all)?;
    progress.finish_and_clear();
    session.keep_step()?;
    wait(args.rest);
    course.rss_after.extend(session.server_rss());
    Ok(())
}

/// Tells the streams below `below` to leave and waits until they have.
fn leave(session: &Session, args: &ChurnArgs, below: u32) -> Result<(), String> {
    let run = &session.run;
    run.leave_below.store(below, Relaxed);
    let deadline = now_ns() + nanos(args.settle + LEAVE_PATIENCE);
    while run.ended() < below {
        if now_ns() >= deadline {
            return Err(format!("{} of {below} streams left, then no more", run.ended()));
        }
        wait(LOOK);
    }
    Ok(())
}

fn judge(run: &Run, published: PublishOutcome, outcomes: Vec<Outcome>, course: Course) -> Found {
    let mut found = Found {
        course,
        events_published: published.events,
        events_accepted: published.accepted,
        events_refused: published.refused,
        deliveries: 0,
        gaps: 0,
        dropped_declared: 0,
        streams_left: 0,
        hello: latency_histogram(),
        latency: latency_histogram(),
        violations: published.violations,
    };
    check_refused(run, published.until, &mut found.violations);
    for outcome in outcomes {
        found.deliveries += outcome.tally.deliveries;
        latency::add(&mut found.hello, &outcome.tally.hello_ns);
        latency::add(&mut found.latency, &outcome.tally.latency[0]);
        found.violations.merge(outcome.tally.violations);
        for end in &outcome.streams {
            check_still_open(end, &mut found.violations);
            let until = end.left_at.unwrap_or(published.until);
            let settled = end.check.audit(run, until, &mut found.violations);
            found.gaps += settled.gaps;
            found.dropped_declared += settled.declared;
            found.streams_left += u64::from(end.left_at.is_some());
        }
    }
    found
}

impl Merge for Found {
    fn merge(&mut self, other: Self) {
        // The gateway's memory is the same in all of them.
        self.course.reopened += other.course.reopened;
        self.course.reopen_seconds = self.course.reopen_seconds.max(other.course.reopen_seconds);
        self.events_published += other.events_published;
        self.events_accepted += other.events_accepted;
        self.events_refused += other.events_refused;
        self.deliveries += other.deliveries;
        self.gaps += other.gaps;
        self.dropped_declared += other.dropped_declared;
        self.streams_left += other.streams_left;
        latency::add(&mut self.hello, &other.hello);
        latency::add(&mut self.latency, &other.latency);
        self.violations.merge(other.violations);
    }
}

fn details(found: &Found) -> Details {
    let course = &found.course;
    let by_cycle = (1..).zip(&course.rss_after).map(|(cycle, &rss)| (f64::from(cycle), rss));
    let samples = if course.rss_replacing.is_empty() {
        by_cycle.collect()
    } else {
        course.rss_replacing.clone()
    };
    Details {
        events_published: found.events_published,
        events_accepted: found.events_accepted,
        events_refused: found.events_refused,
        deliveries: found.deliveries,
        gaps: found.gaps,
        dropped_declared: found.dropped_declared,
        streams_left: found.streams_left,
        connects_per_second: (course.reopened > 0)
            .then(|| course.reopened as f64 / course.reopen_seconds),
        hello_us: LatencyUs::of_ns(&found.hello),
        latency_us: LatencyUs::of_ns(&found.latency),
        server_rss_before: course.rss_before,
        server_rss_held: course.rss_held.clone(),
        server_rss_after: course.rss_after.clone(),
        server_memory: Memory::over(&samples),
    }
}

fn rows(details: &Details, each: &str) -> Vec<Row> {
    let mib = |bytes: &u64| format!("{:.1}", *bytes as f64 / f64::from(1 << 20));
    let list = |all: &[u64]| all.iter().map(mib).collect::<Vec<_>>().join(", ");
    let mut rows: Vec<Row> = vec![
        (
            "events",
            format!(
                "{} published, {} accepted, {} refused",
                details.events_published, details.events_accepted, details.events_refused
            ),
        ),
        ("streams left", format!("{}", details.streams_left)),
        (
            "connects/s",
            details.connects_per_second.map_or("none".to_owned(), |c| format!("{c:.0}")),
        ),
        ("time to hello", details.hello_us.row()),
        ("deliveries", details.deliveries.to_string()),
        ("latency", details.latency_us.row()),
        ("dropped, declared", format!("{} in {} gaps", details.dropped_declared, details.gaps)),
    ];
    if let (Some(before), Some(memory)) = (&details.server_rss_before, &details.server_memory) {
        rows.push(("server MiB before", mib(before)));
        if !details.server_rss_held.is_empty() {
            rows.push(("with streams", list(&details.server_rss_held)));
        }
        rows.push(("without them", list(&details.server_rss_after)));
        rows.push(("server memory", memory.row(each)));
    }
    rows
}
