//! The gateway behind each balancer: events come through at once, each by itself; the app's WebSocket and
//! the client's address do too; a client that leaves is gone for the gateway.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::balancer::{Balancer, CLIENT};
use crate::process::Client;
use crate::support::Deadline;
use crate::support::lines::Lines;

/// Events of one round. Each is published when the one before has come: nothing pushes it out.
const EVENTS: usize = 10;
/// The median of a round's latencies is below this,
const LATENCY_MAX: Duration = Duration::from_millis(100);
/// in one of so many rounds: a machine may be busy with something else.
const ROUNDS: usize = 5;

/// A stream that curl holds.
struct Stream {
    child: Child,
    lines: Lines,
    read: usize,
}

impl Stream {
    #[track_caller]
    fn open(balancer: &Balancer, version: &str) -> Self {
        let mut curl = balancer.curl("/events?topic=t");
        curl.args([version, "--include"]).stdout(Stdio::piped());
        let mut child = curl.spawn().expect("curl is installed: run `make deps`");
        let lines = Lines::of(child.stdout.take().expect("stdout is piped"));
        let mut stream = Self { child, lines, read: 0 };
        stream.expect_line("event: hello");
        stream
    }

    /// Waits for this line, and goes on behind it.
    #[track_caller]
    fn expect_line(&mut self, expected: &str) {
        let mut number = self.read;
        let found = self.lines.wait_from(self.read, Deadline::patient(), |line| {
            number += 1;
            (line.trim_end() == expected).then_some(())
        });
        found.unwrap_or_else(|why| panic!("{expected:?}: {why}: {:?}", self.lines.all()));
        self.read = number;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn events_come_at_once(balancer: &Balancer, version: &str) {
    let mut stream = Stream::open(balancer, version);
    let protocol = version.replace("--http", "HTTP/");
    let status = stream.lines.all().swap_remove(0);
    assert!(status.starts_with(&format!("{protocol} 200")), "{}: {status}", balancer.name);
    let topic = balancer.gateway.topic("t");
    let mut medians = Vec::new();
    while medians.len() < ROUNDS && medians.iter().all(|median| *median >= LATENCY_MAX) {
        let mut latencies: Vec<Duration> = (0..EVENTS)
            .map(|number| {
                let data = format!("{}-{number}", medians.len());
                let published = Instant::now();
                topic.publish(&data);
                stream.expect_line(&format!("data: {data}"));
                published.elapsed()
            })
            .collect();
        latencies.sort();
        println!("{}, {protocol}: {latencies:?}", balancer.name);
        medians.push(latencies[EVENTS / 2]);
    }
    assert!(medians.iter().any(|median| *median < LATENCY_MAX), "{}: {medians:?}", balancer.name);

    drop(stream);
    // Sooner than the next heartbeat, whose failure would tell as well.
    balancer.gateway.expect_metric("tidegate_subscribers", &[], 0.0);
}

fn the_app_has_the_clients_address(balancer: &Balancer) {
    let mut curl = balancer.curl("/api/headers");
    curl.args(["--header", "x-forwarded-for: 6.6.6.6", "--header", "forwarded: for=6.6.6.6"]);
    curl.args(["--header", "x-real-ip: 6.6.6.6"]);
    let output = curl.output().expect("curl is installed: run `make deps`");
    let fields: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error} in {output:?}", balancer.name));
    let field = |name: &str| {
        let pairs = fields.as_array().expect("a list of pairs");
        let mut values = pairs.iter().filter(|pair| pair[0] == name).map(|pair| &pair[1]);
        values.next().and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {fields}"))
    };
    assert_eq!(field("x-real-ip"), CLIENT.to_string(), "{}", balancer.name);
    assert_eq!(field("x-forwarded-proto"), "https", "{}", balancer.name);
    assert_eq!(format!("https://{}", field("host")), balancer.url, "{}", balancer.name);
    assert!(!fields.to_string().contains("6.6.6.6"), "{}: {fields}", balancer.name);
    let said = balancer.app.log.wait_from(0, Deadline::patient(), |line| {
        line.contains("GET /api/headers").then(|| line.to_owned())
    });
    let said = said.expect("uvicorn logs every request");
    assert!(said.contains(&format!("{CLIENT}:")), "{}: {said}", balancer.name);
}

fn a_websocket_is_echoed(balancer: &Balancer) {
    let order = json!({"url": balancer.url, "ca": balancer.ca});
    let mut client = Client::python("websockets", "python_websockets.py", &order);
    let seen = client.expect_lines_until_done();
    assert!(seen.contains(&json!({"large": 1_000_000, "same": true})), "{seen:?}");
    assert!(seen.contains(&json!({"app_closed": 4001, "reason": "enough of that"})), "{seen:?}");
}

#[track_caller]
fn everything_comes_through(balancer: &Balancer) {
    events_come_at_once(balancer, "--http1.1");
    events_come_at_once(balancer, "--http2");
    the_app_has_the_clients_address(balancer);
    a_websocket_is_echoed(balancer);
}

#[test]
fn everything_comes_through_nginx() {
    everything_comes_through(&Balancer::nginx());
}

#[test]
fn everything_comes_through_haproxy() {
    everything_comes_through(&Balancer::haproxy());
}

#[test]
fn everything_comes_through_haproxy_that_passes_bytes_on() {
    everything_comes_through(&Balancer::haproxy_passthrough());
}

#[test]
fn everything_comes_through_caddy() {
    everything_comes_through(&Balancer::caddy());
}
