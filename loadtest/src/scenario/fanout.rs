//! `fanout`: publish to N streams; every stream must get each of its events once, in
//! the order of their ids, or be told exactly how many it did not get.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use serde::Serialize;

use crate::check::tally::latency_histogram;
use crate::cli::FanoutArgs;
use crate::clock::wait;
use crate::ledger::Answer;
use crate::publish::{Pace, PublishApi, PublishOutcome, PublishTarget, Publisher};
use crate::reader::Outcome;
use crate::report::{self, LatencyUs, Row};
use crate::run::{Phase, Run};
use crate::scenario::check_still_open;
use crate::session::{Sample, Session};
use crate::violations::{Kind, Violations};

#[derive(Serialize)]
struct Details {
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    window_stalls: u64,
    deliveries: u64,
    measured: Measured,
    latency_us: LatencyUs,
    publish_answer_us: LatencyUs,
    /// How late the publisher was against its own plan (open loop).
    publish_late_us: LatencyUs,
    gaps: u64,
    dropped_declared: u64,
    /// Streams still behind when the time to settle was over.
    unsettled: u32,
    stuck: Option<Stuck>,
}

/// Between the warm-up and the end of publishing.
#[derive(Serialize)]
struct Measured {
    seconds: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    server_cpu_us_per_delivery: Option<f64>,
    server_cpu_percent: Option<f64>,
    client_cpu_us_per_delivery: Option<f64>,
    client_cpu_percent: Option<f64>,
}

impl Measured {
    fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = after.seconds_since(before);
        let deliveries = after.deliveries - before.deliveries;
        let (server, client) = after.cpu_since(before);
        let each = |cpu: Option<f64>| cpu.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64);
        let percent = |cpu: Option<f64>| cpu.map(|cpu| 100.0 * cpu / seconds);
        Self {
            seconds,
            deliveries,
            deliveries_per_second: deliveries as f64 / seconds,
            server_cpu_us_per_delivery: each(server),
            server_cpu_percent: percent(server),
            client_cpu_us_per_delivery: each(client),
            client_cpu_percent: percent(client),
        }
    }
}

#[derive(Serialize)]
struct Stuck {
    streams: u32,
    gaps_min: u64,
    gaps_max: u64,
    each_had_one_gap: bool,
    lost_declared: u64,
    /// At most the frames of a ring.
    events_after_gap_max: u32,
}

pub(crate) fn run(args: &FanoutArgs) -> Result<bool, String> {
    args.check()?;
    let in_flight = args.rate.is_none().then(|| args.in_flight.unwrap_or(1));
    let stuck = (args.stuck_percent, args.stuck_rcvbuf);
    let session = Session::start(&args.common, stuck, args.event_bytes, in_flight)?;
    let run = session.run.clone();
    let pace = args.rate.map_or(Pace::Window { stall: args.stall }, Pace::Rate);
    let publisher = Publisher::connect(run.clone(), target(args), pace, args.batch)?;
    let opening = session.open()?;

    let length = args.warmup + args.duration;
    let publishing = thread::Builder::new()
        .name("publisher".to_owned())
        .spawn(move || publisher.run(length))
        .map_err(|error| format!("starting the publisher: {error}"))?;
    wait(args.warmup);
    run.measuring.store(true, Relaxed);
    let before = session.sample();
    hold(&session, args);
    let after = session.sample();
    run.measuring.store(false, Relaxed);
    let published = publishing.join().map_err(|_| "the publisher panicked".to_owned())?;

    let known = run.published.set(published.published());
    debug_assert!(known.is_ok(), "only this scenario sets it, once");
    let mut unsettled = session.settle(Phase::Settle, args.settle);
    if run.plan.stuck_count() > 0 {
        unsettled += session.settle(Phase::Unstick, args.settle);
    }
    let outcomes = session.stop()?;
    let measured = Measured::between(&before, &after);
    let (details, violations) = judge(args, &run, published, outcomes, measured, unsettled);
    report::show("fanout", &args.common, &opening, &details, &rows(&details), &violations)
}

fn target(args: &FanoutArgs) -> PublishTarget {
    PublishTarget {
        address: args.internal.address,
        host: args.internal.host.clone(),
        api: args.publish_api,
        dialect: args.common.dialect,
        arrays: args.batch > 1 && args.publish_api == PublishApi::Publish,
        headers: args.publish_header.iter().map(|line| format!("{line}\r\n")).collect(),
    }
}

/// Lets the measured time pass.
fn hold(session: &Session, args: &FanoutArgs) {
    let parts = 50;
    let progress = session.progress("publishing", parts);
    for _ in 0..parts {
        wait(args.duration / parts as u32);
        progress.inc(1);
        progress.set_message(format!("{} deliveries", session.run.deliveries()));
    }
    progress.finish_and_clear();
}

fn judge(
    args: &FanoutArgs,
    run: &Run,
    published: PublishOutcome,
    outcomes: Vec<Outcome>,
    measured: Measured,
    unsettled: u32,
) -> (Details, Violations) {
    let mut violations = published.violations;
    check_refused(run, published.events, &mut violations);
    let mut latency = latency_histogram();
    let (mut deliveries, mut gaps, mut dropped) = (0, 0, 0);
    let mut stuck: Option<Stuck> = None;
    for outcome in outcomes {
        deliveries += outcome.tally.deliveries;
        latency.add(&outcome.tally.latency).expect("both have the same bounds");
        violations.merge(outcome.tally.violations);
        for end in &outcome.streams {
            check_still_open(end, &mut violations);
            let settled = end.check.audit(run, published.events, &mut violations);
            gaps += settled.gaps;
            dropped += settled.declared;
            if !run.plan.is_stuck(end.check.stream) {
                continue;
            }
            if args.require_one_gap && settled.gaps != 1 {
                violations.add(Kind::GapCount, || {
                    format!("stuck stream {} had {} gaps", end.check.stream, settled.gaps)
                });
            }
            let all = stuck.get_or_insert(Stuck {
                streams: 0,
                gaps_min: u64::MAX,
                gaps_max: 0,
                each_had_one_gap: true,
                lost_declared: 0,
                events_after_gap_max: 0,
            });
            all.streams += 1;
            all.gaps_min = all.gaps_min.min(settled.gaps);
            all.gaps_max = all.gaps_max.max(settled.gaps);
            all.each_had_one_gap &= settled.gaps == 1;
            all.lost_declared += settled.declared;
            all.events_after_gap_max = all.events_after_gap_max.max(settled.events_after_gap);
        }
    }
    let details = Details {
        events_published: published.events,
        events_accepted: published.accepted,
        events_refused: published.refused,
        window_stalls: published.stalls,
        deliveries,
        measured,
        latency_us: LatencyUs::of_ns(&latency),
        publish_answer_us: LatencyUs::of_ns(&published.answer_ns),
        publish_late_us: LatencyUs::of_ns(&published.late_ns),
        gaps,
        dropped_declared: dropped,
        unsettled,
        stuck,
    };
    (details, violations)
}

/// What was refused must have reached nobody.
fn check_refused(run: &Run, published: u64, violations: &mut Violations) {
    for number in (0..published).filter(|&n| run.ledger.answer(n) == Answer::Refused) {
        if let Some(seq) = run.ledger.seq(number) {
            violations.add(Kind::Corrupt, || {
                format!("event {number} was refused to its publisher and delivered as seq {seq}")
            });
        }
    }
}

fn rows(details: &Details) -> Vec<Row> {
    let Measured {
        seconds,
        deliveries,
        deliveries_per_second,
        server_cpu_us_per_delivery,
        server_cpu_percent,
        client_cpu_us_per_delivery,
        client_cpu_percent,
    } = &details.measured;
    let cpu = |each: &Option<f64>, share: &Option<f64>| match (each, share) {
        (Some(each), Some(share)) => format!("{each:.3} µs/delivery, {share:.0} % of a core"),
        _ => "unknown (no --server-pid)".to_owned(),
    };
    let mut rows = vec![
        (
            "events",
            format!(
                "{} published, {} accepted, {} refused",
                details.events_published, details.events_accepted, details.events_refused
            ),
        ),
        ("deliveries", format!("{} in all, {deliveries} in {seconds:.2} s", details.deliveries)),
        ("deliveries/s", format!("{deliveries_per_second:.0}")),
        ("latency", details.latency_us.row()),
        ("publish answered in", details.publish_answer_us.row()),
        ("publisher late by", details.publish_late_us.row()),
        ("server CPU", cpu(server_cpu_us_per_delivery, server_cpu_percent)),
        ("client CPU", cpu(client_cpu_us_per_delivery, client_cpu_percent)),
        ("dropped, declared", format!("{} in {} gaps", details.dropped_declared, details.gaps)),
    ];
    if details.window_stalls > 0 {
        rows.push(("window stalls", details.window_stalls.to_string()));
    }
    if details.unsettled > 0 {
        rows.push(("streams left behind", details.unsettled.to_string()));
    }
    if let Some(stuck) = &details.stuck {
        rows.push((
            "stuck streams",
            format!(
                "{}: {} to {} gaps each, {} lost and declared, at most {} events after a gap",
                stuck.streams,
                stuck.gaps_min,
                stuck.gaps_max,
                stuck.lost_declared,
                stuck.events_after_gap_max
            ),
        ));
    }
    rows
}
