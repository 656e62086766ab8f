//! `tidegate size` against a real gateway: what it says to be exact is compared byte by byte, and what it
//! estimates has to come within a stated factor.

mod support;

#[path = "http2/frames.rs"]
#[allow(dead_code, reason = "`tests/http2.rs` uses the rest")]
mod frames;
#[path = "sizing/pages.rs"]
mod pages;

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use frames::Http2;
use serde_json::Value;
use support::{Authority, Builder, Connection, Folder, Gateway, eventually, pause, run_cli};

/// What the estimates of memory may be off by, up or down: allocators round, and first connections of
/// a process cost more than later ones.
const MEMORY_FACTOR: f64 = 1.6;

/// Events published before those that are looked at, so that all ids have four digits.
const BEFORE: usize = 1000;

/// Longer than any of these tests.
const QUIET: &str = "10m";

/// What `tidegate size` says.
struct Said(Value);

impl Said {
    #[track_caller]
    fn of(args: &[&str]) -> Self {
        Self::asked(&[&["--published", &BEFORE.to_string()], args].concat())
    }

    /// The same, with events published before as `args` have it.
    #[track_caller]
    fn asked(args: &[&str]) -> Self {
        let args = [&["size", "--json"], args].concat();
        let output = run_cli(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        Self(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// A figure of a section's row: `expected` or `at_most`.
    #[track_caller]
    fn figure(&self, section: &str, row: &str, which: &str) -> f64 {
        let amount = &self.0[section][row][which];
        amount["value"]
            .as_f64()
            .unwrap_or_else(|| panic!("no {which} of {section}.{row}: {}", self.0))
    }

    #[track_caller]
    fn expected(&self, section: &str, row: &str) -> f64 {
        self.figure(section, row, "expected")
    }

    /// What is exact has to say so.
    #[track_caller]
    fn exactly(&self, section: &str, row: &str) -> f64 {
        let is_exact = &self.0[section][row]["expected"]["exact"];
        assert_eq!(is_exact, &Value::Bool(true), "{section}.{row}");
        self.expected(section, row)
    }
}

/// A quiet gateway with two shards that has published [`BEFORE`] events to nobody.
fn gateway(builder: Builder) -> Gateway {
    let gateway = builder.arg("--shards=2").env("TIDEGATE__STREAM__HEARTBEAT", QUIET).start();
    let batch = vec![r#"{"topic":"elsewhere"}"#; BEFORE].join(",");
    gateway.publish(&format!("[{batch}]")).expect_status(202);
    gateway
}

fn sent(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_sent_bytes_total", &[])
}

fn open(gateway: &Gateway, topic: &str, count: usize) -> Vec<Connection> {
    let request = format!("GET /events?topic={topic} HTTP/1.1\r\nhost: tidegate.test\r\n\r\n");
    let ask = |_| {
        let mut client = gateway.connect_public();
        client.send(request.as_bytes());
        client
    };
    let mut clients: Vec<Connection> = (0..count).map(ask).collect();
    for client in &mut clients {
        assert_eq!(client.read_head().status, 200);
    }
    gateway.expect_metric("tidegate_subscribers", &[], count as f64);
    clients
}

#[track_caller]
fn within(what: &str, real: f64, calculated: f64, factor: f64) {
    println!("{what}: {real:.0}, calculated {calculated:.0}, ratio {:.2}", real / calculated);
    let is_near = real <= calculated * factor && calculated <= real * factor;
    assert!(is_near, "{what}: {real} is not within {factor} times of {calculated}");
}

// --- What is exact

#[test]
fn two_thousand_streams_are_sent_the_bytes_that_were_calculated() {
    const STREAMS: usize = 2000;
    const EVENTS: usize = 30;
    let gateway = gateway(Gateway::builder());
    let heartbeat = format!("--set=stream.heartbeat={QUIET}");
    let said = Said::of(&["--bytes", "200", "--event", "task.status", &heartbeat]);
    let clients = open(&gateway, "t", STREAMS);
    let opened = sent(&gateway);
    assert_eq!(opened, STREAMS as f64 * said.exactly("bandwidth", "opening"));

    for _ in 0..EVENTS {
        gateway.topic("t").publish_named("task.status", &"x".repeat(200));
    }
    let deliveries = (STREAMS * EVENTS) as f64;
    gateway.expect_metric("tidegate_events_delivered_total", &[], deliveries);
    assert_eq!(sent(&gateway) - opened, deliveries * said.exactly("bandwidth", "counted"));
    drop(clients);
}

#[test]
fn events_of_every_form_have_the_bytes_that_were_calculated() {
    for (args, env, data) in [
        (&["--bytes", "0"][..], None, ""),
        (&["--bytes", "1"], None, "x"),
        (&["--set", "stream.topic_field=comment", "--bytes", "3"], Some("comment"), "abc"),
    ] {
        let mut builder = Gateway::builder();
        if let Some(value) = env {
            builder = builder.env("TIDEGATE__STREAM__TOPIC_FIELD", value);
        }
        let gateway = gateway(builder);
        // The calculator's own example of a topic.
        let topic = "board.42.status";
        let clients = open(&gateway, topic, 3);
        let opened = sent(&gateway);
        gateway.topic(topic).publish(data);
        gateway.expect_metric("tidegate_events_delivered_total", &[], 3.0);
        let each = Said::of(args).exactly("bandwidth", "counted");
        assert_eq!(sent(&gateway) - opened, 3.0 * each, "{args:?}");
        drop(clients);
    }
}

#[test]
fn heartbeats_have_the_bytes_that_were_calculated() {
    for kind in ["comment", "event"] {
        let gateway = Gateway::builder()
            .env("TIDEGATE__STREAM__HEARTBEAT", "200ms")
            .env("TIDEGATE__STREAM__HEARTBEAT_KIND", kind);
        let gateway = gateway.start();
        let batch = vec![r#"{"topic":"elsewhere"}"#; BEFORE].join(",");
        gateway.publish(&format!("[{batch}]")).expect_status(202);
        let said = Said::of(&["--set", &format!("stream.heartbeat_kind={kind}")]);
        let (opening, beat) =
            (said.exactly("bandwidth", "opening"), said.exactly("bandwidth", "heartbeat"));
        // Its `heartbeat_ms` has two digits less than that of the default.
        let opening = opening - 2.0;
        let clients = open(&gateway, "t", 20);
        let beats = eventually("sixty heartbeats", || {
            let beats = (sent(&gateway) - 20.0 * opening) / beat;
            (beats >= 60.0).then_some(beats)
        });
        assert_eq!(beats.fract(), 0.0, "{kind}: {beats} heartbeats of {beat} bytes");
        drop(clients);
    }
}

/// What a segment of the log begins with (docs/DURABILITY.md).
const SEGMENT_HEADER: f64 = 512.0;

#[test]
fn the_log_on_disk_has_the_bytes_that_were_calculated() {
    const EVENTS: usize = 50;
    let files = Folder::new();
    let path = files.path().join("log").display().to_string();
    let log = [format!("--set=history.path={path}"), "--set=history.store=disk".to_owned()];
    let gateway = Gateway::builder().arg(&log[0]).arg(&log[1]).start();
    let said = |published: &str| {
        let args = ["--published", published, "--bytes", "100", &log[0], &log[1]];
        let said = Said::asked(&args);
        said.exactly("disk", "record") + said.exactly("disk", "group")
    };
    // Each is answered before the next is sent, so each is a write of its own.
    for _ in 0..EVENTS {
        gateway.topic("board.42.status").publish(&"x".repeat(100));
    }
    let inspected = run_cli(&["log", "inspect", "--json", &path]);
    let inspected: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    let end = inspected["segments"][0]["end"].as_f64().expect("where the log ends");
    let records = 9.0 * said("9") + (EVENTS - 9) as f64 * said("50");
    assert_eq!(end, SEGMENT_HEADER + records, "{inspected}");
}

/// Descriptors that any process gets from this one beside its standard streams: cargo's, for one.
fn inherited() -> usize {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = cat.spawn().expect("cat is there");
    // Once it answers, it has closed what its loader had opened.
    let (stdin, stdout) = (child.stdin.as_mut(), child.stdout.as_mut());
    stdin.expect("a pipe").write_all(b"x").expect("it reads");
    stdout.expect("a pipe").read_exact(&mut [0]).expect("it answers");
    let folder = format!("/proc/{}/fd", child.id());
    let count = fs::read_dir(folder).expect("it waits for more").count();
    child.kill().expect("it waits for more");
    child.wait().expect("it was killed");
    count - 3
}

#[test]
fn descriptors_are_those_that_were_calculated() {
    let inherited = inherited();
    for shards in ["1", "3"] {
        let gateway = Gateway::builder().arg("--shards").arg(shards).start();
        let said = Said::of(&["--shards", shards, "--streams", "100"]);
        let expect = |row: &str| {
            let expected = said.expected("descriptors", row) + inherited as f64;
            eventually("the descriptors that were calculated, and no other", || {
                (gateway.open_files() as f64 == expected).then_some(())
            });
        };
        expect("own");
        let clients = open(&gateway, "t", 100);
        expect("total");
        drop(clients);
    }
}

#[test]
fn streams_over_tls_are_sent_the_bytes_that_were_calculated() {
    let files = Folder::new();
    let authority = Authority::new();
    let ca = files.write("ca.pem", &authority.pem());
    let (chain, key) = authority.issue(&files, "a.test");
    let builder = Gateway::builder().config(&format!(
        "[tls]\nlisten = '127.0.0.1:0'\n[[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n"
    ));
    let gateway = gateway(builder);
    let port = gateway.tls.expect("it listens over TLS").port();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-buffer", "--http1.1", "--cacert", &ca]);
    curl.args(["--resolve", &format!("a.test:{port}:127.0.0.1")]);
    curl.arg(format!("https://a.test:{port}/events?topic=t&limit=5"));
    let child = curl.stdout(Stdio::null()).spawn().expect("curl is installed");
    gateway.expect_metric("tidegate_subscribers", &[], 1.0);
    let heartbeat = format!("--set=stream.heartbeat={QUIET}");
    let said = Said::of(&["--protocol", "tls", "--bytes", "10", &heartbeat]);
    let opening = said.exactly("bandwidth", "opening");
    gateway.expect_metric("tidegate_sent_bytes_total", &[], opening);
    gateway.topic("t").publish("0123456789");
    let counted = said.exactly("bandwidth", "counted");
    gateway.expect_metric("tidegate_sent_bytes_total", &[], opening + counted);
    for _ in 1..5 {
        gateway.topic("t").publish("0123456789");
    }
    let output = child.wait_with_output().expect("it ends behind the fifth event");
    assert!(output.status.success(), "curl failed: {}", output.status);
}

// --- What is estimated

/// Memory that a gateway has taken since it was quiet, once the allocator has settled.
fn growth(gateway: &Gateway, before: u64) -> f64 {
    pause(Duration::from_millis(300));
    gateway.rss().saturating_sub(before) as f64
}

#[test]
fn the_process_takes_what_was_calculated_and_never_more_than_the_most() {
    let gateway = gateway(Gateway::builder().env("TIDEGATE__SERVER__CONNECTIONS_MAX", "2000"));
    let args = ["--shards", "2", "--streams", "2000", "--set", "server.connections_max=2000"];
    let said = Said::of(&args);
    let clients = open(&gateway, "t", 2000);
    let rss = gateway.rss() as f64;
    within("memory with 2,000 streams", rss, said.expected("memory", "total"), MEMORY_FACTOR);
    assert!(rss < said.figure("memory", "total", "at_most"));
    drop(clients);
}

#[test]
fn streams_over_http2_take_what_was_calculated() {
    const CONNECTIONS: usize = 10;
    const EACH: usize = 100;
    let gateway = gateway(Gateway::builder());
    let before = gateway.rss();
    let mut clients: Vec<Http2> =
        (0..CONNECTIONS).map(|_| Http2::open(gateway.public, 1 << 20)).collect();
    for client in &mut clients {
        for _ in 0..EACH {
            client.subscribe("topic=t");
        }
    }
    gateway.expect_metric("tidegate_subscribers", &[], (CONNECTIONS * EACH) as f64);
    let said =
        Said::of(&["--protocol", "h2", "--streams", "1000", "--streams-per-connection", "100"]);
    let streams = said.expected("memory", "streams");
    within("1,000 streams on 10 connections", growth(&gateway, before), streams, MEMORY_FACTOR);

    // And what they are sent, which hyper's own frames are no part of.
    let opened = sent(&gateway);
    gateway.topic("t").publish(&"x".repeat(256));
    gateway.expect_metric("tidegate_events_delivered_total", &[], 1000.0);
    assert_eq!(sent(&gateway) - opened, 1000.0 * said.exactly("bandwidth", "counted"));
}

#[test]
fn rings_of_clients_that_do_not_read_take_what_was_calculated() {
    const STREAMS: usize = 100;
    let keys = [
        ("server.send_buffer", "4KiB"),
        ("server.connections_max", "200"),
        ("publish.event_bytes_max", "8KiB"),
        ("publish.body_bytes_max", "1MiB"),
        ("stream.ring_bytes_max", "128KiB"),
        // So that rings are all there is.
        ("history.events_max", "0"),
    ];
    let sets: Vec<String> =
        keys.iter().map(|(key, value)| format!("--set={key}={value}")).collect();
    let builder = sets.iter().fold(Gateway::builder(), |builder, set| builder.arg(set));
    let gateway = gateway(builder);
    let subscriber = |number: usize| {
        gateway.subscriber(&format!("topic=t.{number}")).receive_buffer(4096).open()
    };
    let clients: Vec<_> = (0..STREAMS).map(subscriber).collect();
    let before = gateway.rss();
    let data = "x".repeat(4096);
    for _ in 0..80 {
        let event = |number| format!(r#"{{"topic":"t.{number}","data":"{data}"}}"#);
        let events: Vec<String> = (0..STREAMS).map(event).collect();
        gateway.publish(&format!("[{}]", events.join(","))).expect_status(202);
    }
    eventually("every ring to have dropped something", || {
        let dropped = gateway.metric("tidegate_events_dropped_total", &[]);
        (dropped >= STREAMS as f64).then_some(())
    });
    let mut args = vec!["--shards", "2", "--streams", "100", "--topics", "100"];
    args.extend(["--slow", "100", "--bytes", "4KiB"]);
    args.extend(sets.iter().map(String::as_str));
    let said = Said::of(&args);
    let rings = said.expected("memory", "rings");
    within("100 full rings", growth(&gateway, before), rings, MEMORY_FACTOR);
    let most = said.figure("memory", "total", "at_most");
    assert!((gateway.peak_rss() as f64) < most, "{} of {most}", gateway.peak_rss());
    drop(clients);
}
