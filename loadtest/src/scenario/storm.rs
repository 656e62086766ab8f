//! `storm`: all streams but a few lose their connections at once and come back at once,
//! each with the last id it has seen, while events flow. Across its connections every
//! stream must get each event once; those that stayed should not notice.
//!
//! A cycle: a calm, measured; all are away; the storm, measured from when they are let
//! back until each has caught up. Latency is that of the live streams alone.

use std::ffi::OsString;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cli::StormArgs;
use crate::clock::{nanos, now_ns, wait};
use crate::latency::{self, latency_histogram};
use crate::processes::Merge;
use crate::publish::{Pace, PublishOutcome, Publisher, Publishing};
use crate::reader::Outcome;
use crate::report::{self, LatencyUs, Row};
use crate::run::{Phase, Run};
use crate::scenario::fanout::{check_refused, owed, target};
use crate::scenario::{check_still_open, conduct};
use crate::session::{Opening, Sample, Session, Setup};
use crate::violations::Violations;

const LOOK: Duration = Duration::from_millis(1);
/// After a storm: what it has left to do is not part of the next calm.
const REST: Duration = Duration::from_millis(500);

/// A calm or a storm.
#[derive(Serialize, Deserialize)]
struct Period {
    seconds: f64,
    server_cpu_seconds: Option<f64>,
    client_cpu_seconds: f64,
    #[serde(with = "latency")]
    latency: Histogram<u64>,
}

impl Period {
    fn between(before: &Sample, after: &Sample) -> Self {
        let (server_cpu_seconds, client_cpu_seconds) = after.cpu_since(before);
        Self {
            seconds: after.seconds_since(before),
            server_cpu_seconds,
            client_cpu_seconds,
            latency: latency_histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        // The gateway's CPU is in each process.
        self.seconds = self.seconds.max(other.seconds);
        self.client_cpu_seconds += other.client_cpu_seconds;
        latency::add(&mut self.latency, &other.latency);
    }
}

#[derive(Serialize, Deserialize)]
struct Found {
    /// Calm and storm in turn.
    periods: Vec<Period>,
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    /// All numbers used are below this.
    numbers_until: u64,
    deliveries_owed: u64,
    deliveries: u64,
    gaps: u64,
    gaps_uncounted: u64,
    dropped_declared: u64,
    unsettled: u32,
    replayed: u64,
    shed: u64,
    #[serde(with = "latency")]
    hello: Histogram<u64>,
    #[serde(with = "latency")]
    caught_up: Histogram<u64>,
    #[serde(with = "latency")]
    late: Histogram<u64>,
    violations: Violations,
}

/// All calms, or all storms.
#[derive(Serialize)]
struct Weather {
    seconds: Vec<f64>,
    /// Shares of one core, in percent.
    server_cpu_percent: Option<f64>,
    client_cpu_percent: f64,
    latency_us: LatencyUs,
}

impl Weather {
    fn of<'a>(periods: impl Iterator<Item = &'a Period> + Clone) -> Self {
        let seconds: Vec<f64> = periods.clone().map(|period| period.seconds).collect();
        let all: f64 = seconds.iter().sum();
        let server: Option<f64> = periods.clone().map(|period| period.server_cpu_seconds).sum();
        let client: f64 = periods.clone().map(|period| period.client_cpu_seconds).sum();
        let mut latency = latency_histogram();
        periods.for_each(|period| latency::add(&mut latency, &period.latency));
        Self {
            seconds,
            server_cpu_percent: server.map(|cpu| 100.0 * cpu / all),
            client_cpu_percent: 100.0 * client / all,
            latency_us: LatencyUs::of_ns(&latency),
        }
    }

    fn cpu_row(&self) -> String {
        let server = self.server_cpu_percent;
        let server = server.map_or("unknown".to_owned(), |percent| format!("{percent:.0} %"));
        format!("server {server}, client {:.0} % of a core", self.client_cpu_percent)
    }
}

/// The storm's latency by the calm's: medians over the cycles.
#[derive(Serialize)]
struct Ratios {
    p50: f64,
    p99: f64,
    p999: f64,
}

impl Ratios {
    fn over(cycles: &[&[Period]]) -> Self {
        let ratio = |quantile: f64| {
            let at = |period: &Period| period.latency.value_at_quantile(quantile) as f64;
            let mut ratios: Vec<f64> =
                cycles.iter().map(|cycle| at(&cycle[1]) / at(&cycle[0]).max(1.0)).collect();
            ratios.sort_by(f64::total_cmp);
            let half = ratios.len() / 2;
            if ratios.len() % 2 == 1 {
                ratios[half]
            } else {
                (ratios[half - 1] + ratios[half]) / 2.0
            }
        };
        Self { p50: ratio(0.5), p99: ratio(0.99), p999: ratio(0.999) }
    }
}

#[derive(Serialize)]
struct Details {
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    deliveries_owed: u64,
    deliveries: u64,
    gaps: u64,
    /// Those of them without a count, which nothing can be held to.
    gaps_uncounted: u64,
    dropped_declared: u64,
    unsettled: u32,
    live_streams: u32,
    /// Events received by streams that came back until they had caught up.
    replayed: u64,
    /// Times that a stream was told to come back later.
    shed: u64,
    calm: Weather,
    storm: Weather,
    ratio: Ratios,
    /// From a connect to its `hello`.
    hello_us: LatencyUs,
    /// From when the streams were let back until one had all that was answered before its `hello`.
    caught_up_us: LatencyUs,
    publisher_late_us: LatencyUs,
}

pub(crate) fn run(args: &StormArgs, command_line: &[OsString]) -> Result<bool, String> {
    args.check()?;
    let shared = [("--rate", Some(args.rate))];
    let finished = conduct(&args.common, command_line, &shared, || run_here(args))?;
    let Some((opening, found)) = finished else { return Ok(true) };
    let details = details(args, &found);
    report::show("storm", &args.common, &opening, &details, &rows(&details), &found.violations)
}

fn run_here(args: &StormArgs) -> Result<(Opening, Found), String> {
    let setup = Setup {
        live: args.live,
        periods: 2 * args.cycles,
        event_bytes: args.publish.event_bytes,
        publishers: 1,
        ..Setup::default()
    };
    let session = Session::start(&args.common, &setup)?;
    let run = session.run.clone();
    let target = target(&args.publish, args.common.dialect);
    let publishers = Publisher::connect(&run, &target, Pace::Rate(args.rate), args.publish.batch)?;
    let opening = session.open()?;

    let publishing = Publishing::start(publishers, Duration::MAX)?;
    let progress = session.progress("storms", u64::from(args.cycles));
    let mut periods = Vec::new();
    for _ in 0..args.cycles {
        wait(REST);
        session.keep_step()?;
        periods.push(measure(&session, periods.len(), || {
            wait(args.calm);
            Ok(())
        })?);
        run.away.store(true, Relaxed);
        wait(args.away);
        // A thread may have been too busy to look.
        until(&run, args.patience, |_| true)?;
        session.keep_step()?;
        periods.push(measure(&session, periods.len(), || {
            run.away.store(false, Relaxed);
            until(&run, args.patience, |returning| returning == 0)
        })?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    publishing.end(&run);
    let published = publishing.join()?;

    let known = run.published.set(published.published());
    debug_assert!(known.is_ok(), "only this scenario sets it, once");
    let unsettled = session.settle(Phase::Settle, args.settle);
    let mut found = Found::of(published, periods, unsettled);
    found.deliveries_owed = owed(&run, found.numbers_until);
    check_refused(&run, found.numbers_until, &mut found.violations);
    session.stop()?.into_iter().for_each(|outcome| found.judge(&run, outcome));
    Ok((opening, found))
}

/// Does `what` as the run's period number `period`.
fn measure(
    session: &Session,
    period: usize,
    what: impl FnOnce() -> Result<(), String>,
) -> Result<Period, String> {
    let run = &session.run;
    // At most 200 of them.
    run.period.store(period as u32, Relaxed);
    let before = session.sample();
    run.measuring.store(true, Relaxed);
    let done = what();
    run.measuring.store(false, Relaxed);
    done.map(|()| Period::between(&before, &session.sample()))
}

/// Waits until all threads have seen whether streams are to be away, and `enough` of them
/// are back.
fn until(run: &Run, patience: Duration, enough: impl Fn(u32) -> bool) -> Result<(), String> {
    let (mut fewest, mut moved_ns) = (u32::MAX, now_ns());
    loop {
        if let Some(error) = run.open_error() {
            return Err(error);
        }
        let returning = run.returning();
        if returning.is_some_and(&enough) {
            return Ok(());
        }
        if let Some(returning) = returning.filter(|now| *now < fewest) {
            (fewest, moved_ns) = (returning, now_ns());
        } else if now_ns() - moved_ns > nanos(patience) {
            return Err(format!("streams that have not caught up: {fewest}, for {patience:?}"));
        }
        wait(LOOK);
    }
}

impl Found {
    fn of(published: PublishOutcome, periods: Vec<Period>, unsettled: u32) -> Self {
        Self {
            periods,
            events_published: published.events,
            events_accepted: published.accepted,
            events_refused: published.refused,
            numbers_until: published.until,
            deliveries_owed: 0,
            deliveries: 0,
            gaps: 0,
            gaps_uncounted: 0,
            dropped_declared: 0,
            unsettled,
            replayed: 0,
            shed: 0,
            hello: latency_histogram(),
            caught_up: latency_histogram(),
            late: published.late_ns,
            violations: published.violations,
        }
    }
    fn judge(&mut self, run: &Run, outcome: Outcome) {
        let tally = outcome.tally;
        for (period, latency) in self.periods.iter_mut().zip(&tally.latency) {
            latency::add(&mut period.latency, latency);
        }
        self.deliveries += tally.deliveries;
        self.replayed += tally.returns.replayed;
        self.shed += tally.returns.shed;
        latency::add(&mut self.hello, &tally.returns.hello_ns);
        latency::add(&mut self.caught_up, &tally.returns.caught_up_ns);
        self.violations.merge(tally.violations);
        for end in &outcome.streams {
            check_still_open(end, &mut self.violations);
            let settled = end.check.audit(run, self.numbers_until, &mut self.violations);
            self.gaps += settled.gaps;
            self.gaps_uncounted += settled.uncounted;
            self.dropped_declared += settled.declared;
        }
    }
}

impl Merge for Found {
    fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.periods.iter_mut().zip(&other.periods) {
            mine.add(theirs);
        }
        self.events_published += other.events_published;
        self.events_accepted += other.events_accepted;
        self.events_refused += other.events_refused;
        self.deliveries_owed += other.deliveries_owed;
        self.deliveries += other.deliveries;
        self.gaps += other.gaps;
        self.gaps_uncounted += other.gaps_uncounted;
        self.dropped_declared += other.dropped_declared;
        self.unsettled += other.unsettled;
        self.replayed += other.replayed;
        self.shed += other.shed;
        latency::add(&mut self.hello, &other.hello);
        latency::add(&mut self.caught_up, &other.caught_up);
        latency::add(&mut self.late, &other.late);
        self.violations.merge(other.violations);
    }
}

fn details(args: &StormArgs, found: &Found) -> Details {
    let cycles: Vec<&[Period]> = found.periods.chunks_exact(2).collect();
    Details {
        events_published: found.events_published,
        events_accepted: found.events_accepted,
        events_refused: found.events_refused,
        deliveries_owed: found.deliveries_owed,
        deliveries: found.deliveries,
        gaps: found.gaps,
        gaps_uncounted: found.gaps_uncounted,
        dropped_declared: found.dropped_declared,
        unsettled: found.unsettled,
        live_streams: args.live * args.common.processes,
        replayed: found.replayed,
        shed: found.shed,
        calm: Weather::of(cycles.iter().map(|cycle| &cycle[0])),
        storm: Weather::of(cycles.iter().map(|cycle| &cycle[1])),
        ratio: Ratios::over(&cycles),
        hello_us: LatencyUs::of_ns(&found.hello),
        caught_up_us: LatencyUs::of_ns(&found.caught_up),
        publisher_late_us: LatencyUs::of_ns(&found.late),
    }
}

fn rows(details: &Details) -> Vec<Row> {
    let Details { calm, storm, ratio, .. } = details;
    let seconds: Vec<String> = storm.seconds.iter().map(|s| format!("{s:.3}")).collect();
    vec![
        (
            "events",
            format!(
                "{} published, {} accepted, {} refused",
                details.events_published, details.events_accepted, details.events_refused
            ),
        ),
        ("deliveries", format!("{} of {} owed", details.deliveries, details.deliveries_owed)),
        (
            "dropped, declared",
            format!(
                "{} in {} gaps, {} of them without a count",
                details.dropped_declared, details.gaps, details.gaps_uncounted
            ),
        ),
        ("live streams", details.live_streams.to_string()),
        ("latency in a calm", calm.latency_us.row()),
        ("in a storm", storm.latency_us.row()),
        (
            "ratio, median of cycles",
            format!("p50 {:.2}  p99 {:.2}  p99.9 {:.2}", ratio.p50, ratio.p99, ratio.p999),
        ),
        ("CPU in a calm", calm.cpu_row()),
        ("in a storm", storm.cpu_row()),
        ("all caught up in", format!("{} s", seconds.join(", "))),
        ("one caught up in", details.caught_up_us.row()),
        ("time to hello", details.hello_us.row()),
        ("replayed", format!("{} events", details.replayed)),
        ("shed", format!("{} times", details.shed)),
        ("publisher late by", details.publisher_late_us.row()),
        ("unsettled streams", details.unsettled.to_string()),
    ]
}
