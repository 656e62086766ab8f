//! What belongs here: `storm` as a process against a server that resumes streams well, and
//! one that is wrong at the seam in one way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod fake;

use fake::verdict::{Verdict, witness};
use fake::{Fake, Fault, Options};

const SMALL: &str = "--streams 30 --live 5 --rate 300 --calm 100ms --away 100ms --settle 2s";

fn storm(fault: Fault, more: &str) -> Verdict {
    let fake = Fake::start(Options { fault, ..Options::default() });
    let args = format!("{SMALL} {more}");
    witness("storm", &fake, &args.split_whitespace().collect::<Vec<_>>())
}

#[track_caller]
fn assert_whole(verdict: &Verdict) {
    verdict.assert_clean();
    let made = verdict.number("deliveries") + verdict.number("dropped_declared");
    assert_eq!(made, verdict.number("deliveries_owed"), "{:#}", verdict.report);
    assert_eq!(verdict.number("unsettled"), 0);
}

#[test]
fn streams_that_come_back_get_everything_once() {
    for more in ["", "--topics 6 --topics-per-stream 2 --threads 2", "--processes 2"] {
        let verdict = storm(Fault::None, &format!("--cycles 2 {more}"));
        assert_whole(&verdict);
        assert_eq!(verdict.report["hello_us"]["samples"], 60, "{more}");
        assert_eq!(verdict.report["caught_up_us"]["samples"], 60, "{more}");
        assert!(verdict.number("replayed") > 60, "{more}: {:#}", verdict.report);
        for period in ["calm", "storm"] {
            let period = &verdict.report[period];
            assert_eq!(period["seconds"].as_array().unwrap().len(), 2, "{more}");
        }
        let calm = verdict.report["calm"]["latency_us"]["samples"].as_u64().unwrap();
        // 0.2 s at 300 events a second, each to the live streams of its topic.
        assert!((20..=400).contains(&calm), "live streams alone are measured: {calm}");
    }
}

#[test]
fn who_is_shed_comes_again_with_its_cursor() {
    let verdict = storm(Fault::Shed, "--cycles 2");
    assert_whole(&verdict);
    let shed = verdict.number("shed");
    assert!(shed >= 20, "{shed}");
    assert_eq!(verdict.report["hello_us"]["samples"].as_u64().unwrap(), 60 + shed);
    assert_eq!(verdict.report["caught_up_us"]["samples"], 60);
}

#[test]
fn what_is_wrong_at_the_seam_is_noticed() {
    storm(Fault::SeamLoses, "--cycles 1").assert_only("lost", 1);
    storm(Fault::SeamDoubles, "--cycles 1").assert_only("doubled", 1);
    storm(Fault::SeamWrongGapCount, "--cycles 1").assert_only("gap_count", 1);
    storm(Fault::SeamDenied, "--cycles 1").assert_only("protocol", 1);
    storm(Fault::SeamForgetsCursor, "--cycles 1").assert_only("protocol", 1);
}

#[test]
fn an_honest_gap_is_accounted_for() {
    let verdict = storm(Fault::SeamGap, "--cycles 1");
    assert_whole(&verdict);
    assert_eq!((verdict.number("gaps"), verdict.number("dropped_declared")), (1, 1));
    assert_eq!(verdict.number("gaps_uncounted"), 0);
}

#[test]
fn a_stream_that_is_closed_after_its_return_is_noticed() {
    let verdict = storm(Fault::SeamCloses, "--cycles 1");
    assert_eq!((verdict.status, verdict.violations("unexpected_close")), (1, 1));
    assert_eq!(
        verdict.violations("lost"),
        verdict.report["violations"]["total"].as_u64().unwrap() - 1
    );
}
