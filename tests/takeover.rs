//! The takeover of an HTTP/1 connection that becomes a stream: what came before the request, what
//! comes behind it, and how the connection ends. Looks at bytes; what streams carry is elsewhere.

mod support;

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use support::http::request_bytes;
use support::{Connection, Deadline, Gateway, Received, Subscriber, eventually, pause};

const SUBSCRIBE: &[u8] = b"GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// What a client may send on its stream before that is misuse.
const UNSOLICITED_BYTES_MAX: usize = 64 * 1024;

/// A connection whose kernel receives little ahead of its reader.
#[track_caller]
fn narrow_connection(gateway: &Gateway) -> Connection {
    let connect = || -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(gateway.public), Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.set_tcp_nodelay(true)?;
        socket.connect(&gateway.public.into())?;
        Ok(socket.into())
    };
    Connection::from(connect().expect("the public listener accepts"))
}

/// Waits until this text has come, and leaves it in the buffer.
#[track_caller]
fn expect_text(connection: &mut Connection, text: &str) {
    while !contains(&connection.buffer, text) {
        let received = connection.receive(Deadline::patient());
        let so_far = String::from_utf8_lossy(&connection.buffer);
        assert!(matches!(received, Received::Bytes(_)), "{received:?}, no {text:?} in {so_far}");
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Everything up to the end of the connection, and what that end was.
#[track_caller]
fn read_to_end(connection: &mut Connection) -> (String, Received) {
    loop {
        match connection.receive(Deadline::patient()) {
            Received::Bytes(_) => {}
            end => {
                let bytes = std::mem::take(&mut connection.buffer);
                return (String::from_utf8(bytes).expect("streams are UTF-8"), end);
            }
        }
    }
}

#[track_caller]
fn expect_no_subscribers(gateway: &Gateway) {
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
}

// --- Before the stream

#[test]
fn every_response_owed_before_the_stream_arrives_whole_and_in_order() {
    let gateway = Gateway::start();
    // The client's kernel is full after some tens of responses. Around there, the last of them is
    // still unsent when the request for the stream is parsed.
    for earlier in (1..4).chain((20..240).step_by(9)) {
        let mut client = narrow_connection(&gateway);
        let mut requests = Vec::new();
        for number in 0..earlier {
            requests.extend(request_bytes("GET", &format!("/nothing/{number}"), &[], b""));
        }
        requests.extend_from_slice(SUBSCRIBE);
        client.send(&requests);
        pause(Duration::from_millis(20)); // The client is busy with something else.
        for number in 0..earlier {
            let response = client.read_response("GET");
            assert_eq!(response.status, 404, "response {number} of {earlier}");
            let path = format!("at /nothing/{number}\"");
            assert!(response.text().contains(&path), "response {number} is {response:?}");
        }
        let head = client.read_head();
        assert_eq!(head.status, 200, "after {earlier} responses");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        expect_text(&mut client, "event: hello");
        gateway.topic("t").publish("after the takeover");
        expect_text(&mut client, "data: after the takeover\n");
    }
}

#[test]
fn a_stream_follows_requests_that_were_answered_one_by_one() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    for _ in 0..20 {
        assert_eq!(client.request("GET", "/nothing", &[], b"").status, 404);
    }
    client.send(SUBSCRIBE);
    assert_eq!(client.read_head().status, 200);
    expect_text(&mut client, "event: hello");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    for byte in SUBSCRIBE {
        client.send(&[*byte]);
    }
    assert_eq!(client.read_head().status, 200);
    expect_text(&mut client, "event: hello");
    gateway.topic("t").publish("one");
    expect_text(&mut client, "data: one\n");
}

#[test]
fn a_method_that_begins_like_the_http2_preface_is_still_http1() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    for byte in b"PRI /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n" {
        client.send(&[*byte]);
    }
    assert_eq!(client.read_response("PRI").status, 404);
    client.send(SUBSCRIBE);
    assert_eq!(client.read_head().status, 200);
}

#[test]
fn the_http2_preface_may_come_byte_by_byte() {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().chain(&SETTINGS) {
        client.send(&[*byte]);
    }
    while client.buffer.len() < SETTINGS.len() {
        assert!(matches!(client.receive(Deadline::patient()), Received::Bytes(_)));
    }
    assert_eq!(client.buffer[3], 4, "the gateway begins with SETTINGS: {:?}", client.buffer);
}

/// Sends one byte of each text now and then for as long as the gateway listens.
#[track_caller]
fn expect_cut_off(gateway: &Gateway, slowly: &[u8]) {
    let mut client = gateway.connect_public();
    let began = Instant::now();
    let mut bytes = slowly.iter();
    loop {
        if let Some(byte) = bytes.next() {
            client.send(&[*byte]);
        }
        match client.receive(Deadline::after(Duration::from_millis(40))) {
            Received::Nothing => {}
            Received::Closed | Received::Reset => break,
            // To say 408 first is allowed.
            Received::Bytes(_) => assert!(client.buffer.starts_with(b"HTTP/1.1 408 ")),
        }
        assert!(began.elapsed() < support::PATIENCE, "still open");
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "after {:?}", began.elapsed());
}

#[test]
fn f39_a_head_that_does_not_come_in_time_ends_the_connection() {
    let gateway = Gateway::builder().env("TIDEGATE__SERVER__HEADER_TIMEOUT", "300ms").start();
    expect_cut_off(&gateway, b"");
    expect_cut_off(&gateway, b"PRI");
    expect_cut_off(&gateway, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r");
    expect_cut_off(&gateway, &SUBSCRIBE[..SUBSCRIBE.len() - 2]);
    // The deadline is for heads: a stream may be as quiet as it likes.
    let mut stream = gateway.topic("t").subscribe();
    stream.expect_hello();
    stream.expect_silence(Duration::from_millis(900));
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
}

#[test]
fn a_request_with_a_body_is_refused_and_the_connection_goes_on() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    for framed in [
        "content-length: 4\r\n\r\nbody",
        "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        let head = "GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n";
        client.send(format!("{head}{framed}").as_bytes());
        client.read_response("GET").expect_problem(400);
    }
    client.send(SUBSCRIBE);
    assert_eq!(client.read_head().status, 200);
    expect_text(&mut client, "event: hello");
}

#[test]
fn a_body_of_no_bytes_is_none() {
    let gateway = Gateway::start();
    let mut stream = gateway.subscriber("topic=t").header("content-length", "0").open();
    stream.expect_hello();
    gateway.topic("t").publish("one");
    stream.expect_data("one");
}

#[test]
fn head_gives_the_headers_and_the_connection_goes_on() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    for _ in 0..3 {
        let response = client.request("HEAD", "/events?topic=t", &[], b"").expect_status(200);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert_eq!(response.header("cache-control"), Some("no-store, no-transform"));
        assert_eq!(response.header("x-accel-buffering"), Some("no"));
        // RFC 9110, 8.6: it would have to be the length of what GET sends.
        assert_eq!(response.header("content-length"), None);
    }
    assert_eq!(client.request("HEAD", "/events", &[], b"").status, 400);
    expect_no_subscribers(&gateway);
    client.send(SUBSCRIBE);
    assert_eq!(client.read_head().status, 200);
    expect_text(&mut client, "event: hello");
}

// --- Behind the request

#[test]
fn requests_pipelined_behind_the_stream_are_not_answered() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    client.send(&[SUBSCRIBE, &request_bytes("GET", "/nothing", &[], b""), SUBSCRIBE].concat());
    let head = client.read_head();
    assert_eq!(head.header("connection"), Some("close"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    gateway.topic("t").publish("one");
    expect_text(&mut client, "data: one\n");
    client.send(&request_bytes("GET", "/nothing", &[], b""));
    gateway.topic("t").publish("two");
    expect_text(&mut client, "data: two\n");
    assert!(!contains(&client.buffer, "HTTP/1.1"), "{:?}", client.buffer);
    assert_eq!(gateway.metric("tidegate_subscribers", &[]), 1.0);
}

#[test]
fn a_little_junk_on_a_stream_is_ignored_and_too_much_ends_it() {
    let gateway = Gateway::start();
    let mut stream = gateway.topic("t").subscribe();
    stream.expect_hello();
    let mut client = Connection::from(stream.stream().try_clone().unwrap());
    for number in 0..16 {
        client.send(&[b'x'; UNSOLICITED_BYTES_MAX / 16]);
        gateway.topic("t").publish(&number.to_string());
        stream.expect_data(&number.to_string());
    }
    assert_eq!(gateway.metric("tidegate_subscribers", &[]), 1.0);
    client.send(b"one byte more");
    stream.expect_stop();
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "misuse")], 1.0);
    expect_no_subscribers(&gateway);
}

// --- The end

#[test]
fn a_stream_ends_with_the_last_chunk_and_nothing_after_it() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    client.send(b"GET /events?topic=t&limit=2 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.read_head();
    gateway.topic("t").publish("one");
    gateway.topic("t").publish("two");
    let (body, end) = read_to_end(&mut client);
    assert_eq!(end, Received::Closed);
    assert!(body.contains("event: end\n"), "{body}");
    assert!(body.ends_with("\n\n\r\n0\r\n\r\n"), "{body:?}");
    let mut data = Vec::new();
    let mut chunks = support::chunks::ChunkDecoder::default();
    assert_eq!(chunks.feed(body.as_bytes(), &mut data), Ok(0));
    assert!(chunks.ended());
}

#[test]
fn unread_bytes_of_the_client_do_not_cost_it_the_end() {
    let gateway = Gateway::start();
    for _ in 0..20 {
        let mut client = gateway.connect_public();
        client.send(b"GET /events?topic=t&limit=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        client.read_head();
        client.send(&[b'x'; 1000]);
        gateway.topic("t").publish("one");
        client.send(&[b'y'; 1000]);
        expect_text(&mut client, "event: end\n");
        client.send(&[b'z'; 1000]);
        let (body, end) = read_to_end(&mut client);
        assert!(body.ends_with("0\r\n\r\n"), "{body:?}");
        assert_eq!(end, Received::Closed, "a reset may overtake what was sent before it");
    }
    expect_no_subscribers(&gateway);
}

#[test]
fn http10_is_neither_chunked_nor_kept_alive() {
    let gateway = Gateway::start();
    let mut client = gateway.connect_public();
    let request = "GET /events?topic=t&limit=1 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    client.send(request.as_bytes());
    let head = client.read_head();
    assert_eq!(head.header("transfer-encoding"), None);
    assert_eq!(head.header("content-length"), None);
    assert_eq!(head.header("connection"), Some("close"));
    gateway.topic("t").publish("one");
    let (body, end) = read_to_end(&mut client);
    assert_eq!(end, Received::Closed);
    let mut decoder = support::Decoder::new();
    let events = decoder.feed(body.as_bytes());
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["hello", "message", "end"], "{body}");
    assert!(decoder.at_block_boundary());
    assert!(decoder.comments.is_empty(), "{body}");
}

// --- The client leaves. No event is published, and the first heartbeat is seconds away.

fn open_streams(gateway: &Gateway, count: usize) -> Vec<Subscriber> {
    let streams: Vec<_> = (0..count).map(|_| gateway.topic("t").subscribe()).collect();
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http1")], count as f64);
    streams
}

#[track_caller]
fn expect_noticed(leave: impl Fn(&Subscriber)) {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__HEARTBEAT", "10m").start();
    let streams = open_streams(&gateway, 50);
    streams.iter().for_each(leave);
    expect_no_subscribers(&gateway);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "client")], 50.0);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
    assert_eq!(gateway.metric("tidegate_topics", &[]), 0.0);
    drop(streams);
}

#[test]
fn a_client_that_closes_is_gone_at_once() {
    expect_noticed(|stream| stream.stream().shutdown(Shutdown::Both).unwrap());
}

#[test]
fn a_client_that_closes_its_half_is_gone_at_once() {
    expect_noticed(|stream| stream.stream().shutdown(Shutdown::Write).unwrap());
}

#[test]
fn a_client_that_resets_is_gone_at_once() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__HEARTBEAT", "10m").start();
    for stream in open_streams(&gateway, 50) {
        SockRef::from(stream.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }
    expect_no_subscribers(&gateway);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "client")], 50.0);
}

#[test]
fn a_client_that_closes_with_junk_unread_by_the_gateway_is_gone_at_once() {
    expect_noticed(|stream| {
        Connection::from(stream.stream().try_clone().unwrap()).send(&[b'x'; 5000]);
        stream.stream().shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn a_client_that_leaves_before_its_stream_has_begun_leaves_nothing() {
    let gateway = Gateway::start();
    for _ in 0..200 {
        let mut client = gateway.connect_public();
        client.send(SUBSCRIBE);
        SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let mut stream = gateway.topic("t").subscribe();
    stream.expect_hello();
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    gateway.expect_metric("tidegate_subscribers", &[], 1.0);
    // Whoever became a stream is counted once when it comes and once when it goes.
    eventually("the counts to agree", || {
        let opened = gateway.metric("tidegate_streams_opened_total", &[]);
        let closed = gateway.metric("tidegate_streams_closed_total", &[]);
        (opened == closed + 1.0).then_some(())
    });
}
