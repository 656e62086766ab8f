//! What `/metrics` says: that it is well-formed, that each metric moves when its thing happens, and that
//! it does not grow with topics and streams.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::{PATIENCE_WITH_ALL, Stage};
use crate::server::promtool;
use crate::support::{Deadline, Gateway, pause, run_cli};

/// Metrics that the load does not move: descriptors never run out, mailboxes never fill.
const QUIET: &[&str] = &["tidegate_accept_errors_total", "tidegate_mailbox_fill_ratio"];

/// The series of an exposition, and their values.
fn series(exposition: &str) -> BTreeMap<&str, f64> {
    let samples = exposition.lines().filter(|line| !line.starts_with('#'));
    let series = samples.map(|line| line.rsplit_once(' ').expect("a series and its value"));
    series.map(|(series, value)| (series, value.parse().expect("a number"))).collect()
}

#[test]
fn every_metric_moves_and_promtool_finds_nothing_wrong() {
    let load = Stage::set().play();
    let output = run_cli(&["metrics"]);
    let listed = String::from_utf8(output.stdout).expect("the list is text");
    let mut still: Vec<&str> = listed
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !QUIET.contains(name))
        .collect();
    assert!(still.len() > 40, "{still:?}");
    let deadline = Deadline::after(PATIENCE_WITH_ALL);
    while !still.is_empty() && deadline.left().is_some() {
        let exposition = load.gateway().get("/metrics").expect_status(200);
        let series = series(exposition.text());
        still.retain(|name| {
            let is_its = |found: &str| {
                let rest = found.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', '_']))
            };
            !series.iter().any(|(found, value)| is_its(found) && *value != 0.0)
        });
        pause(Duration::from_millis(10));
    }
    assert!(still.is_empty(), "zero, although it happened: {still:?}");
    promtool(&["check", "metrics"], load.gateway().get("/metrics").text());
}

#[test]
fn a_scrape_does_not_grow_with_topics_and_streams() {
    let gateway = Gateway::start();
    let names = |exposition: &str| -> Vec<String> {
        series(exposition).into_keys().map(str::to_owned).collect()
    };
    let before = names(gateway.get("/metrics").text());
    let mut publisher = gateway.connect_internal();
    for batch in 0..100 {
        let event = |number| format!(r#"{{"topic":"topic.{batch}.{number}","data":"x"}}"#);
        let events: Vec<String> = (0..1000).map(event).collect();
        let body = format!("[{}]", events.join(","));
        let headers = [("content-type", "application/json")];
        publisher.request("POST", "/publish", &headers, body.as_bytes()).expect_status(202);
    }
    let topics = |stream: usize| -> String {
        let topic = |number| format!("topic=topic.{stream}.{number}");
        (0..100).map(topic).collect::<Vec<_>>().join("&")
    };
    let _streams: Vec<_> = (0..100).map(|stream| gateway.subscribe(&topics(stream))).collect();
    gateway.expect_metric("tidegate_history_topics", &[], 100_000.0);
    gateway.expect_metric("tidegate_topics", &[], 10_000.0);
    gateway.expect_metric("tidegate_subscribers", &[], 100.0);
    assert_eq!(names(gateway.get("/metrics").text()), before, "the same series as before");
}
