//! The scripts for k6 and oha in `loadtest/`, run by the real programs, shortened. `sse.js` needs a k6 that is
//! built with xk6-sse, which there is none of here.

use std::process::Command;

use serde_json::Value;

use crate::program::{expect, program, run};
use crate::support::{Folder, Gateway};

/// The two listeners, as the scripts are told of them.
fn pointed_at(gateway: &Gateway, mut command: Command) -> Command {
    command.env("PUBLIC", format!("http://{}", gateway.public));
    command.env("INTERNAL", format!("http://{}", gateway.internal));
    command
}

fn k6(gateway: &Gateway, script: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = pointed_at(gateway, program("k6"));
    command.args(["run", "--quiet", "--no-usage-report", "--address", ""]);
    command.envs(settings.iter().copied()).arg(format!("loadtest/k6/{script}"));
    command
}

#[test]
fn k6_publishes_at_its_rate() {
    let gateway = Gateway::start();
    // A machine may be busy: here neither latency nor punctuality is asked for.
    let settings = [("RATE", "50"), ("DURATION", "2s"), ("P99_MS", "5000"), ("DROPPED_MAX", "100")];
    let files = Folder::new();
    let summary = files.path().join("summary.json");
    let mut k6 = k6(&gateway, "publish.js", &settings);
    expect(k6.arg("--summary-export").arg(&summary));
    let summary = std::fs::read_to_string(summary).expect("k6 writes its summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let count = |name: &str| summary["metrics"][name]["count"].as_f64().unwrap_or(0.0);
    let (begun, dropped) = (count("iterations"), count("dropped_iterations"));
    assert!((95.0..=105.0).contains(&(begun + dropped)), "{begun} and {dropped}");
    let published = gateway.metric("tidegate_events_published_total", &[]);
    assert!(begun > 0.0 && (published - begun).abs() < 1e-9, "{published} of {begun}");
}

#[test]
fn k6_sees_each_stream_get_its_events() {
    let gateway = Gateway::start();
    let settings = [("STREAMS", "20"), ("EVENTS", "10"), ("RATE", "20")];
    let said = expect(&mut k6(&gateway, "streams.js", &settings));
    assert!(said.contains("count=200"), "{said}");
}

#[test]
fn k6_fails_when_streams_do_not_get_their_events() {
    // Streams that end before the tenth event.
    let gateway = Gateway::builder().config("[stream]\nmax_lifetime = '1s'\n").start();
    let settings = [("STREAMS", "2"), ("EVENTS", "40"), ("RATE", "20")];
    let (is_content, said) = run(&mut k6(&gateway, "streams.js", &settings));
    assert!(!is_content && said.contains("every event"), "{said}");
}

fn oha(gateway: &Gateway, script: &str, settings: &[(&str, &str)]) -> Value {
    let oha = program("oha").get_program().to_owned();
    let folder = std::path::Path::new(&oha).parent().expect("it lies in a folder").to_owned();
    let path = std::env::var("PATH").expect("there is a path");
    let files = Folder::new();
    let report = files.path().join("report.json");
    let mut command = pointed_at(gateway, program("sh"));
    command.arg(format!("loadtest/oha/{script}")).args(["--output-format", "json", "--output"]);
    command.arg(&report).env("PATH", format!("{}:{path}", folder.display()));
    expect(command.envs(settings.iter().copied()));
    let report = std::fs::read_to_string(report).expect("oha writes its report");
    serde_json::from_str(&report).expect("JSON")
}

#[test]
fn oha_publishes() {
    let gateway = Gateway::start();
    let report = oha(&gateway, "publish.sh", &[("REQUESTS", "500"), ("CONNECTIONS", "4")]);
    assert_eq!(report["statusCodeDistribution"]["202"], 500, "{report:#}");
    let published = gateway.metric("tidegate_events_published_total", &[]);
    assert!((published - 500.0).abs() < 1e-9, "{published}");
}

#[test]
fn oha_holds_streams_until_the_gateway_ends_them() {
    let gateway = Gateway::start();
    let report = oha(&gateway, "streams.sh", &[("STREAMS", "50"), ("DURATION", "1s")]);
    assert_eq!(report["statusCodeDistribution"]["200"], 50, "{report:#}");
    assert!(report["summary"]["fastest"].as_f64() > Some(0.7), "{report:#}");
    let opened = gateway.metric("tidegate_streams_opened_total", &[]);
    assert!((opened - 50.0).abs() < 1e-9, "{opened}");
}
