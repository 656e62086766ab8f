//! What belongs here: `idle` and `cap` as processes, and what is refused to be run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod fake;

use std::process::Command;
use std::time::Duration;

use fake::verdict::{Verdict, witness};
use fake::{Fake, Fault, Options};

#[test]
fn idle_streams_get_heartbeats() {
    let heartbeat = Some(Duration::from_millis(100));
    let fake = Fake::start(Options { heartbeat, ..Options::default() });
    let verdict = witness("idle", &fake, &["--streams", "50", "--duration", "550ms"]);
    verdict.assert_clean();
    let heartbeats = verdict.number("heartbeats");
    assert!((200..=300).contains(&heartbeats), "{heartbeats}");
}

fn cap(fault: Fault, first_ms: u64, last_ms: u64) -> Verdict {
    let life = Some((Duration::from_millis(first_ms), Duration::from_millis(last_ms)));
    let fake = Fake::start(Options { fault, life, ..Options::default() });
    witness("cap", &fake, &["--streams", "20", "--cap", "1s", "--grace", "50ms"])
}

#[test]
fn lifetimes_within_the_cap_pass_and_others_do_not() {
    let good = cap(Fault::None, 850, 950);
    good.assert_clean();
    assert_eq!(good.number("ended"), 20);
    assert!(good.report["age_from_head_ms"]["min"].as_f64().unwrap() > 800.0);
    cap(Fault::None, 500, 900).assert_only("lifetime", 1);
    cap(Fault::None, 1200, 900).assert_only("lifetime", 1);
}

#[test]
fn a_cap_without_a_proper_end_is_noticed() {
    for fault in [Fault::CapWithoutEnd, Fault::CapWithoutLastChunk, Fault::CapWrongReason] {
        cap(fault, 900, 900).assert_only("lifetime", 1);
    }
}

#[test]
fn what_cannot_be_run_is_said() {
    let fake = Fake::start(Options::default());
    let refusals: [(&[&str], &str); 6] = [
        (&["--streams", "900000"], "do not fit"),
        (&["--batch", "4"], "--publish-api publish"),
        (&["--publish-api", "pushpin"], "--dialect plain"),
        (&["--topics-per-stream", "2"], "more than --topics"),
        (&["--event-bytes", "3"], "at least"),
        (&["--internal", "http://127.0.0.1:1"], "refused"),
    ];
    for (args, wanted) in refusals {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"));
        command.args(["fanout", "--public", &format!("http://{}", fake.public)]);
        if !args.contains(&"--internal") {
            command.args(["--internal", &format!("http://{}", fake.internal)]);
        }
        let output = command.args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(wanted), "{args:?}: {stderr}");
    }
}
