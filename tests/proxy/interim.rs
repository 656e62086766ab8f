//! What a server says before its answer (1xx): who is told, in what order, and how much of it.

use std::io::Write as _;
use std::thread::spawn;

use crate::support::{Connection, Deadline, Gateway, Origin, OriginConnection, Received};
use crate::{OK, in_front_of, with_group};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

/// As a client gets them.
const PASSED: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nvia: 1.1 tidegate\r\n\r\n";

/// Waits for these bytes, and takes them: they are what comes next.
#[track_caller]
fn expect(client: &mut Connection, bytes: &str) {
    while client.buffer.len() < bytes.len() {
        let received = client.receive(Deadline::patient());
        let came = String::from_utf8_lossy(&client.buffer);
        assert!(matches!(received, Received::Bytes(_)), "{received:?}: {came}");
    }
    let rest = client.buffer.split_off(bytes.len());
    assert_eq!(String::from_utf8_lossy(&client.buffer), bytes);
    client.buffer = rest;
}

#[track_caller]
fn expect_ok(client: &mut Connection) {
    assert_eq!(client.read_response("GET").expect_status(200).text(), "ok");
}

/// One shard, so that a server's connection is used again.
fn on_one_shard(origin: &Origin) -> Gateway {
    Gateway::builder().arg("--shards=1").arg("--upstream").arg(&origin.url()).start()
}

/// A client that has asked, and the server that is to answer.
fn asked(gateway: &Gateway, origin: &Origin) -> (Connection, OriginConnection) {
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let mut server = origin.accept();
    server.read_request();
    (client, server)
}

#[test]
fn hints_come_at_once_or_with_the_answer_and_the_connections_go_on() {
    let origin = Origin::listen();
    let gateway = on_one_shard(&origin);
    let (mut client, mut server) = asked(&gateway, &origin);
    // The server has not answered yet.
    server.send(HINTS);
    expect(&mut client, PASSED);
    // In pieces, and one together with the answer.
    server.send(&HINTS[..30]);
    server.send(&[&HINTS[30..], HINTS, OK].concat());
    expect(&mut client, PASSED);
    expect(&mut client, PASSED);
    expect_ok(&mut client);
    for before in ["", HINTS] {
        client.send_request("GET", "/", &[], b"");
        server.read_request();
        server.send(&[before, OK].concat());
        expect(&mut client, if before.is_empty() { "" } else { PASSED });
        expect_ok(&mut client);
    }
}

#[test]
fn what_is_between_two_hops_stays_there_and_what_the_route_removes_is_removed() {
    let origin = Origin::listen();
    let gateway = Gateway::builder()
        .config(&format!(
            "[[proxy.upstreams]]\nname = 'app'\nservers = ['{}']\n[[proxy.routes]]\n\
             upstream = 'app'\nresponse_remove = ['server']\nresponse_set = {{ x-set = '1' }}\n",
            origin.url()
        ))
        .start();
    let (mut client, mut server) = asked(&gateway, &origin);
    server.send(
        "HTTP/1.1 102 Working\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
         content-length: 5\r\ntransfer-encoding: chunked\r\nserver: s\r\nx-end: 1\r\n\r\n",
    );
    let mut passed = client.read_head();
    passed.headers.sort();
    let [via, end] = [("via", "1.1 tidegate"), ("x-end", "1")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!((passed.status, passed.headers), (102, vec![via, end]));
    server.send(OK);
    expect_ok(&mut client);
}

#[test]
fn hints_of_pipelined_requests_stand_before_their_own_answers() {
    let origin = Origin::listen();
    let gateway = on_one_shard(&origin);
    let mut client = gateway.connect_public();
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(request.repeat(3).as_bytes());
    let mut server = origin.accept();
    // Much more than the client's socket takes while it does not read.
    let body = "x".repeat(8 << 20);
    for _ in 0..3 {
        server.read_request();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        server.0.send([HINTS, &head].concat().as_bytes());
        let mut socket = server.0.stream().try_clone().expect("a descriptor");
        let sent = body.clone();
        let sent = spawn(move || socket.write_all(sent.as_bytes()).expect("the gateway reads"));
        expect(&mut client, PASSED);
        assert_eq!(client.read_response("GET").expect_status(200).body.len(), body.len());
        sent.join().expect("the body is sent");
    }
}

#[test]
fn a_client_of_http_1_0_is_told_the_answer_only() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let (_, _server) = origin.answer(&[HINTS, HINTS, OK].concat());
    expect_ok(&mut client);
    client.expect_closed();
}

#[test]
fn over_http2_hints_are_dropped_and_the_answer_comes() {
    let origin = Origin::listen();
    let behind = in_front_of(&origin);
    let gateway = crate::http2::over_http2(&behind);
    let (mut client, mut server) = asked(&gateway, &origin);
    server.send(&[HINTS, OK].concat());
    expect_ok(&mut client);
}

#[test]
fn a_go_ahead_is_ours_and_hints_come_between_it_and_the_answer() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    let mut server = origin.accept();
    server.read_head();
    expect(&mut client, "HTTP/1.1 100 Continue\r\n\r\n");
    server.send(&["HTTP/1.1 100 Continue\r\n\r\n", HINTS].concat());
    expect(&mut client, PASSED);
    client.send(b"ab");
    server.send(OK);
    expect_ok(&mut client);
}

#[test]
fn hints_may_come_before_another_protocol_or_a_shared_stream() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let (_, mut server) = origin.answer(&[HINTS, switch, "first"].concat());
    expect(&mut client, PASSED);
    assert_eq!(client.read_head().status, 101);
    expect(&mut client, "first");
    client.send(b"x");
    server.0.receive(Deadline::patient());
    assert_eq!(server.0.buffer, b"x");

    let gateway = crate::collapse::sharing(&origin);
    let mut client = gateway.connect_public();
    client.send_request("GET", "/live", &[("accept", "text/event-stream")], b"");
    let head = crate::collapse::shared("k");
    let (_, _server) = origin.answer(&[HINTS, &head, "data: 1\n\n"].concat());
    expect(&mut client, PASSED);
    assert_eq!(client.read_head().header("content-type"), Some("text/event-stream"));
}

#[test]
fn a_flood_of_hints_is_bounded_and_does_not_put_off_the_deadline() {
    let origin = Origin::listen();
    let settings = "response_timeout = '500ms'";
    let gateway = with_group(&[&origin], settings).arg("--shards=1").start();
    let (mut client, server) = asked(&gateway, &origin);
    let flood = spawn(move || {
        let many = HINTS.repeat(1000);
        // Until the gateway closes the connection.
        while (&mut server.0.stream()).write_all(many.as_bytes()).is_ok() {}
    });
    for _ in 0..32 {
        expect(&mut client, PASSED);
    }
    // Others have their turn meanwhile.
    let (mut other, mut server) = asked(&gateway, &origin);
    server.send(OK);
    expect_ok(&mut other);
    let refused = client.read_response("GET");
    assert_eq!(refused.expect_problem(504), "urn:tidegate:problem:upstream-timeout");
    flood.join().expect("the server stops");
    // The bound is of one request.
    client.send_request("GET", "/", &[], b"");
    server.read_request();
    server.send(&[HINTS, OK].concat());
    expect(&mut client, PASSED);
    expect_ok(&mut client);
}
