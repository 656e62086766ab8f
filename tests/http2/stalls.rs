//! Clients of HTTP/2 that hold what they have: no window, no request, no answer to a PING, a body that
//! is not what was said.

use std::time::{Duration, Instant};

use super::frames::{END_HEADERS, END_STREAM, Http2, SETTINGS, frame};
use super::raw::{NO_ERROR, PROTOCOL_ERROR, Raw, Verdict, data, fields, get, headers};
use super::support::{Builder, Deadline, Gateway, Origin, Received, pause};
use super::{WINDOW, expect_hello, expect_streams, publish};

/// RFC 9113, 7.
const CANCEL: u32 = 8;

fn with(key: &str, value: &str) -> Builder {
    Gateway::builder().env(&format!("TIDEGATE__SERVER__{key}"), value)
}

#[test]
fn f37_a_response_that_is_given_no_window_is_reset_after_its_deadline() {
    let gateway = with("HTTP2_WINDOW_TIMEOUT", "300ms").start();
    let mut client = Http2::open(gateway.public, 0);
    let begun = Instant::now();
    // Their whole body is with hyper, which has no window to send it.
    let streams = [(); 20].map(|()| client.get("/nothing"));
    for stream in streams {
        assert_eq!(client.expect_reset(stream), CANCEL);
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // Some window, and not enough.
    let mut client = Http2::open(gateway.public, 10);
    let stream = client.get("/nothing");
    client.stop_reading(stream);
    assert_eq!(client.expect_reset(stream), CANCEL);
    assert_eq!(client.data_bytes(stream), 10);
}

#[test]
fn f37_a_body_whose_length_nobody_said_does_not_outlive_the_deadline() {
    let origin = Origin::listen();
    let gateway =
        with("HTTP2_WINDOW_TIMEOUT", "300ms").arg("--upstream").arg(&origin.url()).start();
    for window in [0, 10] {
        let mut client = Http2::open(gateway.public, window);
        let stream = client.get("/");
        client.stop_reading(stream);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let (_, mut server) = origin.answer(&format!("{head}20\r\n{}\r\n", "x".repeat(32)));
        pause(Duration::from_millis(50));
        // By now all of it is out of our hands, but for what h2 has no window for.
        server.send("0\r\n\r\n");
        assert_eq!(client.expect_reset(stream), CANCEL);
    }
}

#[test]
fn f37_a_stream_of_events_without_window_is_reset_and_its_neighbour_goes_on() {
    let gateway = with("HTTP2_WINDOW_TIMEOUT", "500ms").start();
    let mut client = Http2::open(gateway.public, WINDOW);
    let stuck = client.subscribe("topic=t");
    let prompt = client.subscribe("topic=t");
    expect_hello(&mut client, stuck);
    expect_hello(&mut client, prompt);
    client.stop_reading(stuck);
    let mut publisher = gateway.connect_internal();
    let large = "x".repeat(WINDOW as usize);
    publish(&mut publisher, &large);
    client.expect_data(prompt, &large);
    publish(&mut publisher, "waits");
    client.expect_data(prompt, "waits");
    assert_eq!(client.expect_reset(stuck), CANCEL);
    expect_streams(&gateway, 1);
    // A stream may have nothing to say for longer than that.
    pause(Duration::from_millis(700));
    publish(&mut publisher, "as before");
    client.expect_data(prompt, "as before");
}

#[test]
fn f39_a_connection_that_asks_for_nothing_is_closed() {
    let gateway = with("HEADER_TIMEOUT", "300ms").start();
    let mut silent = Raw::open(gateway.public);
    let mut half = Raw::open(gateway.public);
    half.send(&headers(1, END_STREAM, &fields("GET", "/nothing")));
    for client in [&mut silent, &mut half] {
        assert_eq!(client.expect_goaway(), NO_ERROR);
        client.expect_closed();
    }
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "slow_head")], 2.0);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn a_connection_whose_requests_are_over_is_kept_for_a_while() {
    let gateway = with("KEEPALIVE_TIMEOUT", "500ms").start();
    let mut client = Raw::open(gateway.public);
    for id in [1, 3, 5] {
        client.send(&get(id, "/nothing"));
        assert!(matches!(client.verdict(), Verdict::Answer(..)));
        pause(Duration::from_millis(200));
    }
    assert_eq!(client.expect_goaway(), NO_ERROR);
    client.expect_closed();
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "idle")], 1.0);
    // A stream of events is a request that goes on.
    let mut client = Http2::open(gateway.public, WINDOW);
    let stream = client.subscribe("topic=t");
    expect_hello(&mut client, stream);
    pause(Duration::from_millis(700));
    gateway.topic("t").publish("one");
    client.expect_data(stream, "one");
}

#[test]
fn a_client_that_ignores_goaway_is_closed_all_the_same() {
    let gateway = with("REQUESTS_PER_CONNECTION_MAX", "1")
        .env("TIDEGATE__SERVER__HEADER_TIMEOUT", "300ms")
        .start();
    let mut client = Raw::open(gateway.public);
    // h2 waits for the answer to a PING before it takes the connection for idle.
    client.answers_pings = false;
    client.send(&get(1, "/nothing"));
    let begun = Instant::now();
    assert_eq!(client.expect_goaway(), NO_ERROR);
    client.expect_closed();
    assert!(begun.elapsed() < Duration::from_secs(5), "closed after {:?}", begun.elapsed());
}

#[test]
fn a_connection_that_has_asked_often_enough_is_told_to_go() {
    let gateway = with("REQUESTS_PER_CONNECTION_MAX", "3").start();
    let mut client = Raw::open(gateway.public);
    for id in [1, 3] {
        client.send(&get(id, "/nothing"));
        assert_eq!(client.verdict(), Verdict::Answer(id, 0x8d));
    }
    client.send(&get(5, "/nothing"));
    assert_eq!(client.expect_goaway(), NO_ERROR);
    client.expect_closed();
}

#[test]
fn f38_a_body_that_is_not_as_long_as_it_said_does_not_reach_a_server_as_a_whole() {
    let origin = Origin::listen();
    let gateway = Gateway::builder().arg("--upstream").arg(&origin.url()).start();
    let mut client = Raw::open(gateway.public);
    let fields: Vec<_> =
        fields("POST", "/").into_iter().chain([("content-length", "10")]).collect();
    client.send(&headers(1, END_HEADERS, &fields));
    client.send(&data(1, 0, b"12345"));
    let mut server = origin.accept();
    assert_eq!(server.read_head().header("content-length"), Some("10"));
    client.send(&data(1, END_STREAM, b"678"));
    assert_eq!(client.verdict(), Verdict::Reset(1, PROTOCOL_ERROR));
    while matches!(server.0.receive(Deadline::patient()), Received::Bytes(_)) {}
    assert_eq!(server.0.buffer, b"12345", "and the connection is closed");
}

#[test]
fn f51_a_client_that_answers_no_ping_is_given_up() {
    let gateway = with("HTTP2_PING_INTERVAL", "200ms").start();
    let mut there = Http2::open(gateway.public, WINDOW);
    let stream = there.subscribe("topic=t");
    expect_hello(&mut there, stream);
    let mut gone = Raw::open(gateway.public);
    gone.send(&get(1, "/events?topic=t"));
    gone.expect_ping();
    expect_streams(&gateway, 2);
    for _ in 0..100 {
        there.settle(Duration::from_millis(50));
        if gateway.metric("tidegate_subscribers", &[]) == 1.0 {
            gateway.topic("t").publish("to who is there");
            there.expect_data(stream, "to who is there");
            return;
        }
    }
    panic!("a client that answers no PING is still counted");
}

#[test]
fn settings_are_said_as_they_are_configured() {
    let gateway = with("HTTP2_STREAMS_MAX", "7").start();
    let mut client = Raw::open(gateway.public);
    let settings = client.expect_settings();
    for (id, name, value) in [
        (3, "MAX_CONCURRENT_STREAMS", 7),
        (4, "INITIAL_WINDOW_SIZE", 256 * 1024),
        (5, "MAX_FRAME_SIZE", 16 * 1024),
        (6, "MAX_HEADER_LIST_SIZE", 64 * 1024),
    ] {
        assert!(settings.contains(&(id, value)), "{name} is not {value}: {settings:?}");
    }
    client.send(&frame(SETTINGS, 1, 0, &[]));
    client.send(&get(1, "/nothing"));
    assert_eq!(client.verdict(), Verdict::Answer(1, 0x8d));
}
