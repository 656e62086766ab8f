//! Every scenario file of the load tester, in miniature, against the gateway: that it runs, that its
//! account is without violations, and that it measures what it is for. Nothing here is about speed.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Gateway;
use support::loadtest::{loadtest_file, number};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest/scenarios").join(name)
}

/// Runs a fan-out file with 50 streams for some 300 ms; every delivery owed is made or declared.
#[track_caller]
fn fanout(gateway: &Gateway, name: &str, args: &str) -> Value {
    let pid = gateway.pid();
    let small = "--streams 50 --duration 300ms --warmup 50ms --settle 10s";
    let report = loadtest_file(gateway, &file(name), &format!("{small} --server-pid {pid} {args}"));
    let (owed, made) = (number(&report, "/deliveries_owed"), number(&report, "/deliveries"));
    assert_eq!(made + number(&report, "/dropped_declared"), owed, "{name}");
    assert_eq!(number(&report, "/unsettled"), 0, "{name}");
    assert!(number(&report, "/events_accepted") > 0, "{name}");
    report
}

#[test]
fn no_file_is_left_out_here() {
    let tried = [
        "burst",
        "churn",
        "fanout",
        "idle",
        "many-topics",
        "overload",
        "paced",
        "patterns",
        "publish",
        "storm",
        "stuck",
        "topic-sets",
    ];
    let files = std::fs::read_dir(file("")).expect("the scenarios' folder");
    let mut names: Vec<String> = files
        .map(|entry| entry.expect("a file").path().file_stem().expect("a name").to_owned())
        .map(|name| name.into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names, tried);
}

#[test]
fn fanout_and_paced() {
    let gateway = Gateway::start();
    fanout(&gateway, "fanout.toml", "");
    let paced = fanout(&gateway, "paced.toml", "--rate 200");
    assert_eq!(number(&paced, "/fairness/streams"), 50);
}

#[test]
fn burst() {
    let report = fanout(&Gateway::start(), "burst.toml", "--every 100ms");
    assert!(number(&report, "/burst_us/samples") >= 1);
    assert_eq!(number(&report, "/gaps"), 0);
}

#[test]
fn stuck() {
    let gateway = Gateway::builder()
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "16")
        .env("TIDEGATE__SERVER__SEND_BUFFER", "16KiB")
        .start();
    let report = fanout(&gateway, "stuck.toml", "--rate 500 --duration 1s");
    assert_eq!(number(&report, "/stuck/streams"), 5);
    assert_eq!(number(&report, "/gaps"), 5);
}

#[test]
fn publish_in_every_form() {
    let gateway = Gateway::start();
    for form in [
        "--publish-api topics",
        "--publish-api publish",
        "--publish-api publish --batch 16",
        "--publish-api ndjson --batch 16",
        "--publish-api ndjson --pipeline 8",
    ] {
        let report = fanout(&gateway, "publish.toml", &format!("--streams 0 {form}"));
        let rate = |name: &str| report["measured"][name].as_f64().expect("a rate");
        let batch = if form.contains("--batch") { 16.0 } else { 1.0 };
        let events = rate("requests_per_second") * batch;
        assert!((rate("events_per_second") / events - 1.0).abs() < 0.2, "{form}: {report:#}");
        assert!(rate("server_cpu_us_per_event") > 0.0, "{form}");
    }
}

#[test]
fn many_topics_mixed_sets_and_patterns() {
    let gateway = Gateway::start();
    fanout(&gateway, "many-topics.toml", "--topics 50");
    fanout(&gateway, "topic-sets.toml", "--topics 40");
    fanout(&gateway, "patterns.toml", "--topics 40");
    let everything = "--topics 8 --topics-per-stream 8 --patterns 100";
    let report = fanout(&gateway, "patterns.toml", everything);
    assert_eq!(number(&report, "/deliveries"), 50 * number(&report, "/events_accepted"));
}

#[test]
fn overload() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__RING_FRAMES_MAX", "16").start();
    let report = fanout(&gateway, "overload.toml", "--duration 1s");
    assert!(report["server_memory"]["max_bytes"].is_u64(), "{report:#}");
    assert!(report["server_memory"]["slope_bytes"].is_f64(), "{report:#}");
}

#[test]
fn churn_and_idle() {
    let gateway = Gateway::start();
    let small = format!("--streams 50 --rate 200 --server-pid {}", gateway.pid());
    let args = format!("{small} --cycles 2 --hold 100ms --rest 10ms");
    let cycles = loadtest_file(&gateway, &file("churn.toml"), &args);
    assert_eq!(number(&cycles, "/streams_left"), 100);
    let args = format!("{small} --replace-rate 100 --duration 300ms");
    let replaced = loadtest_file(&gateway, &file("churn.toml"), &args);
    assert!(number(&replaced, "/streams_left") > 60);
    let idle = loadtest_file(&gateway, &file("idle.toml"), "--streams 50 --duration 200ms");
    assert_eq!(number(&idle, "/opening/streams"), 50);
}

#[test]
fn storm() {
    let small = "--streams 50 --live 5 --topics 4 --rate 200 --cycles 2 --calm 100ms --away 200ms";
    let storm = |env: &[(&str, &str)]| {
        let gateway = env.iter().fold(Gateway::builder(), |gateway, (key, value)| {
            gateway.env(&format!("TIDEGATE__{key}"), value)
        });
        let report = loadtest_file(&gateway.start(), &file("storm.toml"), small);
        let made = number(&report, "/deliveries") + number(&report, "/dropped_declared");
        assert_eq!(made, number(&report, "/deliveries_owed"));
        assert_eq!(number(&report, "/caught_up_us/samples"), 100);
        report
    };
    let whole = storm(&[]);
    assert_eq!(number(&whole, "/gaps"), 0);
    assert!(number(&whole, "/replayed") >= 500, "{whole:#}");
    assert!(whole["ratio"]["p99"].as_f64().is_some_and(|ratio| ratio > 0.0), "{whole:#}");

    let forgetful = storm(&[("HISTORY__EVENTS_MAX", "2")]);
    assert!(number(&forgetful, "/gaps") >= 50, "{forgetful:#}");
    let few_places =
        [("HISTORY__REPLAYS_MAX", "1"), ("SERVER__SHARDS", "1"), ("STREAM__RETRY", "50ms")];
    let crowded = storm(&few_places);
    assert!(number(&crowded, "/shed") >= 1, "{crowded:#}");
    assert_eq!(number(&crowded, "/gaps"), 0);
}

#[test]
fn several_processes() {
    let gateway = Gateway::start();
    let report = fanout(&gateway, "topic-sets.toml", "--topics 40 --processes 3");
    assert_eq!(number(&report, "/opening/streams"), 50);
    assert!(report["measured"]["server_cpu_us_per_delivery"].is_f64(), "{report:#}");
}
