//! What belongs here: the scenarios' own accounts (churn, bursts, several connections) and
//! runs of several processes, against servers that are right and that are wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod fake;

use std::fs;
use std::path::PathBuf;

use fake::verdict::{Verdict, witness};
use fake::{Fake, Fault, Options};

fn run(scenario: &str, fault: Fault, args: &str) -> Verdict {
    let fake = Fake::start(Options { fault, ..Options::default() });
    witness(scenario, &fake, &args.split_whitespace().collect::<Vec<_>>())
}

const CHURN: &str = "--streams 20 --rate 400 --settle 1s --rest 10ms";

#[test]
fn every_event_between_hello_and_close_is_accounted_for() {
    let pid = std::process::id();
    let args = format!("{CHURN} --cycles 3 --hold 200ms --server-pid {pid}");
    let cycles = run("churn", Fault::None, &args);
    cycles.assert_clean();
    assert_eq!(cycles.number("streams_left"), 60);
    assert_eq!(cycles.report["hello_us"]["samples"], 60);
    assert_eq!(cycles.report["server_rss_held"].as_array().unwrap().len(), 3);
    assert_eq!(cycles.report["server_rss_after"].as_array().unwrap().len(), 3);
    assert!(cycles.number("deliveries") > 60 * 50, "{:#}", cycles.report);

    let args = format!("{CHURN} --replace-rate 100 --duration 600ms --topics 3");
    let replaced = run("churn", Fault::None, &args);
    replaced.assert_clean();
    assert!((70..=80).contains(&replaced.number("streams_left")), "{:#}", replaced.report);
}

#[test]
fn what_is_lost_between_hello_and_close_is_noticed() {
    let args = format!("{CHURN} --cycles 2 --hold 300ms");
    run("churn", Fault::Drop, &args).assert_only("lost", 1);
    run("churn", Fault::Double, &args).assert_only("doubled", 1);
    run("churn", Fault::HonestGap, &args).assert_clean();
}

#[test]
fn an_event_lost_just_before_a_stream_leaves_is_noticed() {
    // The victim's events end with the one that is dropped: nothing comes after it.
    let args = format!("{CHURN} --cycles 1 --hold 300ms");
    let verdict = run("churn", Fault::DropFrom, &args.replace("--settle 1s", "--settle 200ms"));
    assert_eq!(verdict.status, 1, "{:#}", verdict.report);
    assert!(verdict.violations("lost") > 20, "{:#}", verdict.report["violations"]);
}

#[test]
fn bursts_are_timed_until_everybody_has_them() {
    let args = "--streams 20 --burst 200 --every 100ms --publish-api publish --batch 20 \
                --warmup 0s --duration 550ms --settle 500ms";
    let verdict = run("fanout", Fault::None, args);
    verdict.assert_clean();
    let events = verdict.number("events_accepted");
    assert!(events.is_multiple_of(200) && (800..=1200).contains(&events), "{events}");
    assert!(verdict.report["burst_us"]["samples"].as_u64().unwrap() >= 3, "{:#}", verdict.report);
    assert_eq!(verdict.number("deliveries"), events * 20);
}

#[test]
fn several_connections_publish_and_every_event_is_accounted_for() {
    let args =
        "--streams 20 --topics 8 --connections 4 --warmup 0s --duration 300ms --settle 500ms";
    for pace in ["--rate 2000", "--pipeline 8", "--pipeline 2 --publish-api publish --batch 16"] {
        let verdict = run("fanout", Fault::Refuse, &format!("{args} {pace}"));
        verdict.assert_clean();
        assert!(verdict.number("events_refused") > 10, "{pace}: {:#}", verdict.report);
        assert!(verdict.number("deliveries") > 500, "{pace}: {:#}", verdict.report);
        assert_eq!(verdict.number("deliveries"), verdict.number("deliveries_owed"), "{pace}");
    }
    let lost = run("fanout", Fault::Drop, &format!("{args} --rate 2000"));
    lost.assert_only("lost", 1);
    assert_eq!(lost.number("deliveries") + 1, lost.number("deliveries_owed"));
}

#[test]
fn strides_are_understood_by_reader_and_publisher_alike() {
    let args = "--streams 40 --topics 30 --topics-per-stream 4 --topic-sets strides \
                --in-flight 8 --warmup 0s --duration 300ms --settle 500ms --threads 2";
    let verdict = run("fanout", Fault::None, args);
    verdict.assert_clean();
    assert!(verdict.number("events_accepted") > 100, "{:#}", verdict.report);
    assert_eq!(verdict.number("deliveries"), verdict.number("deliveries_owed"));
    let lost = run("fanout", Fault::Drop, args);
    lost.assert_only("lost", 1);
}

/// The fake server serves its streams in the order in which they came: with the places
/// reported, that must be seen.
#[test]
fn a_server_with_favourites_is_found_out() {
    let args = "--streams 50 --rate 100 --warmup 0s --duration 600ms --settle 500ms --fairness";
    let verdict = run("fanout", Fault::None, args);
    verdict.assert_clean();
    let fairness = &verdict.report["fairness"];
    let place = |name: &str| fairness[name].as_f64().unwrap();
    assert_eq!(fairness["streams"], 50);
    assert!(place("mean_place_min") < 0.1 && place("mean_place_max") > 0.9, "{fairness:#}");
    assert!(place("last_tenth_share_max") > 0.9, "{fairness:#}");
}

#[test]
fn three_processes_are_one_run() {
    let fake = Fake::start(Options::default());
    let pid = std::process::id().to_string();
    let fanout = "--streams 50 --rate 600 --warmup 50ms --duration 300ms --settle 500ms \
                  --processes 3 --server-pid";
    let mut args: Vec<&str> = fanout.split_whitespace().collect();
    args.push(&pid);
    let verdict = witness("fanout", &fake, &args);
    verdict.assert_clean();
    assert_eq!(verdict.report["opening"]["streams"], 50);
    let events = verdict.number("events_accepted");
    assert!((190..=220).contains(&events), "a third of the rate each: {events}");
    let deliveries = verdict.number("deliveries");
    assert_eq!(deliveries, verdict.number("deliveries_owed"));
    // Each event goes to the 16 or 17 streams of its own process.
    assert!((16 * events..=17 * events).contains(&deliveries), "{deliveries} of {events}");
    let measured = verdict.report["measured"]["deliveries"].as_u64().unwrap();
    let samples = verdict.report["latency_us"]["samples"].as_u64().unwrap();
    assert!(samples.abs_diff(measured) <= 100, "{samples} latencies of {measured} deliveries");
    assert!(verdict.report["measured"]["server_cpu_percent"].is_f64());

    let args: Vec<&str> = "--streams 50 --duration 300ms --processes 3".split(' ').collect();
    let idle = witness("idle", &fake, &args);
    idle.assert_clean();
    assert_eq!(idle.report["opening"]["streams"], 50);

    let churn = format!("{CHURN} --cycles 2 --hold 100ms --processes 3 --server-pid {pid}");
    let churn = witness("churn", &fake, &churn.split_whitespace().collect::<Vec<_>>());
    churn.assert_clean();
    assert_eq!(churn.number("streams_left"), 40);
    assert_eq!(churn.report["server_rss_after"].as_array().unwrap().len(), 2);
}

#[test]
fn what_one_of_several_processes_finds_the_run_has_found() {
    let args = "--streams 50 --rate 900 --warmup 0s --duration 300ms --settle 500ms --processes 3";
    run("fanout", Fault::Drop, args).assert_only("lost", 1);
    let nobody = run("fanout", Fault::None, &format!("{args} --internal http://127.0.0.1:1"));
    assert_eq!(nobody.status, 2);
    assert!(nobody.stderr.contains("refused"), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("a child process gave up"), "{}", nobody.stderr);
}

#[test]
fn a_file_runs_and_flags_override_it() {
    let fake = Fake::start(Options::default());
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scenario.toml");
    fs::write(
        &file,
        "scenario = 'fanout'\nstreams = 30\nrate = 300\nwarmup = '0s'\n\
        duration = '200ms'\nsettle = '500ms'\n",
    )
    .unwrap();
    let (public, internal) =
        (format!("http://{}", fake.public), format!("http://{}", fake.internal));
    let flags = ["--public", &public, "--internal", &internal];
    let verdict = Verdict::of("run", &[&[file.to_str().unwrap()], &flags[..]].concat());
    verdict.assert_clean();
    assert_eq!(verdict.report["opening"]["streams"], 30);
    assert_eq!(verdict.number("window_stalls"), 0);

    let more = ["--streams", "20", "--in-flight", "4", "--processes", "2"];
    let verdict = Verdict::of("run", &[&[file.to_str().unwrap()], &flags[..], &more].concat());
    verdict.assert_clean();
    assert_eq!(verdict.report["opening"]["streams"], 20);

    let verdict = Verdict::of("run", &["no/such.toml"]);
    assert!(verdict.status == 2 && verdict.stderr.contains("no/such.toml"), "{}", verdict.stderr);
}
