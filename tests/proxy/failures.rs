//! Servers that are gone, silent, broken or busy: what the client is told, and what another server is
//! asked.

use std::time::Duration;

use crate::support::{Connection, Deadline, Gateway, Origin, Received, pause};
use crate::{OK, in_front_of, with_group};

const PROBLEM: &str = "urn:tidegate:problem:";

/// A server that has gone: its port takes no connection.
fn gone() -> Origin {
    Origin::listen()
}

#[test]
fn a_server_that_is_gone_is_a_502() {
    let url = gone().url();
    let gateway = Gateway::builder().arg("--upstream").arg(&url).start();
    let refused = gateway.connect_public().request("GET", "/", &[], b"");
    assert_eq!(refused.expect_problem(502), format!("{PROBLEM}upstream-unreachable"));
}

#[test]
fn a_server_that_is_silent_is_a_504_and_is_not_asked_again() {
    let origin = Origin::listen();
    let gateway = with_group(&[&origin], "response_timeout = '200ms'").start();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let mut server = origin.accept();
    server.read_request();
    let response = client.read_response("GET");
    assert_eq!(response.expect_problem(504), format!("{PROBLEM}upstream-timeout"));
    assert!(origin.accept_within(Deadline::after(Duration::from_millis(100))).is_none());
}

#[test]
fn an_answer_that_is_not_http_is_a_502() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    for answer in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok"] {
        let mut client = gateway.connect_public();
        client.send_request("POST", "/", &[], b"x");
        let (_, _server) = origin.answer(answer);
        let response = client.read_response("POST");
        assert_eq!(response.expect_problem(502), format!("{PROBLEM}bad-upstream"), "{answer}");
    }
}

#[test]
fn a_server_that_dies_within_a_body_is_seen_to_have_died() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    for framing in
        ["content-length: 10\r\n\r\n12345", "transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"]
    {
        let mut client = gateway.connect_public();
        client.send_request("GET", "/", &[], b"");
        let (_, server) = origin.answer(&format!("HTTP/1.1 200 OK\r\n{framing}"));
        drop(server);
        client.read_head();
        while matches!(client.receive(Deadline::patient()), Received::Bytes(_)) {}
        let body = String::from_utf8_lossy(&client.buffer).into_owned();
        assert!(body.contains("12345"), "what came is not passed on: {body:?}");
        assert!(!body.contains("0\r\n\r\n"), "the body pretends to be whole: {body:?}");
    }
}

#[test]
fn a_body_that_stops_ends_the_connection() {
    let origin = Origin::listen();
    let gateway = with_group(&[&origin], "body_timeout = '200ms'").start();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let (_, _server) = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
    client.read_head();
    while matches!(client.receive(Deadline::patient()), Received::Bytes(_)) {}
    assert_eq!(client.buffer, b"12345");
}

#[test]
fn f40_a_client_whose_body_stops_is_a_408() {
    let origin = Origin::listen();
    let gateway = with_group(&[&origin], "body_timeout = '200ms'").start();
    let mut client = gateway.connect_public();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345");
    let mut server = origin.accept();
    server.read_head();
    let response = client.read_response("POST");
    assert_eq!(response.expect_problem(408), format!("{PROBLEM}body-timeout"));
    // The server sees a request that broke off, and no whole one.
    while matches!(server.0.receive(Deadline::patient()), Received::Bytes(_)) {}
    assert_eq!(server.0.buffer, b"12345");
}

#[test]
fn another_server_is_asked_when_one_is_gone_whatever_the_method() {
    let origin = Origin::listen();
    let gateway = with_group(&[&gone(), &origin], "balance = 'round_robin'").start();
    for turn in 0..4 {
        let mut client = gateway.connect_public();
        client.send_request("POST", "/", &[], b"body");
        let (request, _server) = origin.answer(OK);
        assert_eq!(request.body, b"body", "{turn}");
        client.read_response("POST").expect_status(200);
    }
}

#[test]
fn a_request_that_may_have_been_carried_out_is_not_sent_twice() {
    let (first, second) = (Origin::listen(), Origin::listen());
    let gateway = with_group(&[&first, &second], "balance = 'round_robin'").start();
    // Without a body and idempotent: another server is asked.
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    drop_after_reading(&first, &second);
    let other = first.accept_within(Deadline::after(Duration::from_millis(500)));
    let mut other = other.unwrap_or_else(|| second.accept());
    other.read_request();
    other.send(OK);
    client.read_response("GET").expect_status(200);
    // A POST might be an order.
    let mut client = gateway.connect_public();
    client.send_request("POST", "/", &[], b"order");
    drop_after_reading(&first, &second);
    let response = client.read_response("POST");
    assert_eq!(response.expect_problem(502), format!("{PROBLEM}bad-upstream"));
    for origin in [first, second] {
        assert!(origin.accept_within(Deadline::after(Duration::from_millis(100))).is_none());
    }
}

/// One of the two gets a request, and closes without an answer.
fn drop_after_reading(first: &Origin, second: &Origin) {
    let soon = || Deadline::after(Duration::from_millis(500));
    let mut server = first.accept_within(soon()).unwrap_or_else(|| second.accept());
    server.read_request();
}

#[test]
fn a_kept_connection_that_the_server_has_closed_costs_no_request() {
    let origin = Origin::listen();
    let gateway = Gateway::builder().arg("--shards=1").arg("--upstream").arg(&origin.url()).start();
    let mut client = gateway.connect_public();
    for method in ["GET", "POST", "GET"] {
        client.send_request(method, "/", &[], b"");
        let (_, server) = origin.answer(OK);
        client.read_response(method).expect_status(200);
        drop(server);
        pause(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_fails_is_left_out_for_a_while() {
    let origin = Origin::listen();
    let settings = "balance = 'round_robin'\nfailures_max = 1\nejection = '1h'";
    let dead = gone();
    let dead_address = dead.address();
    let gateway = with_group(&[&dead, &origin], settings).start();
    drop(dead);
    let ask = || {
        let mut client = gateway.connect_public();
        client.send_request("GET", "/", &[], b"");
        let (_, _server) = origin.answer(OK);
        client.read_response("GET").expect_status(200);
    };
    ask();
    ask();
    // It is back, and not asked yet.
    let back = std::net::TcpListener::bind(dead_address).expect("its port is free");
    back.set_nonblocking(true).expect("a listener takes the flag");
    for _ in 0..4 {
        ask();
    }
    assert!(back.accept().is_err(), "a server that is left out was asked");
}

#[test]
fn when_all_are_left_out_all_are_asked() {
    let origin = Origin::listen();
    let address = origin.address();
    let gateway = with_group(&[&origin], "failures_max = 1\nejection = '1h'").start();
    drop(origin);
    gateway.connect_public().request("GET", "/", &[], b"").expect_problem(502);
    let back = std::net::TcpListener::bind(address).expect("its port is free");
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let (stream, _) = back.accept().expect("the gateway asks");
    let mut server = Connection::from(stream);
    while !server.buffer.ends_with(b"\r\n\r\n") {
        assert!(matches!(server.receive(Deadline::patient()), Received::Bytes(_)));
    }
    server.send(OK.as_bytes());
    client.read_response("GET").expect_status(200);
}

#[test]
fn more_requests_than_a_server_may_have_are_a_503() {
    let origin = Origin::listen();
    let gateway = with_group(&[&origin], "requests_max = 1").start();
    let mut first = gateway.connect_public();
    first.send_request("GET", "/", &[], b"");
    let mut server = origin.accept();
    server.read_request();
    let second = gateway.connect_public().request("GET", "/", &[], b"");
    assert_eq!(second.expect_problem(503), format!("{PROBLEM}upstream-busy"));
    server.send(OK);
    first.read_response("GET").expect_status(200);
    // Its place is free again.
    first.send_request("GET", "/", &[], b"");
    server.read_request();
    server.send(OK);
    first.read_response("GET").expect_status(200);
}

#[test]
fn a_response_of_too_many_fields_is_a_502_that_names_the_bound() {
    let origin = Origin::listen();
    let answer = |fields: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{}\r\nok", "x: y\r\n".repeat(fields - 1))
    };
    for (settings, max) in [("", 100), ("response_fields_max = 300", 300)] {
        let gateway = with_group(&[&origin], &format!("failures_max = 1\n{settings}")).start();
        let ask = |fields| {
            let mut client = gateway.connect_public();
            client.send_request("GET", "/", &[], b"");
            let _server = origin.answer(&answer(fields));
            client.read_response("GET")
        };
        ask(max).expect_status(200);
        let response = ask(max + 1);
        assert!(response.text().contains(&format!("response_fields_max ({max})")));
        assert_eq!(response.expect_problem(502), format!("{PROBLEM}bad-upstream"));
        // Nothing is wrong with the server.
        ask(1).expect_status(200);
        assert!(!gateway.log().iter().any(|line| line.contains("left out")));
    }
}
