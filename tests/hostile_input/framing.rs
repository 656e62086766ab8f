//! Requests that two parties could read as ending in two places, and heads that are none. Each is
//! refused on both listeners, whole, in pieces and behind others; what follows it is never read.

use std::time::{Duration, Instant};

use super::newsroom::Newsroom;
use super::support::http::request_bytes;
use super::support::{Connection, Deadline, Gateway, PATIENCE, Received};

/// What a smuggler would hide behind its request.
const SMUGGLED: &[u8] =
    b"POST /topics/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\nsmuggled";

const PIPELINED: usize = 3;

/// A request for both listeners with these lines behind its first: one publishes, and the other
/// has no such path.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /topics/t HTTP/1.1\r\n{lines}\r\n{body}").into_bytes()
}

fn with_host(lines: &str, body: &str) -> Vec<u8> {
    post(&format!("host: localhost\r\n{lines}"), body)
}

fn chunked(body: &str) -> Vec<u8> {
    with_host("transfer-encoding: chunked\r\n", body)
}

/// The next answer names the field, is the last, and says so.
#[track_caller]
fn expect_last_answer(connection: &mut Connection, (status, field): (u16, &str)) {
    let response = connection.read_response("POST");
    assert_eq!(response.header("connection"), Some("close"), "{response:?}");
    response.expect_refused(status, field);
    connection.expect_closed();
}

#[track_caller]
fn refuses(newsroom: &mut Newsroom, request: &[u8], why: (u16, &str)) {
    let connects = [
        |newsroom: &Newsroom| newsroom.gateway.connect_internal(),
        |newsroom: &Newsroom| newsroom.gateway.connect_public(),
    ];
    let earlier = request_bytes("GET", "/nothing", &[], b"").repeat(PIPELINED);
    for connect in connects {
        let mut connection = connect(newsroom);
        connection.send(&[request, SMUGGLED].concat());
        expect_last_answer(&mut connection, why);

        let mut connection = connect(newsroom);
        request.iter().for_each(|byte| connection.send(&[*byte]));
        connection.send(SMUGGLED);
        expect_last_answer(&mut connection, why);

        let mut connection = connect(newsroom);
        connection.send(&[&earlier, request, SMUGGLED].concat());
        for _ in 0..PIPELINED {
            let response = connection.read_response("GET");
            assert_eq!(response.header("connection"), None, "{response:?}");
            response.expect_whole_problem(404);
        }
        expect_last_answer(&mut connection, why);
    }
    newsroom.goes_on_elsewhere();
}

#[test]
fn f19_content_length_and_transfer_encoding_are_refused_together() {
    let mut newsroom = Newsroom::open();
    let (length, chunked) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
    for lines in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let request = with_host(&lines, "0\r\n\r\n");
        refuses(&mut newsroom, &request, (400, "transfer-encoding"));
    }
}

#[test]
fn f20_a_content_length_that_is_odd_or_repeated_is_refused() {
    let mut newsroom = Newsroom::open();
    for length in ["+5", "-5", "0x10", "1_0", "5, 5", "5 5", "", "9223372036854775808"] {
        let request = with_host(&format!("content-length: {length}\r\n"), "hello");
        refuses(&mut newsroom, &request, (400, "content-length"));
    }
    for second in ["5", "6"] {
        let lines = format!("content-length: 5\r\ncontent-length: {second}\r\n");
        refuses(&mut newsroom, &with_host(&lines, "hello"), (400, "content-length"));
    }
}

#[test]
fn f21_a_transfer_encoding_other_than_chunked_is_refused() {
    let mut newsroom = Newsroom::open();
    for (coding, status) in [
        ("identity", 400),
        ("xchunked", 400),
        ("chunked, identity", 400),
        ("chunked, chunked", 400),
        ("chunked\r\ntransfer-encoding: chunked", 400),
        ("gzip, chunked", 501),
    ] {
        let request = with_host(&format!("transfer-encoding: {coding}\r\n"), "0\r\n\r\n");
        refuses(&mut newsroom, &request, (status, "transfer-encoding"));
    }
    let old = b"POST /topics/t HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    refuses(&mut newsroom, old, (400, "transfer-encoding"));
}

#[test]
fn f22_line_ends_folds_and_spaces_that_are_read_differently_are_refused() {
    let mut newsroom = Newsroom::open();
    for lines in [
        "x: y\ncontent-length: 0\r\n",
        "x: y\r\n content-length: 5\r\n",
        "content-length : 5\r\n",
        "content-length\t: 5\r\n",
        "no colon\r\n",
        ": no name\r\n",
        "x: y\r\n\n",
    ] {
        refuses(&mut newsroom, &with_host(lines, "hello"), (400, "headers"));
    }
    for control in ['\r', '\0', '\u{1}', '\u{7f}'] {
        let request = with_host(&format!("x-odd: a{control}b\r\n"), "");
        refuses(&mut newsroom, &request, (400, "x-odd"));
    }
    refuses(&mut newsroom, b"GET /nothing HTTP/1.1\nhost: a\n\n", (400, "headers"));
    refuses(&mut newsroom, b"GET  /nothing HTTP/1.1\r\nhost: a\r\n\r\n", (400, "request-line"));
    refuses(&mut newsroom, b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", (400, "request-target"));
    refuses(&mut newsroom, b"GET /nothing HTTP/1.2\r\nhost: a\r\n\r\n", (505, "version"));
    refuses(&mut newsroom, b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", (501, "method"));
}

#[test]
fn f23_chunks_that_overflow_or_flood_are_refused() {
    let mut newsroom = Newsroom::open();
    let long = "x".repeat(300);
    let flood = format!("1;{}\r\nx\r\n", "x".repeat(250)).repeat(40);
    for body in [
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        &format!("5;{long}\r\nhello\r\n0\r\n\r\n"),
        &format!("{flood}0\r\n\r\n"),
    ] {
        refuses(&mut newsroom, &chunked(body), (400, "body"));
    }
    refuses(&mut newsroom, &chunked("5\nhello\r\n0\r\n\r\n"), (400, "headers"));
    refuses(&mut newsroom, &chunked("0\r\nhost: a\r\n\r\n"), (400, "host"));
    refuses(&mut newsroom, &chunked("0\r\nContent-Length: 5\r\n\r\n"), (400, "content-length"));
    let body = "5;a=\"b\"\r\nhello\r\n0\r\nchecksum: 5\r\n\r\n";
    newsroom.publisher.send(&chunked(body));
    let answer = newsroom.publisher.read_response("POST").expect_status(202).json();
    assert_eq!(newsroom.reader.expect_data("hello").id, answer["id"]);
}

#[test]
fn f24_an_upgrade_with_a_body_is_refused() {
    let mut newsroom = Newsroom::open();
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    for body in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
        let request = with_host(&format!("{upgrade}{body}"), "5\r\nhello\r\n0\r\n\r\n");
        refuses(&mut newsroom, &request, (400, "upgrade"));
    }
}

#[test]
fn f25_what_a_refused_request_leaves_unread_is_never_a_request() {
    let mut newsroom = Newsroom::open();
    // Refused by the route, which reads no body: it is drained to its end, wherever that comes.
    let inner = String::from_utf8(SMUGGLED.to_vec()).expect("ASCII");
    let body = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let drained = format!(
        "POST /nothing HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{body}"
    );
    newsroom.publisher.send(drained.as_bytes());
    newsroom.publisher.read_response("POST").expect_whole_problem(404);
    newsroom.goes_on();
    for byte in drained.as_bytes() {
        newsroom.publisher.send(&[*byte]);
    }
    newsroom.publisher.read_response("POST").expect_whole_problem(404);
    newsroom.goes_on();
}

#[test]
fn f26_an_expectation_other_than_to_continue_is_refused() {
    let mut newsroom = Newsroom::open();
    for expectation in ["200-ok", "100-continue, x", ""] {
        let lines = format!("expect: {expectation}\r\ncontent-length: 5\r\n");
        refuses(&mut newsroom, &with_host(&lines, "hello"), (417, "expect"));
    }
}

#[test]
fn f29_a_host_that_is_missing_repeated_odd_or_another_is_refused() {
    let mut newsroom = Newsroom::open();
    for lines in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: user@a\r\n",
        "host: a b\r\n",
        "host: a:port\r\n",
        "host: \r\n",
        "host: a/b\r\n",
    ] {
        refuses(&mut newsroom, &post(lines, ""), (400, "host"));
    }
    let absolute = b"GET http://b/nothing HTTP/1.1\r\nhost: a\r\n\r\n";
    refuses(&mut newsroom, absolute, (400, "host"));
    let mut client = newsroom.gateway.connect_public();
    client.send(b"GET http://A:80/nothing HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_response("GET").expect_whole_problem(404);
}

#[test]
fn a_head_over_its_bounds_is_refused() {
    let mut newsroom = Newsroom::open();
    let path = "x".repeat(17_000);
    for (request, why) in [
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", path.repeat(4)), (414, "request-target")),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100)), (431, "headers")),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", path.repeat(4)), (431, "headers")),
    ] {
        for mut connection in
            [newsroom.gateway.connect_public(), newsroom.gateway.connect_internal()]
        {
            connection.send(request.as_bytes());
            expect_last_answer(&mut connection, why);
        }
    }
    newsroom.goes_on_elsewhere();
    // Within them, however it comes.
    let large = format!("GET /nothing HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", path.repeat(3));
    let mut connection = newsroom.gateway.connect_public();
    for piece in large.as_bytes().chunks(999).chain([large.as_bytes()]) {
        connection.send(piece);
    }
    for _ in 0..2 {
        connection.read_response("GET").expect_whole_problem(404);
    }
}

#[test]
fn a_refused_head_request_is_answered_without_a_body() {
    let newsroom = Newsroom::open();
    let mut connection = newsroom.gateway.connect_public();
    connection.send(b"HEAD /nothing HTTP/1.1\r\n\r\n");
    let response = connection.read_response("HEAD").expect_status(400);
    assert_eq!(response.header("connection"), Some("close"));
    connection.expect_closed();
}

#[test]
fn what_is_odd_behind_a_stream_or_a_last_request_is_not_answered() {
    let newsroom = Newsroom::open();
    let stream = request_bytes("GET", "/events?topic=t", &[], b"");
    let mut connection = newsroom.gateway.connect_public();
    connection.send(&[&stream, &b"no request\r\n\r\n"[..]].concat());
    assert_eq!(connection.read_head().status, 200);
    newsroom.gateway.topic("t").publish("still streaming");
    while !String::from_utf8_lossy(&connection.buffer).contains("still streaming") {
        assert!(matches!(connection.receive(Deadline::patient()), Received::Bytes(_)));
    }
    let mut connection = newsroom.gateway.connect_public();
    let last = request_bytes("GET", "/nothing", &[("connection", "close")], b"");
    connection.send(&[&last, &b"no request\r\n\r\n"[..]].concat());
    connection.read_response("GET").expect_whole_problem(404);
    connection.expect_closed();
}

#[test]
fn f39_a_later_head_that_comes_in_pieces_has_its_deadline_too() {
    let gateway = Gateway::builder().env("TIDEGATE__SERVER__HEADER_TIMEOUT", "300ms").start();
    let mut client = gateway.connect_public();
    assert_eq!(client.request("GET", "/nothing", &[], b"").status, 404);
    client.send(b"GET /nothing HTTP/1.1\r\n");
    let begun = Instant::now();
    while client.receive(Deadline::after(Duration::from_millis(20))) == Received::Nothing {
        client.send(b"x: y\r\n");
        assert!(begun.elapsed() < PATIENCE, "still open");
    }
    client.expect_closed();
}
