//! Limits and deadlines of HTTP/1 connections: heads, idleness, requests, places by address, bodies by
//! size and pace, responses by pace, and clients that vanish. Those of HTTP/2 are in `tests/http2/`.

mod support;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use support::{Builder, Connection, Deadline, Gateway, Origin, PATIENCE, Received, pause};

const SUBSCRIBE: &[u8] = b"GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn with(key: &str, value: &str) -> Builder {
    Gateway::builder().env(&format!("TIDEGATE__SERVER__{key}"), value)
}

/// Sends a byte every now and then; how long it took until the connection was closed.
#[track_caller]
fn trickle_until_closed(client: &mut Connection, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    for byte in bytes.iter().cycle() {
        client.send(&[*byte]);
        if client.receive(Deadline::after(Duration::from_millis(50))) != Received::Nothing {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "still open");
    }
    assert!(client.buffer.is_empty(), "it was answered");
    begun.elapsed()
}

// --- Heads

#[test]
fn f39_the_first_head_has_one_deadline_from_the_accept_on() {
    let gateway = with("HEADER_TIMEOUT", "600ms").start();
    let mut client = gateway.connect_public();
    let connected = Instant::now();
    pause(Duration::from_millis(400));
    trickle_until_closed(&mut client, b"G");
    let after = connected.elapsed();
    assert!((580..1000).contains(&after.as_millis()), "closed after {after:?}");
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "slow_head")], 1.0);
}

#[test]
fn f39_a_later_head_has_its_deadline_from_its_first_byte_on() {
    let gateway = with("HEADER_TIMEOUT", "600ms").start();
    let mut client = gateway.connect_public();
    for _ in 0..2 {
        client.request("GET", "/nothing", &[], b"").expect_status(404);
        // A connection may be quiet for longer than a head may take.
        pause(Duration::from_millis(800));
    }
    client.send(b"GET /nothing HTTP/1.1\r\nx: ");
    let after = trickle_until_closed(&mut client, b"y");
    assert!((580..1000).contains(&after.as_millis()), "closed after {after:?}");
}

#[test]
fn a_connection_without_a_request_is_closed_after_a_while() {
    let gateway = with("KEEPALIVE_TIMEOUT", "400ms").start();
    let mut client = gateway.connect_public();
    for _ in 0..4 {
        client.request("GET", "/nothing", &[], b"").expect_status(404);
        pause(Duration::from_millis(200));
    }
    client.expect_closed();
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "idle")], 1.0);
}

#[test]
fn a_request_that_takes_long_is_no_idle_connection() {
    let origin = Origin::listen();
    let gateway = with("KEEPALIVE_TIMEOUT", "200ms")
        .env("TIDEGATE__SERVER__HEADER_TIMEOUT", "200ms")
        .arg("--upstream")
        .arg(&origin.url())
        .start();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let mut server = origin.accept();
    server.read_request();
    pause(Duration::from_millis(600));
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsl");
    pause(Duration::from_millis(600));
    server.send("ow");
    assert_eq!(client.read_response("GET").text(), "slow");
    client.expect_closed();
}

#[test]
fn heads_are_as_large_as_is_configured() {
    let gateway = with("HEADER_FIELDS_MAX", "5")
        .env("TIDEGATE__SERVER__HEADER_BYTES_MAX", "8KiB")
        .env("TIDEGATE__SERVER__REQUEST_LINE_BYTES_MAX", "1KiB")
        .start();
    let ask = |path: &str, headers: &[(&str, &str)]| {
        gateway.connect_public().request("GET", path, headers, b"")
    };
    // With host, five.
    ask("/nothing", &[("x", "y"); 4]).expect_status(404);
    assert_eq!(ask("/nothing", &[("x", "y"); 5]).expect_whole_problem(431), "head-too-large");
    ask("/nothing", &[("x", &"y".repeat(8000))]).expect_status(404);
    let response = ask("/nothing", &[("x", &"y".repeat(8192))]);
    assert_eq!(response.expect_whole_problem(431), "head-too-large");
    let line = |length: usize| format!("/{}", "p".repeat(length - "GET / HTTP/1.1".len()));
    ask(&line(1024), &[]).expect_status(404);
    assert_eq!(ask(&line(1025), &[]).expect_refused(414, "request-target"), "target-too-long");
}

#[test]
fn more_fields_than_hyper_has_room_for_can_be_allowed() {
    let gateway = with("HEADER_FIELDS_MAX", "400").start();
    let mut client = gateway.connect_public();
    client.request("GET", "/nothing", &[("x", "y"); 399], b"").expect_status(404);
    client.request("GET", "/nothing", &[("x", "y"); 400], b"").expect_status(431);
}

// --- Requests and connections

#[test]
fn the_last_request_of_a_connection_is_answered_with_its_end() {
    let gateway = with("REQUESTS_PER_CONNECTION_MAX", "3").start();
    let mut client = gateway.connect_public();
    for _ in 0..2 {
        let response = client.request("GET", "/nothing", &[], b"");
        assert_eq!(response.header("connection"), None);
    }
    let response = client.request("GET", "/nothing", &[], b"").expect_status(404);
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_closed();
    // Publishers are not counted.
    let mut publisher = gateway.connect_internal();
    for _ in 0..10 {
        publisher.request("POST", "/topics/t", &[], b"data").expect_status(202);
    }
}

/// A connection from an address of this host.
fn connect_from(from: [u8; 4], to: SocketAddr) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::from(from), 0));
    socket.bind(&from.into()).expect("loopback has many addresses");
    socket.connect(&to.into()).expect("the gateway accepts");
    Connection::from(TcpStream::from(socket))
}

#[test]
fn f42_one_address_cannot_have_all_connections() {
    let gateway = with("CONNECTIONS_PER_ADDRESS_MAX", "3").start();
    let connect = |last| connect_from([127, 0, 0, last], gateway.public);
    let refused = |count: f64| {
        gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "address")], count);
    };
    let mut streams: Vec<Connection> = (0..3).map(|_| connect(1)).collect();
    for stream in &mut streams {
        stream.send(SUBSCRIBE);
        assert_eq!(stream.read_head().status, 200);
    }
    for count in 1..=50 {
        connect(1).expect_closed();
        refused(f64::from(count));
    }
    // Somebody else does not notice.
    let mut other = connect(2);
    other.request("GET", "/nothing", &[], b"").expect_status(404);
    // The place of one that is gone is free, be it a stream or not.
    streams.pop();
    gateway.expect_metric("tidegate_subscribers", &[], 2.0);
    let mut next = connect(1);
    next.request("GET", "/nothing", &[], b"").expect_status(404);
    connect(1).expect_closed();
    drop((streams, next));
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    let mut again: Vec<Connection> = (0..3).map(|_| connect(1)).collect();
    for client in &mut again {
        client.request("GET", "/nothing", &[], b"").expect_status(404);
    }
}

#[test]
fn f42_a_trusted_proxy_may_have_all_connections() {
    let gateway = with("CONNECTIONS_PER_ADDRESS_MAX", "2")
        .config("[proxy]\ntrusted = ['127.0.0.9']\n")
        .start();
    let mut clients: Vec<_> =
        (0..20).map(|_| connect_from([127, 0, 0, 9], gateway.public)).collect();
    for client in &mut clients {
        client.request("GET", "/nothing", &[], b"").expect_status(404);
    }
    assert_eq!(gateway.metric("tidegate_connections_cut_total", &[]), 0.0);
}

// --- Bodies

/// Sends a byte every 100 ms until there is an answer.
#[track_caller]
fn trickle_until_answered(client: &mut Connection) {
    let begun = Instant::now();
    while client.receive(Deadline::after(Duration::from_millis(100))) == Received::Nothing {
        client.send(b"x");
        assert!(begun.elapsed() < PATIENCE, "no answer");
    }
}

#[test]
fn f40_a_body_that_comes_byte_by_byte_is_a_408() {
    let gateway = with("BODY_RATE_MIN", "100B").start();
    let mut publisher = gateway.connect_internal();
    publisher.send(b"POST /topics/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n");
    trickle_until_answered(&mut publisher);
    let response = publisher.read_response("POST");
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.expect_refused(408, "body"), "body-timeout");
}

#[test]
fn f40_an_upload_that_comes_byte_by_byte_is_a_408_and_the_server_is_let_go() {
    let origin = Origin::listen();
    let gateway = with("BODY_RATE_MIN", "100B").arg("--upstream").arg(&origin.url()).start();
    let mut client = gateway.connect_public();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
    let mut server = origin.accept();
    server.read_head();
    trickle_until_answered(&mut client);
    assert_eq!(client.read_response("POST").expect_whole_problem(408), "body-timeout");
    while matches!(server.0.receive(Deadline::patient()), Received::Bytes(_)) {}
}

#[test]
fn f06_an_upload_that_says_that_it_is_too_large_reaches_no_server() {
    let origin = Origin::listen();
    let config = format!("[proxy]\nupstream = '{}'\nbody_bytes_max = '1KiB'\n", origin.url());
    let gateway = Gateway::builder().config(&config).start();
    let mut client = gateway.connect_public();
    let response = client.request("POST", "/", &[], &[b'x'; 1025]);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.expect_whole_problem(413), "body-too-large");
    assert!(origin.accept_within(Deadline::after(Duration::from_millis(100))).is_none());
    let mut client = gateway.connect_public();
    client.send_request("POST", "/", &[], &[b'x'; 1024]);
    let (request, _server) = origin.answer("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(request.body.len(), 1024);
    client.read_response("POST").expect_status(204);
}

#[test]
fn f06_an_upload_that_grows_too_large_is_a_413_and_breaks_off_at_the_server() {
    let origin = Origin::listen();
    let config = format!("[proxy]\nupstream = '{}'\nbody_bytes_max = '1KiB'\n", origin.url());
    let gateway = Gateway::builder().config(&config).start();
    let mut client = gateway.connect_public();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = [b"200\r\n", &[b'x'; 512][..], b"\r\n"].concat();
    client.send(&chunk);
    let mut server = origin.accept();
    server.read_head();
    client.send(&chunk.repeat(2));
    assert_eq!(client.read_response("POST").expect_whole_problem(413), "body-too-large");
    while matches!(server.0.receive(Deadline::patient()), Received::Bytes(_)) {}
    assert!(!server.0.buffer.ends_with(b"0\r\n\r\n"), "it looks whole");
}

// --- Responses

/// A client that has asked, and whose socket takes little that is not read.
fn ask_with_small_buffer(to: SocketAddr) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a socket takes the option");
    socket.connect(&to.into()).expect("the gateway accepts");
    let mut client = Connection::from(TcpStream::from(socket));
    client.send_request("GET", "/", &[], b"");
    client
}

/// Answers one request with more than any socket holds; gives what became of that.
fn answer_at_length(origin: Origin, content_type: &str) -> thread::JoinHandle<io::Result<()>> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n\r\n");
    thread::spawn(move || {
        let mut server = origin.accept();
        server.read_request();
        server.send(&head);
        let mut socket = server.0.stream();
        (0..256).try_for_each(|_| socket.write_all(&[b'x'; 64 * 1024]))
    })
}

/// Reads so much every 20 ms, for so long; whether the connection was closed meanwhile.
fn read_slowly(client: &Connection, bytes: usize, time: Duration) -> bool {
    let begun = Instant::now();
    let mut part = vec![0; bytes];
    while begun.elapsed() < time {
        if !matches!(client.stream().read(&mut part), Ok(1..)) {
            return true;
        }
        pause(Duration::from_millis(20));
    }
    false
}

fn with_paced_responses(origin: &Origin) -> Gateway {
    let gateway = with("RESPONSE_RATE_MIN", "100KiB").env("TIDEGATE__SERVER__SEND_TIMEOUT", "1s");
    gateway.arg("--upstream").arg(&origin.url()).start()
}

#[test]
fn f41_a_client_that_takes_its_response_byte_by_byte_is_closed_and_the_server_let_go() {
    let origin = Origin::listen();
    let gateway = with_paced_responses(&origin);
    let client = ask_with_small_buffer(gateway.public);
    let answered = answer_at_length(origin, "text/plain");
    read_slowly(&client, 16, Duration::from_secs(2));
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "slow_reader")], 1.0);
    answered.join().expect("no panic").expect_err("nobody takes the rest");
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn f41_a_client_that_keeps_the_pace_is_not_closed() {
    let origin = Origin::listen();
    let gateway = with_paced_responses(&origin);
    let client = ask_with_small_buffer(gateway.public);
    let _answered = answer_at_length(origin, "text/plain");
    assert!(!read_slowly(&client, 32 * 1024, Duration::from_secs(3)), "it was closed");
    assert_eq!(gateway.metric("tidegate_connections_cut_total", &[]), 0.0);
}

#[test]
fn f41_a_stream_of_events_may_be_read_at_any_pace() {
    let origin = Origin::listen();
    let gateway = with_paced_responses(&origin);
    let client = ask_with_small_buffer(gateway.public);
    let _answered = answer_at_length(origin, "text/event-stream");
    assert!(!read_slowly(&client, 16, Duration::from_secs(3)), "it was closed");
    assert_eq!(gateway.metric("tidegate_connections_cut_total", &[]), 0.0);
}

// --- Clients that vanish

/// From now on nothing that is sent to this socket arrives: it answers nothing, not even with a reset, like
/// a host that has lost its network.
fn vanish(client: &Connection) {
    // BPF_RET: 0 bytes of each packet are kept.
    let drop_all = SockFilter::new(6, 0, 0, 0);
    SockRef::from(client.stream()).attach_filter(&[drop_all]).expect("a socket takes a filter");
}

#[test]
fn f51_a_client_that_vanishes_is_given_up_whether_it_is_written_to_or_not() {
    for heartbeat in ["100ms", "1h"] {
        let gateway = with("TCP_KEEPALIVE", "1s")
            .env("TIDEGATE__SERVER__TCP_USER_TIMEOUT", "2s")
            .env("TIDEGATE__STREAM__HEARTBEAT", heartbeat)
            .start();
        let subscribe = || {
            let mut client = gateway.connect_public();
            client.send(SUBSCRIBE);
            assert_eq!(client.read_head().status, 200);
            client
        };
        let (_there, gone) = (subscribe(), subscribe());
        gateway.expect_metric("tidegate_subscribers", &[], 2.0);
        vanish(&gone);
        let begun = Instant::now();
        gateway.expect_metric("tidegate_subscribers", &[], 1.0);
        assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
        // Who is there answers the probes.
        pause(Duration::from_secs(3));
        assert_eq!(gateway.metric("tidegate_subscribers", &[]), 1.0, "heartbeat {heartbeat}");
    }
}

#[test]
fn f51_the_client_of_an_exchange_that_vanishes_is_given_up_and_the_server_let_go() {
    let origin = Origin::listen();
    let gateway = with("TCP_KEEPALIVE", "1s")
        .env("TIDEGATE__SERVER__TCP_USER_TIMEOUT", "2s")
        .arg("--upstream")
        .arg(&origin.url())
        .start();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let mut server = origin.accept();
    server.read_request();
    vanish(&client);
    assert_eq!(server.0.receive(Deadline::patient()), Received::Closed);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}
