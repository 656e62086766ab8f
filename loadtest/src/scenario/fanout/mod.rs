//! `fanout`: publish to N streams; every stream must get each of its events once, in
//! the order of their ids, or be told exactly how many it did not get.

mod found;

use std::ffi::OsString;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::cli::{FanoutArgs, PublishArgs};
use crate::clock::{nanos, now_ns, wait, wait_until};
use crate::dialect::Dialect;
use crate::ledger::Answer;
use crate::publish::{Pace, PublishApi, PublishTarget, Publisher, Publishing};
use crate::reader::Outcome;
use crate::report;
use crate::run::{Phase, Run};
use crate::scenario::{check_still_open, conduct};
use crate::session::{Opening, Session, Setup};
use crate::violations::{Kind, Violations};

use found::{Found, Measured, Stuck};

/// Parts of the measured time that the progress bar shows.
const PARTS: u64 = 50;
/// How often the gateway's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &FanoutArgs, command_line: &[OsString]) -> Result<bool, String> {
    args.check()?;
    let shared = [("--rate", args.rate)];
    let finished = conduct(&args.common, command_line, &shared, || run_here(args))?;
    let Some((opening, found)) = finished else { return Ok(true) };
    let details = found.details();
    report::show("fanout", &args.common, &opening, &details, &details.rows(), &found.violations)
}

fn pace(args: &FanoutArgs) -> Pace {
    match (args.rate, args.burst, args.pipeline) {
        (Some(rate), ..) => Pace::Rate(rate),
        (_, Some(_), _) => Pace::Bursts { every: args.every, stall: args.stall },
        (_, _, Some(requests)) => Pace::Pipeline { requests },
        (None, None, None) => Pace::Window { stall: args.stall },
    }
}

fn run_here(args: &FanoutArgs) -> Result<(Opening, Found), String> {
    let pace = pace(args);
    let in_flight = match pace {
        Pace::Window { .. } => Some(args.in_flight.unwrap_or(1)),
        Pace::Bursts { .. } => args.burst,
        Pace::Rate(_) | Pace::Pipeline { .. } => None,
    };
    let setup = Setup {
        stuck_percent: args.stuck_percent,
        stuck_rcvbuf: args.stuck_rcvbuf,
        event_bytes: args.publish.event_bytes,
        in_flight,
        publishers: args.connections,
        fairness: args.fairness,
        ..Setup::default()
    };
    let session = Session::start(&args.common, &setup)?;
    let run = session.run.clone();
    let publishers = Publisher::connect(
        &run,
        &target(&args.publish, args.common.dialect),
        pace,
        args.publish.batch,
    )?;
    let opening = session.open()?;

    let publishing = Publishing::start(publishers, args.warmup + args.duration)?;
    wait(args.warmup);
    run.measuring.store(true, Relaxed);
    let before = session.sample();
    let memory = hold(&session, args.duration);
    let after = session.sample();
    run.measuring.store(false, Relaxed);
    let published = publishing.join()?;

    let known = run.published.set(published.published());
    debug_assert!(known.is_ok(), "only this scenario sets it, once");
    let mut unsettled = session.settle(Phase::Settle, args.settle);
    if run.plan.stuck_count() > 0 {
        unsettled += session.settle(Phase::Unstick, args.settle);
    }
    let outcomes = session.stop()?;
    let mut found = Found::of(published, Measured::between(&before, &after), memory);
    found.unsettled = unsettled;
    judge(args, &run, outcomes, &mut found);
    Ok((opening, found))
}

pub(super) fn target(args: &PublishArgs, dialect: Dialect) -> PublishTarget {
    PublishTarget {
        dialect,
        address: args.internal.address,
        host: args.internal.host.clone(),
        api: args.publish_api,
        arrays: args.batch > 1 && args.publish_api == PublishApi::Publish,
        headers: args.publish_header.iter().map(|line| format!("{line}\r\n")).collect(),
    }
}

/// Lets the measured time pass; gives the gateway's memory over it, as `(seconds, bytes)`.
fn hold(session: &Session, duration: Duration) -> Vec<(f64, u64)> {
    let progress = session.progress("publishing", PARTS);
    let begin = now_ns();
    let mut memory = Vec::new();
    let mut look_ns = begin;
    for part in 1..=PARTS {
        let until = begin + nanos(duration) / PARTS * part;
        while now_ns() < until {
            if now_ns() >= look_ns {
                look_ns += nanos(MEMORY_EVERY);
                let seconds = (now_ns() - begin) as f64 / 1e9;
                memory.extend(session.server_rss().map(|bytes| (seconds, bytes)));
            }
            wait_until(until.min(look_ns));
        }
        progress.set_position(part);
        progress.set_message(format!("{} deliveries", session.run.deliveries()));
    }
    progress.finish_and_clear();
    memory
}

fn judge(args: &FanoutArgs, run: &Run, outcomes: Vec<Outcome>, found: &mut Found) {
    check_refused(run, found.numbers_until, &mut found.violations);
    found.deliveries_owed = owed(run, found.numbers_until);
    for outcome in outcomes {
        found.add_tally(&outcome.tally);
        found.violations.merge(outcome.tally.violations);
        for end in &outcome.streams {
            check_still_open(end, &mut found.violations);
            let settled = end.check.audit(run, found.numbers_until, &mut found.violations);
            found.gaps += settled.gaps;
            found.dropped_declared += settled.declared;
            if !run.plan.is_stuck(end.check.stream) {
                continue;
            }
            if args.require_one_gap && settled.gaps != 1 {
                found.violations.add(Kind::GapCount, || {
                    format!("stuck stream {} had {} gaps", end.check.stream, settled.gaps)
                });
            }
            found.stuck.get_or_insert_with(Stuck::none).add(&Stuck::one(&settled));
        }
    }
}

/// Deliveries of all accepted events to all streams that match them.
pub(super) fn owed(run: &Run, until: u64) -> u64 {
    let mut streams = vec![0_u64; run.plan.topics as usize];
    for topic in (0..run.plan.streams).flat_map(|stream| run.plan.topics_of(stream)) {
        streams[topic as usize] += 1;
    }
    let accepted = (0..until).filter(|&number| run.ledger.answer(number) == Answer::Accepted);
    accepted.map(|number| streams[run.plan.topic_of(number) as usize]).sum()
}

/// What was refused must have reached nobody.
pub(super) fn check_refused(run: &Run, until: u64, violations: &mut Violations) {
    for number in (0..until).filter(|&n| run.ledger.answer(n) == Answer::Refused) {
        if let Some(seq) = run.ledger.seq(number) {
            violations.add(Kind::Corrupt, || {
                format!("event {number} was refused to its publisher and delivered as seq {seq}")
            });
        }
    }
}
