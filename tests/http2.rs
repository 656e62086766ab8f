//! Streams over HTTP/2 in clear text with prior knowledge: the same contract as over HTTP/1.1, and
//! what only HTTP/2 has: several streams on a connection, windows, resets, GOAWAY.

mod support;

#[path = "slow/account.rs"]
mod account;
#[path = "http2/floods.rs"]
mod floods;
#[path = "http2/frames.rs"]
mod frames;
#[path = "http2/raw.rs"]
mod raw;
#[path = "http2/spec.rs"]
mod spec;
#[path = "http2/stalls.rs"]
mod stalls;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use account::Account;
use frames::{END_HEADERS, END_STREAM, Http2, STATUS_200, STATUS_400};
use raw::{Raw, Verdict, fields, headers};
use serde_json::Value;
use support::{Builder, Connection, Gateway, PATIENCE};

/// RFC 9113, 6.9.2: what a client that says nothing gives each stream.
const WINDOW: u32 = 65_535;

/// hyper's buffer of a stream and one pull of the ring: what has left the ring and is not sent.
const BEYOND_THE_RING_BYTES: usize = 64 * 1024;

#[track_caller]
fn expect_streams(gateway: &Gateway, count: usize) {
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http2")], count as f64);
}

#[track_caller]
fn publish(publisher: &mut Connection, data: &str) {
    publisher.request("POST", "/topics/t", &[], data.as_bytes()).expect_status(202);
}

#[track_caller]
fn control_data(event: &support::Event) -> Value {
    serde_json::from_str(&event.data).expect("a control event's data is JSON")
}

/// The cursor of the `hello`, which must come next.
#[track_caller]
fn expect_hello(client: &mut Http2, stream: u32) -> String {
    let hello = client.expect_named(stream, "hello");
    control_data(&hello)["cursor"].as_str().expect("hello has a cursor").to_owned()
}

// --- curl: somebody else's client

fn curl(args: &[&str]) -> Child {
    let mut command = Command::new("curl");
    let time = PATIENCE.as_secs().to_string();
    command.args(["--http2-prior-knowledge", "--silent", "--no-buffer", "--max-time", &time]);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("curl is installed")
}

#[track_caller]
fn output(curl: Child) -> String {
    let output = curl.wait_with_output().expect("curl ends");
    assert!(output.status.success(), "curl failed: {output:?}");
    String::from_utf8(output.stdout).expect("streams are UTF-8")
}

#[test]
fn curl_gets_the_headers_the_events_and_a_clean_end() {
    let gateway = Gateway::start();
    let url = format!("http://{}/events?topic=t&limit=2", gateway.public);
    let curl = curl(&["--include", &url]);
    expect_streams(&gateway, 1);
    gateway.topic("t").publish("one");
    gateway.topic("t").publish("two\nlines");
    let text = output(curl);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    for header in [
        "content-type: text/event-stream",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
        "vary: accept",
    ] {
        assert!(head.lines().any(|line| line == header), "no {header} in {head}");
    }
    for forbidden in ["connection:", "transfer-encoding:", "content-length:"] {
        assert!(!head.contains(forbidden), "{forbidden} in {head}");
    }
    let mut decoder = support::Decoder::new();
    let events = decoder.feed(body.as_bytes());
    let data: Vec<_> = events[1..3].iter().map(|event| event.data.as_str()).collect();
    assert_eq!(data, ["one", "two\nlines"]);
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["hello", "message", "message", "end"]);
    assert_eq!(control_data(&events[3])["reason"], "limit");
    assert!(decoder.at_block_boundary());
    expect_streams(&gateway, 0);
}

#[test]
fn curl_publishes_over_http2() {
    let gateway = Gateway::start();
    let mut stream = gateway.topic("t").subscribe();
    stream.expect_hello();
    let url = format!("http://{}/topics/t", gateway.internal);
    let answer =
        output(curl(&["--data", "hi", "--write-out", " %{http_version} %{http_code}", &url]));
    let (json, versions) = answer.split_once("} ").expect("an object");
    assert_eq!(versions, "2 202");
    let answer: Value = serde_json::from_str(&format!("{json}}}")).expect("JSON");
    assert_eq!(stream.expect_data("hi").id, answer["id"].as_str().expect("an id"));
}

#[test]
fn curl_is_refused_what_has_no_stream() {
    let gateway = Gateway::start();
    for (args, status) in [
        (&["/events"][..], "400"),
        (&["/nothing"], "404"),
        (&["/events?topic=t", "--request", "DELETE"], "405"),
        (&["/events?topic=t", "--header", "accept: text/html"], "406"),
        (&["/events?topic=t", "--head"], "200"),
    ] {
        let url = format!("http://{}{}", gateway.public, args[0]);
        let mut all = vec![url.as_str(), "--output", "/dev/null"];
        all.extend(["--write-out", "%{http_version} %{http_code}"]);
        all.extend(&args[1..]);
        assert_eq!(output(curl(&all)), format!("2 {status}"), "{args:?}");
    }
    expect_streams(&gateway, 0);
}

// --- One connection, several streams

#[test]
fn streams_share_a_connection_and_nothing_else() {
    let gateway = Gateway::start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let [a, both, pattern] = ["topic=a", "topic=a&topic=b", "topic=*"].map(|query| {
        let stream = client.subscribe(query);
        expect_hello(&mut client, stream);
        stream
    });
    expect_streams(&gateway, 3);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    let one = gateway.topic("a").publish("one");
    let two = gateway.topic("b").publish("two");
    for stream in [a, both, pattern] {
        assert_eq!(client.expect_data(stream, "one").id, one);
    }
    for stream in [both, pattern] {
        assert_eq!(client.expect_data(stream, "two").id, two);
    }
    gateway.topic("a").publish("three");
    client.expect_data(a, "three");
    assert_eq!(client.expect_data(both, "three").event, "message");
}

#[test]
fn a_request_with_a_body_is_refused_and_the_connection_goes_on() {
    let gateway = Gateway::start();
    let mut client = Http2::open(gateway.public, WINDOW);
    for _ in 0..3 {
        let refused = client.get_with_body("/events?topic=t", b"a body");
        assert_eq!(client.expect_status(refused), STATUS_400);
    }
    let stream = client.subscribe("topic=t");
    expect_hello(&mut client, stream);
    gateway.topic("t").publish("one");
    client.expect_data(stream, "one");
    expect_streams(&gateway, 1);
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_live() {
    let gateway = Gateway::builder().env("TIDEGATE__SERVER__HTTP2_STREAMS_MAX", "4").start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let streams = [(); 4].map(|()| client.subscribe("topic=t"));
    let fifth = client.get("/events?topic=t");
    client.expect_reset(fifth);
    gateway.topic("t").publish("one");
    for stream in streams {
        expect_hello(&mut client, stream);
        client.expect_data(stream, "one");
    }
    client.cancel(streams[0]);
    expect_streams(&gateway, 3);
    client.subscribe("topic=t");
    expect_streams(&gateway, 4);
}

#[test]
fn a_limit_ends_one_stream_of_a_connection() {
    let gateway = Gateway::start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let limited = client.subscribe("topic=t&limit=2");
    let other = client.subscribe("topic=t");
    expect_hello(&mut client, limited);
    expect_hello(&mut client, other);
    for data in ["one", "two", "three"] {
        gateway.topic("t").publish(data);
    }
    client.expect_data(limited, "one");
    client.expect_data(limited, "two");
    let end = client.expect_named(limited, "end");
    assert_eq!(control_data(&end)["reason"], "limit");
    client.expect_closed(limited);
    for data in ["one", "two", "three"] {
        client.expect_data(other, data);
    }
    expect_streams(&gateway, 1);
}

#[test]
fn polls_that_wait_hold_up_no_other_stream_of_a_connection() {
    let gateway = Gateway::start();
    let cursor = gateway.topic("t").publish("zero");
    let mut client = Raw::open(gateway.public);
    let poll = |client: &mut Raw, id: u32, wait: &str| {
        let path = format!("/events?topic=t&wait={wait}&last_event_id={cursor}");
        let [method, scheme, authority, path] = fields("GET", &path);
        let fields = [method, scheme, authority, path, ("accept", "application/json")];
        client.send(&headers(id, END_HEADERS | END_STREAM, &fields));
    };
    poll(&mut client, 1, "50s");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    for id in [3, 5] {
        poll(&mut client, id, "100ms");
        assert_eq!(client.verdict(), Verdict::Answer(id, STATUS_200));
    }
    gateway.topic("t").publish("one");
    assert_eq!(client.verdict(), Verdict::Answer(1, STATUS_200));
}

#[test]
fn a_quiet_stream_gets_heartbeats_that_move_its_cursor() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__HEARTBEAT", "200ms").start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let stream = client.subscribe("topic=t");
    expect_hello(&mut client, stream);
    let elsewhere = gateway.topic("other").publish("not for this stream");
    for _ in 0..20 {
        client.expect_comment(stream);
        if client.last_event_id(stream) == elsewhere {
            return;
        }
    }
    panic!("the cursor stays at {}", client.last_event_id(stream));
}

#[test]
fn a_cursor_of_another_epoch_is_a_gap_over_http2_too() {
    let gateway = Gateway::start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let stream = client.subscribe("topic=t&last_event_id=0123456789ab-7");
    expect_hello(&mut client, stream);
    let gap = client.expect_named(stream, "gap");
    assert_eq!(control_data(&gap)["reason"], "epoch");
}

#[test]
fn a_reset_removes_the_subscriber_without_an_event() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__HEARTBEAT", "10m").start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let streams = [(); 10].map(|()| client.subscribe("topic=t"));
    expect_streams(&gateway, 10);
    for stream in &streams[1..] {
        client.cancel(*stream);
    }
    expect_streams(&gateway, 1);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "client")], 9.0);
    expect_hello(&mut client, streams[0]);
    gateway.topic("t").publish("one");
    client.expect_data(streams[0], "one");
    drop(client);
    expect_streams(&gateway, 0);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn a_drain_ends_every_stream_and_then_the_connection() {
    let mut gateway = Gateway::start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let streams = [(); 5].map(|()| client.subscribe("topic=t"));
    expect_streams(&gateway, 5);
    gateway.terminate();
    for stream in streams {
        expect_hello(&mut client, stream);
        let end = client.expect_named(stream, "end");
        assert_eq!(control_data(&end)["reason"], "drain");
        client.expect_closed(stream);
    }
    client.expect_connection_closed();
    assert!(client.going_away);
    assert!(gateway.wait().success());
}

// --- Windows

fn with_ring(frames: usize) -> Builder {
    Gateway::builder()
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", &frames.to_string())
        .env("TIDEGATE__SERVER__SHARDS", "1")
}

#[test]
fn f41_a_stream_without_window_loses_exactly_what_its_ring_does_not_hold() {
    const RING: u64 = 16;
    const EVENTS: u64 = 500;
    const BYTES: usize = 2000;
    let gateway = with_ring(RING as usize).start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let stuck = client.subscribe("topic=t");
    let prompt = client.subscribe("topic=t");
    let mut stuck_account = Account::from(&expect_hello(&mut client, stuck));
    let mut prompt_account = Account::from(&expect_hello(&mut client, prompt));
    client.stop_reading(stuck);
    let mut publisher = gateway.connect_internal();
    for _ in 0..EVENTS {
        publish(&mut publisher, &"x".repeat(BYTES));
        prompt_account.take(&client.next(prompt));
    }
    assert_eq!(prompt_account.gaps, 0, "its neighbour is not affected: {prompt_account:?}");
    gateway.expect_metric("tidegate_ring_frames", &[], RING as f64);
    // Its hello was still read.
    assert!(client.data_bytes(stuck) <= WINDOW as usize + 1000);

    client.read_again(stuck, WINDOW);
    while stuck_account.received + stuck_account.declared < EVENTS {
        stuck_account.take(&client.next(stuck));
    }
    assert_eq!(stuck_account.gaps, 1, "{stuck_account:?}");
    assert_eq!(stuck_account.since_gap, RING, "{stuck_account:?}");
    let beyond_the_ring = (stuck_account.received - RING) * BYTES as u64;
    assert!(beyond_the_ring <= (WINDOW as usize + BEYOND_THE_RING_BYTES) as u64);
    publish(&mut publisher, "afterwards");
    client.expect_data(stuck, "afterwards");
    client.expect_data(prompt, "afterwards");
    let delivered = gateway.metric("tidegate_events_delivered_total", &[]);
    let dropped = gateway.metric("tidegate_events_dropped_total", &[]);
    assert_eq!(delivered + dropped, (2 * (EVENTS + 1)) as f64);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
}

#[test]
fn f41_a_stream_that_never_had_window_is_told_everything_in_order_once_it_has() {
    let gateway = with_ring(4).start();
    let mut client = Http2::open(gateway.public, 0);
    let stream = client.subscribe("topic=t");
    expect_streams(&gateway, 1);
    let mut publisher = gateway.connect_internal();
    for number in 0..50 {
        publish(&mut publisher, &number.to_string());
    }
    gateway.expect_metric("tidegate_ring_frames", &[], 4.0);
    client.settle(Duration::from_millis(50));
    assert_eq!(client.data_bytes(stream), 0);
    client.read_again(stream, WINDOW);
    let mut account = Account::from(&expect_hello(&mut client, stream));
    while account.received + account.declared < 50 {
        account.take(&client.next(stream));
    }
    assert_eq!((account.gaps, account.since_gap), (1, 4), "{account:?}");
}

#[test]
fn stop_and_go_windows_keep_counts_exact() {
    const EVENTS: u64 = 1500;
    let gateway = with_ring(8).start();
    let mut random = fastrand::Rng::with_seed(7);
    let mut client = Http2::open(gateway.public, 3000);
    let stream = client.subscribe("topic=t");
    let mut account = Account::from(&expect_hello(&mut client, stream));
    let mut publisher = gateway.connect_internal();
    let mut published = 0;
    while account.received + account.declared < EVENTS {
        client.stop_reading(stream);
        for _ in 0..random.u64(1..40).min(EVENTS - published) {
            publish(&mut publisher, &"x".repeat(random.usize(..4000)));
            published += 1;
        }
        client.read_again(stream, random.u32(1..9000));
        for _ in 0..random.u32(1..20) {
            if account.received + account.declared < published {
                account.take(&client.next(stream));
            }
        }
    }
    assert!(account.gaps > 5, "too few rounds of losing to prove anything: {account:?}");
    gateway.expect_metric("tidegate_events_delivered_total", &[], account.received as f64);
    gateway.expect_metric("tidegate_events_dropped_total", &[], account.declared as f64);
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "slow")], account.gaps as f64);
}

#[test]
fn f37_a_stream_whose_client_never_reads_its_end_is_given_up_and_forgotten() {
    let gateway = with_ring(4).start();
    let mut client = Http2::open(gateway.public, 0);
    client.subscribe("topic=t&max_duration=100ms");
    expect_streams(&gateway, 1);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "stuck")], 1.0);
    expect_streams(&gateway, 0);
    // Streams that come now take the place it had. What becomes of the old one is not theirs.
    let mut others: Vec<_> = (0..8).map(|_| gateway.topic("t").subscribe()).collect();
    for other in &mut others {
        other.expect_hello();
    }
    drop(client);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 8.0);
    gateway.topic("t").publish("one");
    for other in &mut others {
        other.expect_data("one");
    }
    assert_eq!(gateway.metric("tidegate_subscribers", &[]), 8.0);
}

#[test]
fn f37_a_stream_that_was_given_up_does_not_read_another_ones_events() {
    let gateway = with_ring(4).start();
    let mut client = Http2::open(gateway.public, 0);
    let given_up = client.subscribe("topic=t&max_duration=100ms");
    expect_streams(&gateway, 1);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "stuck")], 1.0);
    let mut neighbour = Http2::open(gateway.public, 0);
    let secret = neighbour.subscribe("topic=secret");
    expect_streams(&gateway, 1);
    gateway.topic("secret").publish("not yours");
    gateway.expect_metric("tidegate_ring_frames", &[], 1.0);
    // The client takes what is left of the stream that was given up: nothing of its successor's.
    client.read_again(given_up, WINDOW);
    client.settle(Duration::from_millis(200));
    let strange: Vec<_> = client.events(given_up);
    assert!(strange.iter().all(|event| event.event == "hello"), "another's events: {strange:?}");
    neighbour.read_again(secret, WINDOW);
    expect_hello(&mut neighbour, secret);
    neighbour.expect_data(secret, "not yours");
}

#[test]
fn a_limited_stream_whose_time_is_over_gets_its_events_and_its_end() {
    let gateway = with_ring(100).start();
    let mut client = Http2::open(gateway.public, 0);
    let stream = client.subscribe("topic=t&limit=3&max_duration=1s");
    expect_streams(&gateway, 1);
    let mut publisher = gateway.connect_internal();
    for number in 0..50 {
        publish(&mut publisher, &number.to_string());
    }
    gateway.expect_metric("tidegate_ring_frames", &[], 50.0);
    client.settle(Duration::from_millis(1300)); // Its time is over, and it has read nothing.
    client.read_again(stream, WINDOW);
    expect_hello(&mut client, stream);
    for number in 0..3 {
        client.expect_data(stream, &number.to_string());
    }
    let end = client.expect_named(stream, "end");
    assert_eq!(control_data(&end)["reason"], "limit");
    client.expect_closed(stream);
    expect_streams(&gateway, 0);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
}

// --- Coming back

#[test]
fn a_stream_over_http2_gets_what_it_has_missed() {
    let gateway = Gateway::start();
    let first = gateway.topic("t").publish("one");
    let missed: Vec<String> =
        (0..300).map(|n| gateway.topic("t").publish(&n.to_string())).collect();
    let mut client = Http2::open(gateway.public, WINDOW);
    let stream = client.subscribe(&format!("topic=t&last_event_id={first}"));
    let hello = client.expect_named(stream, "hello");
    assert_eq!(control_data(&hello)["resumed"], true);
    for (n, id) in missed.iter().enumerate() {
        assert_eq!(client.expect_data(stream, &n.to_string()).id, *id);
    }
    let live = gateway.topic("t").publish("live");
    assert_eq!(client.expect_data(stream, "live").id, live);
}
