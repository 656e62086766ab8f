//! A gateway's beginning and end, and the ends of streams that it brings about: refusals to start,
//! drain, signals, the lifetime cap.

mod support;

#[path = "lifecycle/crowd.rs"]
mod crowd;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    Builder, Deadline, Decoder, Gateway, Received, Subscriber, eventually, pause, run_cli,
};

/// A busy machine may read an `end` so much later than it was sent.
const READ_DELAY: Duration = Duration::from_millis(200);

/// From the drain's deadline to the exit: last responses and ends.
const STOP_GRACE: Duration = Duration::from_secs(2);

fn streams(gateway: &Gateway, count: usize) -> Vec<Subscriber> {
    (0..count).map(|_| gateway.topic("t").subscribe()).collect()
}

/// A gateway with a client that does not read, so that its stream cannot end in order.
fn with_a_stuck_client(builder: Builder) -> (Gateway, Subscriber) {
    let gateway = builder
        .env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "4")
        .start();
    let stuck = gateway.subscriber("topic=stuck").receive_buffer(4096).open();
    for _ in 0..40 {
        gateway.topic("stuck").publish(&"x".repeat(20_000));
    }
    gateway.expect_metric("tidegate_ring_frames", &[], 4.0);
    (gateway, stuck)
}

#[track_caller]
fn expect_not_ready(gateway: &Gateway) {
    eventually("readiness to fail", || (gateway.get("/readyz").status == 503).then_some(()));
}

// --- Drain

#[test]
fn a_drain_refuses_newcomers_and_stays_alive_until_the_last_stream_has_ended() {
    let (mut gateway, mut stuck) = with_a_stuck_client(Gateway::builder());
    gateway.get("/readyz").expect_status(200);
    assert_eq!(gateway.metric("tidegate_ready", &[]), 1.0);
    gateway.terminate();
    expect_not_ready(&gateway);
    assert!(gateway.get("/readyz").expect_problem(503).ends_with("draining"));
    assert_eq!(gateway.metric("tidegate_ready", &[]), 0.0);
    gateway.get("/healthz").expect_status(200);
    eventually("new connections to be refused", || {
        let error = TcpStream::connect(gateway.public).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    gateway.topic("t").publish("publishing goes on");
    assert!(gateway.is_running());
    // It reads what waits, and its end.
    stuck.expect_hello();
    while stuck.next().event != "end" {}
    stuck.expect_closed();
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn f74_a_drain_spreads_the_ends_and_the_reconnects() {
    const STREAMS: usize = 400;
    let mut gateway = Gateway::start();
    let open = streams(&gateway, STREAMS);
    let readers = open.into_iter().map(|mut stream| {
        let reader = move || {
            stream.expect_hello();
            let end = stream.expect_end("drain");
            let at = Instant::now();
            stream.expect_closed();
            (at, end.retry_ms.expect("an end says when to come back"))
        };
        thread::Builder::new().stack_size(256 << 10).spawn(reader).expect("a thread")
    });
    let readers: Vec<_> = readers.collect();
    gateway.terminate();
    let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert_eq!(gateway.wait().code(), Some(0));

    // 50 to 150 % of the 2 s that clients are told.
    let retries: BTreeSet<u64> = ends.iter().map(|(_, retry_ms)| *retry_ms).collect();
    assert!(retries.iter().all(|retry_ms| (1000..=3000).contains(retry_ms)), "{retries:?}");
    assert!(retries.len() > STREAMS / 4, "{} retries for {STREAMS} streams", retries.len());
    let first = ends.iter().map(|(at, _)| *at).min().unwrap();
    let late = ends.iter().filter(|(at, _)| *at > first + Duration::from_millis(100)).count();
    assert!(late > STREAMS / 4, "only {late} streams ended 100 ms after the first");
}

#[test]
fn events_published_during_a_drain_reach_the_streams_that_are_still_open() {
    const STREAMS: usize = 600;
    let mut gateway = Gateway::start();
    let mut open = streams(&gateway, STREAMS);
    gateway.terminate();
    expect_not_ready(&gateway);
    let mut published = Vec::new();
    while gateway.metric("tidegate_subscribers", &[]) > STREAMS as f64 / 4.0 {
        published.push(gateway.topic("t").publish(&published.len().to_string()));
    }
    let mut received = 0;
    for stream in &mut open {
        stream.expect_hello();
        for id in &published {
            let event = stream.next();
            if event.event == "end" {
                break;
            }
            assert_eq!(event.id, *id, "no event of the drain is left out");
            received += 1;
        }
    }
    assert!(received > STREAMS, "{} events reached {received} streams", published.len());
    drop(open);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn an_interrupt_drains_like_a_termination() {
    let mut gateway = Gateway::start();
    let mut open = streams(&gateway, 3);
    gateway.signal(Signal::INT);
    for stream in &mut open {
        stream.expect_hello();
        stream.expect_end("drain");
        stream.expect_closed();
    }
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_gateway_that_has_just_begun_to_listen_drains_too() {
    for signal in [Signal::TERM, Signal::INT].into_iter().cycle().take(40) {
        let mut gateway = Gateway::start();
        gateway.signal(signal);
        assert_eq!(gateway.wait().code(), Some(0), "it was killed by {signal:?}");
    }
}

#[test]
fn an_idle_gateway_ends_at_once() {
    let mut gateway = Gateway::start();
    let silent = gateway.raw_public();
    let mut kept_alive = gateway.connect_public();
    kept_alive.request("GET", "/nothing", &[], b"").expect_status(404);
    gateway.terminate();
    kept_alive.expect_closed();
    gateway.expect_log("every stream has ended");
    assert_eq!(gateway.wait().code(), Some(0));
    drop(silent);
}

#[test]
fn f75_a_stuck_client_does_not_hold_the_process_past_the_drain_time() {
    let drain = Duration::from_secs(1);
    let builder = Gateway::builder().env("TIDEGATE__SERVER__DRAIN", "1s");
    let (mut gateway, stuck) = with_a_stuck_client(builder);
    let began = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    let took = began.elapsed();
    assert!((drain..drain + STOP_GRACE).contains(&took), "the drain took {took:?}");
    gateway.expect_log("the drain time is over");
    drop(stuck);
}

#[test]
fn f75_an_unfinished_request_does_not_hold_the_process_past_the_drain_time() {
    let drain = Duration::from_secs(1);
    let mut gateway = Gateway::builder().env("TIDEGATE__SERVER__DRAIN", "1s").start();
    let mut half = gateway.connect_public();
    half.send(b"GET /events?topic=t HTTP/1.1\r\nhost: tid");
    let mut publisher = gateway.connect_internal();
    publisher
        .send(b"POST /topics/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nhalf");
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    let began = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    let took = began.elapsed();
    assert!(took < drain + STOP_GRACE, "the drain took {took:?}");
}

#[test]
fn a_second_signal_stops_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let (mut gateway, stuck) = with_a_stuck_client(Gateway::builder());
        gateway.terminate();
        expect_not_ready(&gateway);
        let began = Instant::now();
        gateway.signal(second);
        assert_eq!(gateway.wait().code(), Some(0));
        assert!(began.elapsed() < STOP_GRACE, "it took {:?}", began.elapsed());
        gateway.expect_log("told again: stopping at once");
        drop(stuck);
    }
}

#[test]
fn streams_that_are_cut_short_are_told_of_the_shutdown() {
    let builder = Gateway::builder().env("TIDEGATE__SERVER__DRAIN", "10m");
    let (mut gateway, stuck) = with_a_stuck_client(builder);
    // So many that their ends are spread over more time than the second signal takes to come.
    let mut open = streams(&gateway, 3000);
    gateway.terminate();
    expect_not_ready(&gateway);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    let mut reasons = BTreeSet::new();
    for stream in &mut open {
        stream.expect_hello();
        let end = stream.expect_named("end");
        let data: serde_json::Value = serde_json::from_str(&end.data).expect("JSON");
        reasons.insert(data["reason"].as_str().expect("a reason").to_owned());
        stream.expect_closed();
    }
    assert!(reasons.contains("shutdown"), "{reasons:?}");
    drop(stuck);
}

// --- The lifetime cap

#[test]
fn f74_each_stream_ends_at_80_to_100_percent_of_the_cap_and_not_together() {
    const STREAMS: usize = 200;
    let cap = Duration::from_secs(2);
    let gateway = Gateway::builder().env("STREAM_MAX_SECONDS", "2").start();
    let live = || {
        let connecting = Instant::now();
        let mut stream = gateway.topic("t").subscribe();
        stream.expect_hello();
        let open = Instant::now();
        let end = stream.expect_end("max_lifetime");
        let ended = Instant::now();
        stream.expect_closed();
        (ended - connecting, ended - open, ended, end.retry_ms)
    };
    let lives: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..STREAMS).map(|_| scope.spawn(live)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for (longest, shortest, ..) in &lives {
        assert!(*longest >= cap.mul_f64(0.8), "too early: {longest:?}");
        assert!(*shortest <= cap + READ_DELAY, "too late: {shortest:?}");
    }
    let first = lives.iter().map(|life| life.2).min().unwrap();
    let late = lives.iter().filter(|life| life.2 > first + Duration::from_millis(100)).count();
    assert!(late > STREAMS / 4, "only {late} streams ended 100 ms after the first");
    let retries: BTreeSet<_> = lives.iter().map(|life| life.3).collect();
    assert!(retries.len() > STREAMS / 4, "{retries:?}");
    let ended = gateway.metric("tidegate_streams_closed_total", &[("reason", "max_lifetime")]);
    assert_eq!(ended, STREAMS as f64);
}

#[test]
fn what_waits_is_delivered_before_the_end() {
    let gateway = Gateway::builder()
        .env("STREAM_MAX_SECONDS", "1")
        .env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
        .start();
    let mut slow = gateway.subscriber("topic=t").receive_buffer(4096).open();
    let data = "x".repeat(10_000);
    for _ in 0..50 {
        gateway.topic("t").publish(&data);
    }
    pause(Duration::from_millis(1500)); // Its time is over, and it has read nothing.
    assert!(gateway.metric("tidegate_ring_frames", &[]) > 0.0);
    gateway.topic("t").publish("too late for this stream");
    slow.expect_hello();
    for _ in 0..50 {
        slow.expect_data(&data);
    }
    slow.expect_end("max_lifetime");
    slow.expect_closed();
}

#[test]
fn a_stream_may_ask_for_less_time() {
    let gateway = Gateway::start();
    let mut stream = gateway.subscribe("topic=t&max_duration=300ms");
    stream.expect_hello();
    gateway.topic("t").publish("one");
    stream.expect_data("one");
    assert!(stream.expect_end("limit").retry_ms.is_some());
    stream.expect_closed();
}

// --- Refusals to start

#[test]
fn a_port_in_use_is_an_error_that_names_the_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, internal, key) in [
        (address.as_str(), "127.0.0.1:0", "server.listen"),
        ("127.0.0.1:0", address.as_str(), "server.internal"),
    ] {
        let builder = Gateway::builder().arg("--listen").arg(listen);
        let (status, said) = builder.arg("--internal").arg(internal).expect_refusal();
        assert_eq!(status.code(), Some(1));
        for part in [key, &address, "in use"] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }
}

#[test]
fn two_gateways_do_not_share_a_port() {
    let first = Gateway::start();
    let public = first.public.to_string();
    let second = Gateway::builder().arg("--listen").arg(&public).arg("--internal");
    let (status, said) = second.arg("127.0.0.1:0").expect_refusal();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("server.listen") && said.contains("in use"), "{said}");
    first.get("/healthz").expect_status(200);
}

#[test]
fn an_internal_listener_for_everyone_is_refused_with_a_way_out() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8081"] {
        let builder = Gateway::builder().arg("--listen").arg("127.0.0.1:0");
        let (status, said) = builder.arg("--internal").arg(address).expect_refusal();
        assert!(status.code().is_some_and(|code| code == 1 || code == 2), "{status}");
        for part in ["--internal", address, "loopback", "127.0.0.1"] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }
}

// --- What it says of itself

#[test]
fn the_list_of_metrics_is_what_a_scrape_shows() {
    // What is counted of app servers is shown where there is one.
    let gateway = Gateway::builder().arg("--upstream=http://127.0.0.1:1").start();
    let scrape = gateway.get("/metrics").expect_status(200);
    let shown: BTreeSet<(&str, &str)> = scrape
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(name, _)| !name.starts_with("process_"))
        .collect();
    assert!(shown.iter().all(|(name, _)| name.starts_with("tidegate_")), "{shown:?}");
    let listed = run_cli(&["metrics"]);
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    for (name, kind) in &shown {
        let line = listed.lines().find(|line| line.split([' ', '{']).any(|word| word == *name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{listed}"));
        assert!(line.contains(kind), "{name} is a {kind}: {line}");
    }
    let names = listed.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for name in names.filter(|word| word.starts_with("tidegate_")) {
        assert!(shown.iter().any(|(shown, _)| *shown == name), "{name} is not in a scrape");
    }
}

// --- Left alone, and overtaken

#[test]
fn an_idle_gateway_stays_healthy() {
    let gateway = Gateway::start();
    // No request and no stream in this time: a shard's loop turns only if it wakes itself.
    pause(Duration::from_secs(12));
    gateway.get("/healthz").expect_status(200);
}

#[test]
fn requests_that_the_kernel_holds_when_the_drain_begins_are_answered() {
    const CLIENTS: usize = 20;
    for _ in 0..5 {
        let mut gateway = Gateway::start();
        gateway.signal(Signal::STOP);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| gateway.connect_public()).collect();
        for client in &mut clients {
            client.send_request("GET", "/events?topic=t", &[], b"");
        }
        gateway.terminate();
        gateway.signal(Signal::CONT);
        for client in &mut clients {
            let response = client.read_response("GET").expect_status(200);
            let mut decoder = Decoder::new();
            let events = decoder.feed(&response.body);
            let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
            assert_eq!(names, ["hello", "end"], "{events:?}");
            let end: serde_json::Value = serde_json::from_str(&events[1].data).expect("JSON");
            assert_eq!(end["reason"], "drain");
            assert_eq!(client.receive(Deadline::patient()), Received::Closed);
        }
        assert_eq!(gateway.wait().code(), Some(0));
    }
}
