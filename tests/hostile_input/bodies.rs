//! Bodies that are too large, and bodies that do not come as announced.

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

use serde_json::json;

use super::newsroom::{JSON, NDJSON, Newsroom};
use super::support::http::{Header, request_bytes};
use super::support::{Builder, Connection, Deadline, Gateway, Received, pause};

#[test]
fn f06_an_oversized_field_is_refused() {
    let mut newsroom = Newsroom::open();
    let topic = json!({"topic": "é".repeat(257)}).to_string();
    newsroom.refuses("/publish", &[JSON], topic.as_bytes(), (413, "topic"));
    let event = json!({"topic": "t", "event": "n".repeat(257)}).to_string();
    newsroom.refuses("/publish", &[JSON], event.as_bytes(), (413, "event"));
    let query = format!("/topics/t?event={}", "n".repeat(257));
    newsroom.refuses(&query, &[], b"data", (413, "event"));
    // Measured as it goes on the wire: a line end costs more there than in JSON.
    let data = json!({"topic": "t", "data": "\n".repeat(100_000)}).to_string();
    newsroom.refuses("/publish", &[JSON], data.as_bytes(), (413, "data"));
    newsroom.refuses("/topics/t", &[], &vec![b'x'; 513 * 1024], (413, "data"));
    let events = "{\"topic\":\"t\"}\n".repeat(4097);
    newsroom.refuses("/publish", &[NDJSON], events.as_bytes(), (413, "body"));
}

/// A gateway that takes bodies of up to 64 KiB.
fn small_bodies() -> Builder {
    Gateway::builder().env("TIDEGATE__PUBLISH__BODY_BYTES_MAX", "64KiB")
}

fn chunked_request(path: &str, chunks: usize, chunk: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
            .into_bytes();
    for _ in 0..chunks {
        write!(bytes, "{:x}\r\n", chunk.len()).expect("a Vec takes everything");
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn f06_a_body_over_the_limit_is_refused_and_the_connection_goes_on() {
    let mut newsroom = Newsroom::of(small_bodies());
    for length in [65_537, 70_000, 100_000, 130_000] {
        newsroom.refuses("/publish", &[JSON], &vec![b' '; length], (413, "body"));
        newsroom.refuses("/topics/t", &[], &vec![b'x'; length], (413, "body"));
    }
    let exactly = vec![b'x'; 65_536];
    newsroom.gateway.post("/topics/t", &[], &exactly).expect_status(202);
}

#[test]
fn f06_a_chunked_body_is_refused_once_it_has_grown_too_large() {
    let mut newsroom = Newsroom::of(small_bodies());
    for chunks in [65, 80, 120] {
        let request = chunked_request("/topics/t", chunks, &[b'x'; 1024]);
        newsroom.publisher.send(&request);
        newsroom.publisher.read_response("POST").expect_refused(413, "body");
        newsroom.goes_on();
    }
    let exactly = chunked_request("/topics/t", 64, &[b'x'; 1024]);
    newsroom.publisher.send(&exactly);
    newsroom.publisher.read_response("POST").expect_status(202);
}

#[test]
fn f06_a_body_far_over_the_limit_gets_its_answer_before_the_close() {
    let mut newsroom = Newsroom::of(small_bodies());
    let flood = vec![b'x'; 4 << 20];
    for request in [
        request_bytes("POST", "/topics/t", &[], &flood),
        chunked_request("/topics/t", 4096, &[b'x'; 1024]),
    ] {
        let mut connection = newsroom.gateway.connect_internal();
        // Reads while it sends, as clients do.
        let mut sender =
            Connection::from(connection.stream().try_clone().expect("a socket can be shared"));
        let sending = std::thread::spawn(move || sender.send(&request));
        connection.read_response("POST").expect_refused(413, "body");
        drop(connection);
        sending.join().expect("the sender stops when the gateway closes");
        newsroom.goes_on_elsewhere();
    }
}

#[test]
fn f06_a_client_that_asks_first_is_told_without_sending() {
    let newsroom = Newsroom::of(small_bodies());
    let ask = |length: u64| {
        let mut connection = newsroom.gateway.connect_internal();
        let head = format!(
            "POST /topics/t HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        );
        connection.send(head.as_bytes());
        let first = connection.read_response("POST");
        (connection, first)
    };
    for length in [65_537, 1 << 40] {
        ask(length).1.expect_refused(413, "body");
    }
    let (mut connection, go_ahead) = ask(5);
    assert_eq!(go_ahead.status, 100);
    connection.send(b"hello");
    connection.read_response("POST").expect_status(202);
}

#[test]
fn f06_memory_does_not_grow_by_what_is_announced() {
    const PUBLISHERS: usize = 40;
    const SENT: usize = 256 * 1024;
    let mut newsroom = Newsroom::open();
    newsroom.goes_on();
    let before = newsroom.gateway.rss();
    let announcements = [
        "content-length: 1099511627776\r\n\r\n",
        "content-length: 4194304\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nffffffffff\r\n",
    ];
    let mut connections = Vec::new();
    for announced in announcements.iter().cycle().take(PUBLISHERS) {
        let mut connection = newsroom.gateway.connect_internal();
        let head = format!("POST /topics/t HTTP/1.1\r\nhost: localhost\r\n{announced}");
        connection.send(head.as_bytes());
        connection.send(&vec![b'x'; SENT]);
        connections.push(connection);
    }
    newsroom.goes_on();
    let sent = (PUBLISHERS * SENT) as u64;
    // Twice what was really sent, and what the allocator and the sockets' tasks keep.
    let allowed = 2 * sent + (16 << 20);
    let grown = newsroom.gateway.rss().saturating_sub(before);
    assert!(grown < allowed, "{grown} bytes more for {sent} bytes sent");
}

/// What is refused by its head alone, with its status: the body is still on its way then.
const REFUSED_BY_THEIR_HEADS: [(&str, &str, Header<'_>, u16); 6] = [
    ("POST", "/nowhere", JSON, 404),
    ("PUT", "/publish", JSON, 405),
    ("PUT", "/topics/t", JSON, 405),
    ("POST", "/publish", ("content-type", "text/plain"), 415),
    ("POST", "/publish", ("sec-fetch-site", "cross-site"), 403),
    ("POST", "/topics/t", ("idempotency-key", ""), 400),
];

#[test]
fn a_refused_request_may_bring_its_body_late() {
    let mut newsroom = Newsroom::open();
    for (method, path, header, status) in REFUSED_BY_THEIR_HEADS {
        let request = request_bytes(method, path, &[header], br#"{"topic":"t"}"#);
        let (head, body) = request.split_at(request.len() - 13);
        newsroom.publisher.send(head);
        // Two segments on the wire, as some clients send them.
        pause(Duration::from_millis(20));
        newsroom.publisher.send(body);
        newsroom.publisher.read_response(method).expect_whole_problem(status);
        newsroom.goes_on();
    }
}

#[test]
fn a_refused_request_may_bring_a_large_body() {
    let mut newsroom = Newsroom::open();
    for (method, path, header, status) in REFUSED_BY_THEIR_HEADS {
        let body = vec![b'x'; 300_000];
        let response = newsroom.publisher.request(method, path, &[header], &body);
        response.expect_whole_problem(status);
        newsroom.goes_on();
    }
}

#[test]
fn a_body_cut_short_publishes_nothing() {
    let mut newsroom = Newsroom::open();
    let whole =
        request_bytes("POST", "/publish", &[NDJSON], b"{\"topic\":\"t\"}\n{\"topic\":\"t\"}\n");
    let chunked = chunked_request("/topics/t", 2, b"hello");
    for request in
        [&whole[..whole.len() - 14], &whole[..whole.len() - 1], &chunked[..chunked.len() - 5]]
    {
        let mut connection = newsroom.gateway.connect_internal();
        connection.send(request);
        connection.stream().shutdown(Shutdown::Write).expect("an open socket can be shut");
        connection.read_response("POST").expect_refused(400, "body");
        connection.expect_closed();
        newsroom.goes_on();
    }
}

#[test]
fn a_malformed_chunked_body_publishes_nothing() {
    let mut newsroom = Newsroom::open();
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "\r\n",
    ] {
        let mut connection = newsroom.gateway.connect_internal();
        let head =
            "POST /topics/t HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.send(head.as_bytes());
        connection.send(body.as_bytes());
        connection.read_response("POST").expect_refused(400, "body");
        // What follows cannot be told from the body, so it is never read as a request.
        connection.expect_closed();
        newsroom.goes_on();
    }
}

#[test]
fn a_body_that_never_comes_is_given_up() {
    let mut newsroom =
        Newsroom::of(Gateway::builder().env("TIDEGATE__SERVER__BODY_TIMEOUT", "300ms"));
    let mut connection = newsroom.gateway.connect_internal();
    connection.send(b"POST /topics/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf");
    let response = connection.read_response("POST");
    assert_eq!(response.header("connection"), Some("close"));
    response.expect_refused(408, "body");
    assert_eq!(connection.receive(Deadline::after(Duration::from_secs(5))), Received::Closed);
    newsroom.goes_on();
}
